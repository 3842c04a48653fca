#include "bpe.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <limits>
#include <queue>

#include "qtune/base/error.h"
#include "unicode.h"

namespace qtune {
namespace {

constexpr uint64_t kNoPair = ~uint64_t{0};
constexpr size_t kShortPiece = 40;  // up to here a scan for the best pair beats a heap

uint64_t pair_of(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

size_t slot_of(uint64_t pair, int shift) { return static_cast<size_t>((pair * 0x9E3779B97F4A7C15ULL) >> shift); }

/// One remembered piece, a cache line. `serial` 0: empty.
struct CacheEntry {
  static constexpr size_t kMaxBytes = 18, kMaxTokens = 8;
  uint32_t serial;
  uint8_t num_bytes, num_tokens;
  uint8_t ends[kMaxTokens];
  char bytes[kMaxBytes];
  int32_t ids[kMaxTokens];
};
static_assert(sizeof(CacheEntry) == 64);
constexpr size_t kCacheEntries = size_t{1} << 14;  // 1 MiB a thread

CacheEntry& cache_entry(std::string_view piece, uint32_t serial) {
  thread_local std::vector<CacheEntry> entries(kCacheEntries);
  uint64_t a = 0, b = 0, c = 0;
  const char* p = piece.data();
  const size_t n = piece.size();
  if (n >= 8) {
    std::memcpy(&a, p, 8);
    std::memcpy(&b, p + n - 8, 8);
    if (n > 16) std::memcpy(&c, p + 8, 8);
  } else {
    std::memcpy(&a, p, n);
  }
  const uint64_t mixed = (a ^ (serial + n) * 0xD6E8FEB86659FD93ULL) * 0x9E3779B97F4A7C15ULL ^
                         std::rotl((b ^ c) * 0xC2B2AE3D27D4EB4FULL, 31);
  return entries[((mixed ^ mixed >> 29) * 0xBF58476D1CE4E5B9ULL) >> (64 - 14)];
}

bool fits_cache(const std::vector<BpeToken>& tokens, size_t first) {
  if (tokens.size() - first > CacheEntry::kMaxTokens) return false;
  uint32_t at = 0;
  for (size_t i = first; i < tokens.size(); ++i) {
    if (tokens[i].begin != at) return false;  // a character was left out
    at = tokens[i].end;
  }
  return true;
}

}  // namespace

const std::array<uint32_t, 256>& byte_level_alphabet() {
  static const std::array<uint32_t, 256> alphabet = [] {
    std::array<uint32_t, 256> table{};
    uint32_t next = 256;
    for (uint32_t b = 0; b < 256; ++b) {
      const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      table[b] = printable ? b : next++;
    }
    return table;
  }();
  return alphabet;
}

BpeModel::BpeModel(const BpeSpec& spec) : fuse_unk_(spec.fuse_unk), byte_level_(spec.byte_level) {
  static std::atomic<uint32_t> next_serial{1};
  serial_ = next_serial++;
  std::unordered_map<std::string_view, int32_t> ids;
  ids.reserve(spec.vocab.size());
  for (const auto& [token, id] : spec.vocab) ids.emplace(token, id);
  const auto id_of = [&](std::string_view token) {
    const auto found = ids.find(token);
    return found == ids.end() ? -1 : found->second;
  };
  if (!spec.unk_token.empty()) {
    unk_id_ = id_of(spec.unk_token);
    if (unk_id_ < 0) throw Error(fmt::format("model.unk_token {:?} is not in the vocabulary", spec.unk_token));
  }
  for (uint32_t b = 0; b < 256; ++b) {
    std::string spelled;
    append_utf8(spelled, byte_level_alphabet()[b]);
    byte_ids_[b] = byte_level_ ? id_of(spelled) : spec.byte_fallback ? id_of(fmt::format("<0x{:02X}>", b)) : -1;
  }
  if (byte_level_ && spec.byte_fallback && std::find(byte_ids_.begin(), byte_ids_.end(), -1) != byte_ids_.end()) {
    throw Error("model.byte_fallback is not supported for a byte-level vocabulary that lacks bytes");
  }
  if (!byte_level_) {
    for (const auto& [token, id] : spec.vocab) {
      if (!token.empty() && code_point_at(token.data()).length == token.size())
        char_ids_[code_point_at(token.data()).value] = id;
    }
  }
  if (spec.ignore_merges) {
    if (!byte_level_) throw Error("model.ignore_merges is known for byte-level tokenizers only");
    std::unordered_map<uint32_t, char> byte_of;
    for (uint32_t b = 0; b < 256; ++b) byte_of[byte_level_alphabet()[b]] = static_cast<char>(b);
    for (const auto& [token, id] : spec.vocab) {
      std::string bytes;
      const char *p = token.data(), *end = p + token.size();
      for (CodePoint c; p < end && (c = code_point_at(p), byte_of.contains(c.value)); p += c.length)
        bytes += byte_of[c.value];
      if (p == end) whole_pieces_.emplace(std::move(bytes), id);
    }
  }
  add_merges(spec, ids);
}

void BpeModel::add_merges(const BpeSpec& spec, const std::unordered_map<std::string_view, int32_t>& ids) {
  const int bits = std::max(4, static_cast<int>(std::bit_width(spec.merges.size() * 2)));
  merge_shift_ = 64 - bits;
  merges_.assign(size_t{1} << bits, Merge{kNoPair, 0, 0});
  const auto id_of = [&](std::string_view token, size_t rank) {
    const auto found = ids.find(token);
    if (found == ids.end())
      throw Error(fmt::format("model.merges[{}]: token {:?} is not in the vocabulary", rank, token));
    return found->second;
  };
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const auto& [left, right] = spec.merges[rank];
    const uint64_t pair = pair_of(id_of(left, rank), id_of(right, rank));
    size_t slot = slot_of(pair, merge_shift_);
    while (merges_[slot].pair != kNoPair && merges_[slot].pair != pair) slot = (slot + 1) & (merges_.size() - 1);
    merges_[slot] = {pair, static_cast<int32_t>(rank),
                     id_of(left + right, rank)};  // a pair named twice: the last counts
  }
}

const BpeModel::Merge* BpeModel::find_merge(int32_t left, int32_t right) const {
  const uint64_t pair = pair_of(left, right);
  for (size_t slot = slot_of(pair, merge_shift_);; slot = (slot + 1) & (merges_.size() - 1)) {
    if (merges_[slot].pair == pair) return &merges_[slot];
    if (merges_[slot].pair == kNoPair) return nullptr;
  }
}

void BpeModel::append_symbols(std::string_view piece, std::vector<BpeToken>& out) const {
  BpeToken unknown{-1, 0, 0};  // not yet appended, so that its neighbours can join it
  const auto flush = [&] {
    if (unknown.id >= 0) out.push_back(unknown);
    unknown.id = -1;
  };
  for (uint32_t at = 0; at < piece.size();) {
    int32_t id;
    uint32_t length = 1;
    if (byte_level_) {
      id = byte_ids_[static_cast<unsigned char>(piece[at])];
    } else {
      const CodePoint c = code_point_at(piece.data() + at);
      const auto found = char_ids_.find(c.value);
      id = found == char_ids_.end() ? -1 : found->second;
      length = c.length;
    }
    const uint32_t begin = at, end = at += length;
    if (id >= 0) {
      flush();
      out.push_back({id, begin, end});
      continue;
    }
    const auto bytes = piece.substr(begin, length);
    const auto fallback = [&](char b) { return byte_ids_[static_cast<unsigned char>(b)]; };
    if (!byte_level_ && std::all_of(bytes.begin(), bytes.end(), [&](char b) { return fallback(b) >= 0; })) {
      for (uint32_t i = begin; i < end; ++i) out.push_back({fallback(piece[i]), i, i + 1});
      continue;
    }
    if (unk_id_ < 0) continue;
    if (unknown.id >= 0 && fuse_unk_) {
      unknown.end = end;
    } else {
      flush();
      unknown = {unk_id_, begin, end};
    }
  }
  flush();
}

void BpeModel::merge_short(std::vector<BpeToken>& symbols, size_t first) const {
  const Merge* merges[kShortPiece];
  BpeToken* s = symbols.data() + first;
  size_t n = symbols.size() - first;
  for (size_t i = 0; i + 1 < n; ++i) merges[i] = find_merge(s[i].id, s[i + 1].id);
  while (n > 1) {
    size_t best = n;
    int32_t best_rank = std::numeric_limits<int32_t>::max();
    for (size_t i = 0; i + 1 < n; ++i) {
      if (merges[i] && merges[i]->rank < best_rank) best_rank = merges[i]->rank, best = i;
    }
    if (best == n) break;
    s[best] = {merges[best]->id, s[best].begin, s[best + 1].end};
    std::move(s + best + 2, s + n, s + best + 1);
    --n;
    if (best + 1 < n) {
      std::move(merges + best + 2, merges + n, merges + best + 1);
      merges[best] = find_merge(s[best].id, s[best + 1].id);
    }
    if (best > 0) merges[best - 1] = find_merge(s[best - 1].id, s[best].id);
  }
  symbols.resize(first + n);
}

void BpeModel::merge_long(std::vector<BpeToken>& symbols, size_t first) const {
  struct Candidate {
    int32_t rank, left_id, right_id;
    uint32_t left, right;
    // the lowest rank first, then the leftmost
    bool operator<(const Candidate& o) const { return rank != o.rank ? rank > o.rank : left > o.left; }
  };
  BpeToken* s = symbols.data() + first;
  const auto n = static_cast<uint32_t>(symbols.size() - first);
  std::vector<uint32_t> next(n), previous(n);
  std::vector<Candidate> storage;
  storage.reserve(n);
  std::priority_queue<Candidate> queue({}, std::move(storage));
  const auto add = [&](uint32_t left, uint32_t right) {
    if (const Merge* m = find_merge(s[left].id, s[right].id))
      queue.push({m->rank, s[left].id, s[right].id, left, right});
  };
  for (uint32_t i = 0; i < n; ++i) next[i] = i + 1, previous[i] = i - 1;  // n and ~0 stand for "none"
  for (uint32_t i = 0; i + 1 < n; ++i) add(i, i + 1);
  while (!queue.empty()) {
    const Candidate c = queue.top();
    queue.pop();
    // an id of -1 marks what was merged into its left neighbour; other ids: one of the two has grown since
    if (s[c.left].id != c.left_id || s[c.right].id != c.right_id || next[c.left] != c.right) continue;
    s[c.left] = {find_merge(c.left_id, c.right_id)->id, s[c.left].begin, s[c.right].end};
    s[c.right].id = -1;
    next[c.left] = next[c.right];
    if (next[c.left] < n) previous[next[c.left]] = c.left, add(c.left, next[c.left]);
    if (previous[c.left] < n) add(previous[c.left], c.left);
  }
  const auto kept = std::remove_if(symbols.begin() + static_cast<std::ptrdiff_t>(first), symbols.end(),
                                   [](const BpeToken& t) { return t.id < 0; });
  symbols.erase(kept, symbols.end());
}

void BpeModel::tokenize_uncached(std::string_view piece, std::vector<BpeToken>& out) const {
  if (!whole_pieces_.empty()) {
    if (const auto found = whole_pieces_.find(std::string(piece)); found != whole_pieces_.end()) {
      out.push_back({found->second, 0, static_cast<uint32_t>(piece.size())});
      return;
    }
  }
  const size_t first = out.size();
  append_symbols(piece, out);
  if (out.size() - first <= kShortPiece) {
    merge_short(out, first);
  } else {
    merge_long(out, first);
  }
}

void BpeModel::tokenize(std::string_view piece, std::vector<BpeToken>& out) const {
  if (piece.size() > CacheEntry::kMaxBytes) return tokenize_uncached(piece, out);
  CacheEntry& entry = cache_entry(piece, serial_);
  if (entry.serial == serial_ && entry.num_bytes == piece.size() &&
      std::memcmp(entry.bytes, piece.data(), piece.size()) == 0) {
    uint32_t begin = 0;
    for (size_t i = 0; i < entry.num_tokens; ++i) {
      out.push_back({entry.ids[i], begin, entry.ends[i]});
      begin = entry.ends[i];
    }
    return;
  }
  const size_t first = out.size();
  tokenize_uncached(piece, out);
  if (!fits_cache(out, first)) return;
  entry.serial = serial_;
  entry.num_bytes = static_cast<uint8_t>(piece.size());
  entry.num_tokens = static_cast<uint8_t>(out.size() - first);
  std::memcpy(entry.bytes, piece.data(), piece.size());
  for (size_t i = first; i < out.size(); ++i) {
    entry.ids[i - first] = out[i].id;
    entry.ends[i - first] = static_cast<uint8_t>(out[i].end);
  }
}

}  // namespace qtune
