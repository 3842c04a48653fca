#include "qtune/score/score_pass.h"

#include <ATen/ops/cat.h>
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

std::vector<SampleScores> score_pass(Model& model, std::span<const TokenizedSample* const> samples, int64_t micro_batch,
                                     ScoreType type) {
  // A GPU goes on to the next batch while nobody waits for its scores: they are copied once, at the end.
  std::vector<at::Tensor> nll, entropy;
  for (size_t first = 0; first < samples.size(); first += static_cast<size_t>(micro_batch)) {
    const auto group = samples.subspan(first, std::min(static_cast<size_t>(micro_batch), samples.size() - first));
    std::vector<PackedSample> packed;
    for (const TokenizedSample* sample : group) packed.push_back(all_targets(*sample));
    const RowScores rows = model.score(pack(packed), type);
    nll.push_back(rows.nll_N);
    entropy.push_back(rows.entropy_N);
  }
  std::vector<SampleScores> result;
  result.reserve(samples.size());
  if (samples.empty()) return result;
  const at::Tensor scores = at::cat({at::cat(nll), at::cat(entropy)}).to(at::kCPU);
  const float *next_nll = scores.data_ptr<float>(), *next_entropy = next_nll + scores.numel() / 2;
  for (const TokenizedSample* sample : samples) {
    SampleScores s = unscored(*sample);
    s.nll.assign(next_nll, next_nll + s.positions.size());
    s.entropy.assign(next_entropy, next_entropy + s.positions.size());
    next_nll += s.positions.size();
    next_entropy += s.positions.size();
    result.push_back(std::move(s));
  }
  return result;
}

std::vector<std::vector<double>> attention_pass(Model& model, std::span<const TokenizedSample* const> samples,
                                                int64_t micro_batch, const AttentionScores& wanted) {
  std::vector<std::vector<double>> result;
  for (size_t first = 0; first < samples.size(); first += static_cast<size_t>(micro_batch)) {
    const auto group = samples.subspan(first, std::min(static_cast<size_t>(micro_batch), samples.size() - first));
    std::vector<PackedSample> packed;
    for (const TokenizedSample* sample : group) packed.push_back(all_targets(*sample));
    const at::Tensor host = model.attention_to_targets(pack(packed), wanted.layer, wanted.rule).to(at::kCPU);
    const float* next = host.data_ptr<float>();
    for (const PackedSample& sample : packed) {
      result.emplace_back(next, next + sample.targets.size());
      next += sample.targets.size();
    }
  }
  return result;
}

}  // namespace qtune
