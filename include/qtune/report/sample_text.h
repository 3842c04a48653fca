// A sample's text, cut into the pieces that a reader can point at.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "qtune/text/sample_view.h"
#include "qtune/text/tokenized_sample.h"

namespace qtune {

/// A piece is a token's text; tokens that share a character, and what is left out of a long sample, are one piece.
struct SampleText {
  std::vector<std::string> pieces;  // UTF-8
  std::vector<int32_t> trainable;   // of each piece: how many tokens of T(x) it stands for
  std::vector<double> salience;     // of each token of T(x); empty: not known
};

/// `decode` empty: the ids are shown. Samples of more than `max_tokens` tokens lose their middle, with a note.
SampleText sample_text(const TokenizedSample& sample, const DecodeIds& decode, size_t max_tokens);

/// Texts of the named samples, as far as they can be had.
using FindTexts = std::function<std::map<std::string, SampleText>(std::span<const std::string> ids)>;

}  // namespace qtune
