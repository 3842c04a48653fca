#include "qtune/score/score_pass.h"

#include <fmt/format.h>

#include "qtune/base/error.h"
#include "qtune/batch/pack.h"

namespace qtune {

SampleScores unscored(const TokenizedSample& sample) {
  SampleScores s{.id = sample.id.name(), .id_is_number = sample.id.is_number};
  s.positions = trainable_positions(sample);
  s.span = runs_of_positions(s.positions);
  s.end_of_turn.reserve(s.positions.size());
  for (const int32_t k : s.positions) s.end_of_turn.push_back(sample.end_of_turn[static_cast<size_t>(k)]);
  return s;
}

std::vector<SampleScores> score_pass(Model& model, std::span<const TokenizedSample* const> samples,
                                     int64_t micro_batch) {
  std::vector<SampleScores> result;
  result.reserve(samples.size());
  for (size_t first = 0; first < samples.size(); first += static_cast<size_t>(micro_batch)) {
    const auto group = samples.subspan(first, std::min(static_cast<size_t>(micro_batch), samples.size() - first));
    std::vector<PackedSample> packed;
    for (const TokenizedSample* sample : group) packed.push_back(all_targets(*sample));
    const RowScores rows = model.score(pack(packed));
    const at::Tensor nll_N = rows.nll_N.to(at::kCPU), entropy_N = rows.entropy_N.to(at::kCPU);
    const float *nll = nll_N.data_ptr<float>(), *entropy = entropy_N.data_ptr<float>();
    for (const TokenizedSample* sample : group) {
      SampleScores s = unscored(*sample);
      s.nll.assign(nll, nll + s.positions.size());
      s.entropy.assign(entropy, entropy + s.positions.size());
      nll += s.positions.size();
      entropy += s.positions.size();
      result.push_back(std::move(s));
    }
  }
  return result;
}

}  // namespace qtune
