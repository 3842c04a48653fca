// Byte-pair encoding of one piece of text.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bpe_cache.h"
#include "bpe_cuts.h"

namespace qtune {

/// What a tokenizer.json says about its BPE model. Token strings as the file has them.
struct BpeSpec {
  std::vector<std::pair<std::string, int32_t>> vocab;       // ids >= 0, each once
  std::vector<std::pair<std::string, std::string>> merges;  // by rank
  std::string unk_token;                                    // empty: a character without a token is left out
  bool fuse_unk = false;
  bool byte_fallback = false;
  bool ignore_merges = false;  // a piece that is a token is that token
  bool byte_level = false;     // tokens are spelled in the byte-level alphabet
};

/// The byte-level alphabet: the code point that spells each byte (GPT-2's table).
const std::array<uint32_t, 256>& byte_level_alphabet();

class BpeModel {
 public:
  /// Throws: Error saying which merge or token is wrong.
  explicit BpeModel(const BpeSpec& spec);

  /// Appends the tokens of a non-empty piece of valid UTF-8. Remembers short pieces for the thread that calls.
  void tokenize(std::string_view piece, std::vector<BpeToken>& out) const;

  /// Null, or where pieces may be cut further without changing their tokens.
  const BpeCuts* cuts() const { return has_cuts_ ? &cuts_ : nullptr; }

 private:
  struct Merge {
    uint64_t pair;
    int32_t rank, id;
  };
  using PieceMap = std::unordered_map<std::string, int32_t>;

  void add_cuts(const BpeSpec& spec);
  void add_whole_pieces(const BpeSpec& spec);
  void add_merges(const BpeSpec& spec, const std::unordered_map<std::string_view, int32_t>& ids);
  const Merge* find_merge(int32_t left, int32_t right) const;
  void append_symbols(std::string_view piece, std::vector<BpeToken>& out) const;
  void merge_short(std::vector<BpeToken>& symbols, size_t first) const;
  void merge_long(std::vector<BpeToken>& symbols, size_t first) const;
  void tokenize_uncached(std::string_view piece, std::vector<BpeToken>& out) const;

  std::vector<Merge> merges_;  // open addressing
  int merge_shift_ = 0;
  std::array<int32_t, 256> byte_ids_{};             // byte level: the byte's token; else the fallback token; -1: none
  std::unordered_map<uint32_t, int32_t> char_ids_;  // not byte level: tokens of one code point
  PieceMap whole_pieces_;                           // ignore_merges: tokens by their bytes or text
  int32_t unk_id_ = -1;
  bool fuse_unk_, byte_level_;
  BpeCuts cuts_{BpeCuts::Space::kItself};
  bool has_cuts_ = false;
  PieceCache cache_;
};

}  // namespace qtune
