#include "qtune/text/tokenized_sample.h"

namespace qtune {

std::vector<const TokenizedSample*> pointers_to(const std::vector<TokenizedSample>& samples) {
  std::vector<const TokenizedSample*> pointers;
  for (const TokenizedSample& sample : samples) pointers.push_back(&sample);
  return pointers;
}

std::vector<int32_t> trainable_positions(const TokenizedSample& sample) {
  std::vector<int32_t> positions;
  for (size_t k = 1; k < sample.trained.size(); ++k) {
    if (sample.trained[k]) positions.push_back(static_cast<int32_t>(k));
  }
  return positions;
}

std::vector<int32_t> runs_of_positions(const std::vector<int32_t>& positions) {
  std::vector<int32_t> runs(positions.size());
  for (size_t i = 1; i < positions.size(); ++i) {
    runs[i] = runs[i - 1] + (positions[i] == positions[i - 1] + 1 ? 0 : 1);
  }
  return runs;
}

}  // namespace qtune
