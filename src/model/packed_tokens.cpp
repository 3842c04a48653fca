#include "qtune/model/packed_tokens.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>

#include "qtune/base/error.h"

namespace qtune {

void check_ids(const char* what, const at::Tensor& ids, int64_t vocab_size) {
  const int32_t* values = ids.data_ptr<int32_t>();
  for (int64_t i = 0; i < ids.numel(); ++i) {
    if (values[i] >= 0 && values[i] < vocab_size) continue;
    throw Error(fmt::format("{} {} of row {} is outside the vocabulary of {}", what, values[i], i, vocab_size));
  }
}

std::vector<at::Tensor> copy_together(const std::vector<at::Tensor>& parts, at::Device device) {
  int64_t total = 0;
  for (const at::Tensor& part : parts) total += part.numel();
  const at::Tensor host = at::empty({total}, at::TensorOptions(at::kInt).pinned_memory(device.is_cuda()));
  int32_t* next = host.data_ptr<int32_t>();
  for (const at::Tensor& part : parts) next = std::copy_n(part.data_ptr<int32_t>(), part.numel(), next);
  const at::Tensor all = host.to(device, /*non_blocking=*/true);
  std::vector<at::Tensor> copies;
  int64_t first = 0;
  for (const at::Tensor& part : parts) {
    copies.push_back(all.narrow(0, first, part.numel()));
    first += part.numel();
  }
  return copies;
}

PackedTokens to_device(const PackedTokens& batch, at::Device device, int64_t vocab_size) {
  if (device.is_cpu()) return batch;
  check_ids("token id", batch.ids_N, vocab_size);
  check_ids("target", batch.targets_M, vocab_size);
  const at::Tensor offsets = at::empty({static_cast<int64_t>(batch.cu_seqlens.size())}, at::kInt);
  std::copy(batch.cu_seqlens.begin(), batch.cu_seqlens.end(), offsets.data_ptr<int32_t>());
  const std::vector<at::Tensor> copies =
      copy_together({batch.ids_N, batch.positions_N, batch.rows_M, batch.targets_M, offsets}, device);
  return {.ids_N = copies[0],
          .positions_N = copies[1],
          .cu_seqlens = batch.cu_seqlens,
          .rows_M = copies[2],
          .targets_M = copies[3],
          .weights_M = batch.weights_M.defined() ? batch.weights_M.to(device) : at::Tensor(),
          .device_cu_seqlens = copies[4]};
}

}  // namespace qtune
