// Samples packed end to end, without padding: what a forward pass takes.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace qtune {

/// Legend: N packed tokens, B samples, M targets.
struct PackedTokens {
  at::Tensor ids_N;                 // (N) int32
  at::Tensor positions_N;           // (N) int32, from 0 in each sample
  std::vector<int32_t> cu_seqlens;  // B + 1 offsets of the samples, first 0, last N
  at::Tensor rows_M;                // (M) int32: the packed token whose hidden state predicts ...
  at::Tensor targets_M;             // (M) int32: ... this token id. Ordered by sample, then position.
  at::Tensor weights_M;             // (M) float32: factor of its nll in the loss; undefined: all 1
  at::Tensor device_cu_seqlens;     // cu_seqlens beside the others on a GPU; undefined on the CPU

  int64_t num_tokens() const { return ids_N.size(0); }
  int64_t num_targets() const { return targets_M.size(0); }
  int64_t num_samples() const { return static_cast<int64_t>(cu_seqlens.size()) - 1; }
};

/// int32 tensors of the host on `device`, by one copy from pinned memory that the host does not wait for.
std::vector<at::Tensor> copy_together(const std::vector<at::Tensor>& parts, at::Device device);

/// Throws: Error naming the first id (int32, on the host) outside 0..vocab_size-1, as "WHAT id of row ...".
void check_ids(const char* what, const at::Tensor& ids, int64_t vocab_size);

/// The batch on `device`. On the CPU the batch itself.
/// Throws: Error naming a token id or target outside 0..vocab_size-1 (kernels do not look).
PackedTokens to_device(const PackedTokens& batch, at::Device device, int64_t vocab_size);

}  // namespace qtune
