// A model fixture's batch as training data.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "support/model_fixture.h"

namespace qtune {

/// The fixture's padded batch as pre-tokenized samples.
inline std::vector<nlohmann::json> samples_of(const ModelFixture& fixture) {
  const at::Tensor ids = fixture.tensor("input_ids"), labels = fixture.tensor("labels");
  const at::Tensor lengths = fixture.tensor("lengths");
  std::vector<nlohmann::json> samples;
  for (int64_t b = 0; b < ids.size(0); ++b) {
    const int64_t length = lengths[b].item<int64_t>();
    const auto row = [&](const at::Tensor& t) {
      return std::vector<int64_t>(t[b].data_ptr<int64_t>(), t[b].data_ptr<int64_t>() + length);
    };
    samples.push_back({{"input_ids", row(ids)}, {"labels", row(labels)}});
  }
  return samples;
}

}  // namespace qtune
