#include "qtune/model/packed_tokens.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>

#include "qtune/base/error.h"

namespace qtune {
namespace {

void check_ids(const char* what, const at::Tensor& ids, int64_t vocab_size) {
  const int32_t* values = ids.data_ptr<int32_t>();
  for (int64_t i = 0; i < ids.numel(); ++i) {
    if (values[i] >= 0 && values[i] < vocab_size) continue;
    throw Error(fmt::format("{} {} of row {} is outside the vocabulary of {}", what, values[i], i, vocab_size));
  }
}

}  // namespace

PackedTokens to_device(const PackedTokens& batch, at::Device device, int64_t vocab_size) {
  if (device.is_cpu()) return batch;
  check_ids("token id", batch.ids_N, vocab_size);
  check_ids("target", batch.targets_M, vocab_size);
  const auto num_offsets = static_cast<int64_t>(batch.cu_seqlens.size());
  const int64_t n = batch.num_tokens(), m = batch.num_targets();
  const at::Tensor host = at::empty({2 * n + 2 * m + num_offsets}, at::TensorOptions(at::kInt).pinned_memory(true));
  int32_t* next = host.data_ptr<int32_t>();
  for (const at::Tensor* part : {&batch.ids_N, &batch.positions_N, &batch.rows_M, &batch.targets_M}) {
    next = std::copy_n(part->data_ptr<int32_t>(), part->numel(), next);
  }
  std::copy(batch.cu_seqlens.begin(), batch.cu_seqlens.end(), next);
  const at::Tensor all = host.to(device, /*non_blocking=*/true);
  return {.ids_N = all.narrow(0, 0, n),
          .positions_N = all.narrow(0, n, n),
          .cu_seqlens = batch.cu_seqlens,
          .rows_M = all.narrow(0, 2 * n, m),
          .targets_M = all.narrow(0, 2 * n + m, m),
          .device_cu_seqlens = all.narrow(0, 2 * n + 2 * m, num_offsets)};
}

}  // namespace qtune
