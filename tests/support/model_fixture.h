// A tiny checkpoint in tests/data/models with the values that the transformers library gives for it.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "qtune/formats/safetensors.h"
#include "qtune/model/packed_tokens.h"

namespace qtune {

/// One of each kind of decoder: grouped and plain heads, scaled rotary positions, a sliding window, biases, norms of q
/// and k.
inline const auto kFixtureModels =
    testing::Values("llama_tied", "llama_untied", "llama3_rope", "mistral_window", "qwen2_bias", "qwen3_qknorm");

class ModelFixture {
 public:
  explicit ModelFixture(const std::string& name)
      : folder_(std::filesystem::path(QTUNE_TEST_DATA) / "models" / name),
        expected_(folder_ / "expected.safetensors") {}

  const std::filesystem::path& folder() const { return folder_; }

  at::Tensor tensor(const std::string& name) const {
    const TensorView& view = expected_.at(name);
    const auto dtype = view.dtype == Dtype::kF32 ? at::kFloat : view.dtype == Dtype::kF64 ? at::kDouble : at::kLong;
    at::Tensor t = at::empty(view.shape, dtype);
    std::memcpy(t.data_ptr(), view.bytes.data(), view.bytes.size());
    return t;
  }

  /// The fixture's padded batch, packed.
  PackedTokens batch() const {
    const at::Tensor ids = tensor("input_ids"), labels = tensor("labels"), lengths = tensor("lengths");
    std::vector<int32_t> packed_ids, positions, rows, targets;
    PackedTokens batch{.cu_seqlens = {0}};
    for (int64_t b = 0; b < ids.size(0); ++b) {
      for (int64_t k = 0; k < lengths[b].item<int64_t>(); ++k) {
        if (k > 0 && labels[b][k].item<int64_t>() != -100) {
          rows.push_back(static_cast<int32_t>(packed_ids.size()) - 1);
          targets.push_back(labels[b][k].item<int32_t>());
        }
        packed_ids.push_back(ids[b][k].item<int32_t>());
        positions.push_back(static_cast<int32_t>(k));
      }
      batch.cu_seqlens.push_back(static_cast<int32_t>(packed_ids.size()));
    }
    batch.ids_N = at::tensor(packed_ids, at::kInt);
    batch.positions_N = at::tensor(positions, at::kInt);
    batch.rows_M = at::tensor(rows, at::kInt);
    batch.targets_M = at::tensor(targets, at::kInt);
    return batch;
  }

  /// Values of a (B, T) tensor at the targets, in the batch's order.
  at::Tensor targets_of(const std::string& name) const {
    const at::Tensor labels = tensor("labels");
    at::Tensor mask = labels != -100;
    mask.select(1, 0).zero_();
    return tensor(name).masked_select(mask);
  }

 private:
  std::filesystem::path folder_;
  SafetensorsFile expected_;
};

}  // namespace qtune
