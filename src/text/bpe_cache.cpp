#include "bpe_cache.h"

#include <atomic>
#include <bit>
#include <cstring>

namespace qtune {
namespace {

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
constexpr int kCacheBits = 14;

CacheEntry& cache_entry(std::string_view piece, uint32_t serial) {
  thread_local std::vector<CacheEntry> entries(size_t{1} << kCacheBits);
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
  return entries[((mixed ^ mixed >> 29) * 0xBF58476D1CE4E5B9ULL) >> (64 - kCacheBits)];
}

}  // namespace

PieceCache::PieceCache() {
  static std::atomic<uint32_t> next_serial{1};
  serial_ = next_serial++;
}

bool PieceCache::find_short(std::string_view piece, std::vector<BpeToken>& out) const {
  static_assert(kMaxBytes == CacheEntry::kMaxBytes);
  const CacheEntry& entry = cache_entry(piece, serial_);
  if (entry.serial != serial_ || entry.num_bytes != piece.size() ||
      std::memcmp(entry.bytes, piece.data(), piece.size()) != 0) {
    return false;
  }
  uint32_t begin = 0;
  for (size_t i = 0; i < entry.num_tokens; ++i) {
    out.push_back({entry.ids[i], begin, entry.ends[i]});
    begin = entry.ends[i];
  }
  return true;
}

void PieceCache::keep(std::string_view piece, std::span<const BpeToken> tokens) const {
  if (piece.size() > kMaxBytes || tokens.size() > CacheEntry::kMaxTokens) return;
  uint32_t at = 0;
  for (const BpeToken& token : tokens) {
    if (token.begin != at) return;  // a character was left out
    at = token.end;
  }
  CacheEntry& entry = cache_entry(piece, serial_);
  entry.serial = serial_;
  entry.num_bytes = static_cast<uint8_t>(piece.size());
  entry.num_tokens = static_cast<uint8_t>(tokens.size());
  std::memcpy(entry.bytes, piece.data(), piece.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    entry.ids[i] = tokens[i].id;
    entry.ends[i] = static_cast<uint8_t>(tokens[i].end);
  }
}

}  // namespace qtune
