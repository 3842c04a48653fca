#include "qtune/batch/pack.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "qtune/base/error.h"

namespace qtune {

PackedSample all_targets(const TokenizedSample& sample) {
  std::vector<int32_t> all(trainable_positions(sample).size());
  std::iota(all.begin(), all.end(), 0);
  return apply_decision(sample, all, TokenMode::kMask);
}

PackedSample apply_decision(const TokenizedSample& sample, std::span<const int32_t> kept_tokens, TokenMode mode) {
  const std::vector<int32_t> positions = trainable_positions(sample);
  std::vector<uint8_t> kept(sample.input_ids.size(), 0);
  int32_t last = 0;
  for (const int32_t index : kept_tokens) {
    if (index < 0 || index >= static_cast<int32_t>(positions.size())) {
      throw Error(fmt::format("{}: kept token {} is outside the {} trainable tokens", sample.id.name(), index,
                              positions.size()));
    }
    kept[static_cast<size_t>(positions[static_cast<size_t>(index)])] = 1;
    last = std::max(last, positions[static_cast<size_t>(index)]);
  }
  PackedSample packed;
  if (kept_tokens.empty()) return packed;
  for (int32_t k = 0; k <= last; ++k) {
    const size_t i = static_cast<size_t>(k);
    const bool in_t = k >= 1 && sample.trained[i];
    if (mode == TokenMode::kDrop && in_t && !kept[i]) continue;
    if (kept[i]) {
      packed.rows.push_back(static_cast<int32_t>(packed.input_ids.size()) - 1);
      packed.targets.push_back(sample.input_ids[i]);
    }
    packed.input_ids.push_back(sample.input_ids[i]);
  }
  packed.input_ids.pop_back();  // the last target is predicted, not read
  return packed;
}

namespace {

at::Tensor weights_of(std::span<const PackedSample> samples, int64_t num_targets) {
  if (std::all_of(samples.begin(), samples.end(), [](const PackedSample& s) { return s.weight == 1; })) return {};
  const at::Tensor weights_M = at::empty({num_targets}, at::kFloat);
  float* weights = weights_M.data_ptr<float>();
  for (const PackedSample& s : samples) weights = std::fill_n(weights, s.targets.size(), static_cast<float>(s.weight));
  return weights_M;
}

}  // namespace

PackedTokens pack(std::span<const PackedSample> samples) {
  int64_t num_tokens = 0, num_targets = 0;
  for (const PackedSample& s : samples) {
    num_tokens += static_cast<int64_t>(s.input_ids.size());
    num_targets += static_cast<int64_t>(s.targets.size());
  }
  PackedTokens packed{.ids_N = at::empty({num_tokens}, at::kInt),
                      .positions_N = at::empty({num_tokens}, at::kInt),
                      .cu_seqlens = {0},
                      .rows_M = at::empty({num_targets}, at::kInt),
                      .targets_M = at::empty({num_targets}, at::kInt),
                      .weights_M = weights_of(samples, num_targets)};
  int32_t *ids = packed.ids_N.data_ptr<int32_t>(), *positions = packed.positions_N.data_ptr<int32_t>();
  int32_t *rows = packed.rows_M.data_ptr<int32_t>(), *targets = packed.targets_M.data_ptr<int32_t>();
  for (const PackedSample& s : samples) {
    const int32_t start = packed.cu_seqlens.back();
    ids = std::copy(s.input_ids.begin(), s.input_ids.end(), ids);
    std::iota(positions, positions + s.input_ids.size(), 0);
    positions += s.input_ids.size();
    for (const int32_t row : s.rows) *rows++ = start + row;
    targets = std::copy(s.targets.begin(), s.targets.end(), targets);
    packed.cu_seqlens.push_back(start + static_cast<int32_t>(s.input_ids.size()));
  }
  return packed;
}

std::vector<PackedSample> kept_samples(std::span<const TokenizedSample* const> samples, const PruneDecision& decision,
                                       TokenMode mode) {
  if (samples.size() != decision.samples.size()) {
    throw Error(fmt::format("kept_samples: {} samples, {} decisions", samples.size(), decision.samples.size()));
  }
  std::vector<PackedSample> kept;
  for (size_t i = 0; i < samples.size(); ++i) {
    if (!decision.samples[i].kept) continue;
    kept.push_back(apply_decision(*samples[i], decision.samples[i].kept_tokens, mode));
    kept.back().weight = decision.samples[i].weight;
  }
  return kept;
}

}  // namespace qtune
