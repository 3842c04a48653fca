// Samples of one token a byte, written as text with a mask, and sets of them.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "qtune/text/sample_store.h"

namespace qtune {

inline std::string bytes_as_text(std::span<const int32_t> ids) {
  std::string text;
  for (const int32_t id : ids) text.push_back(static_cast<char>(id));
  return text;
}

/// One token a byte; trained where `mask` has 'x', trained and ending a turn where it has 'e'.
inline TokenizedSample sample_of(const std::string& text, const std::string& mask, int64_t line = 3) {
  TokenizedSample sample{.id = {.file = "f.jsonl", .line = line, .record = ""}};
  for (size_t k = 0; k < text.size(); ++k) {
    sample.input_ids.push_back(static_cast<unsigned char>(text[k]));
    sample.trained.push_back(mask[k] == 'x' || mask[k] == 'e');
    sample.end_of_turn.push_back(mask[k] == 'e');
  }
  return sample;
}

inline SampleSet set_of(const std::vector<TokenizedSample>& list) {
  SampleStoreWriter writer("");
  for (const TokenizedSample& sample : list) writer.add(sample);
  SampleSet samples;
  samples.append(writer.finish({}, ""));
  return samples;
}

}  // namespace qtune
