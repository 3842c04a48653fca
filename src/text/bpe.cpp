#include "bpe.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
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
  if (spec.ignore_merges) add_whole_pieces(spec);
  if (!byte_level_ && !spec.ignore_merges) add_cuts(spec);
  add_merges(spec, ids);
}

void BpeModel::add_cuts(const BpeSpec& spec) {
  // where a character is left out its neighbours meet; where bytes are merged, so may characters be
  const bool has_all_bytes = std::find(byte_ids_.begin(), byte_ids_.end(), -1) == byte_ids_.end();
  const auto is_byte = [](const std::string& token) { return token.size() == 6 && token.starts_with("<0x"); };
  if (unk_id_ < 0 && !has_all_bytes) return;
  for (const auto& [left, right] : spec.merges) {
    if (is_byte(left) || is_byte(right)) return;
    cuts_.add_token(left + right);
  }
  for (const auto& [token, id] : spec.vocab) {
    if (!token.empty() && code_point_at(token.data()).length == token.size()) cuts_.add_token(token);
  }
  has_cuts_ = cuts_.finish();
}

void BpeModel::add_whole_pieces(const BpeSpec& spec) {
  std::unordered_map<uint32_t, char> byte_of;
  for (uint32_t b = 0; b < 256; ++b) byte_of[byte_level_alphabet()[b]] = static_cast<char>(b);
  for (const auto& [token, id] : spec.vocab) {
    if (!byte_level_) {
      whole_pieces_.emplace(token, id);
      continue;
    }
    std::string bytes;
    const char *p = token.data(), *end = p + token.size();
    for (CodePoint c; p < end && (c = code_point_at(p), byte_of.contains(c.value)); p += c.length)
      bytes += byte_of[c.value];
    if (p == end) whole_pieces_.emplace(std::move(bytes), id);
  }
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
    uint64_t order;  // the lowest rank first, then the leftmost
    const Merge* merge;
    bool operator<(const Candidate& o) const { return order > o.order; }
  };
  BpeToken* s = symbols.data() + first;
  const auto n = static_cast<uint32_t>(symbols.size() - first);
  std::vector<uint32_t> next(n), previous(n);
  const auto candidate = [&](uint32_t left, const Merge* merge) {
    return Candidate{static_cast<uint64_t>(merge->rank) << 32 | left, merge};
  };
  std::vector<Candidate> initial;
  initial.reserve(n);
  for (uint32_t i = 0; i < n; ++i) next[i] = i + 1, previous[i] = i - 1;  // n and ~0 stand for "none"
  for (uint32_t i = 0; i + 1 < n; ++i) {
    if (const Merge* merge = find_merge(s[i].id, s[i + 1].id)) initial.push_back(candidate(i, merge));
  }
  std::priority_queue<Candidate> queue({}, std::move(initial));
  const auto add = [&](uint32_t left, uint32_t right) {
    if (const Merge* merge = find_merge(s[left].id, s[right].id)) queue.push(candidate(left, merge));
  };
  while (!queue.empty()) {
    const auto left = static_cast<uint32_t>(queue.top().order);
    const Merge* merge = queue.top().merge;
    queue.pop();
    // an id of -1 marks what was merged into its left neighbour; another pair: one of the two has grown since
    const uint32_t right = next[left];
    if (s[left].id < 0 || right == n || pair_of(s[left].id, s[right].id) != merge->pair) continue;
    s[left] = {merge->id, s[left].begin, s[right].end};
    s[right].id = -1;
    next[left] = next[right];
    if (next[left] < n) previous[next[left]] = left, add(left, next[left]);
    if (previous[left] < n) add(previous[left], left);
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
  if (cache_.find(piece, out)) return;
  const size_t first = out.size();
  tokenize_uncached(piece, out);
  cache_.keep(piece, std::span(out).subspan(first));
}

}  // namespace qtune
