// Buffers that keep their memory from batch to batch. Fresh large blocks cost a page fault per 4 KiB, which at a
// layer's sizes is as dear as the element-wise work itself.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <string>
#include <unordered_map>

namespace qtune {

class Workspace {
 public:
  /// A contiguous tensor with undefined content. One with the same name aliases it: a name is used for one thing at a
  /// time.
  at::Tensor get(const std::string& name, at::IntArrayRef shape, at::ScalarType dtype) {
    const int64_t num_bytes = c10::multiply_integers(shape) * static_cast<int64_t>(c10::elementSize(dtype));
    at::Tensor& buffer = buffers_[name];
    if (!buffer.defined() || buffer.numel() < num_bytes) {
      buffer = at::Tensor();  // free first: the old and the new need not exist together
      // An eighth of slack: batches differ in length, and growing is copying pages again.
      buffer = at::empty({num_bytes + num_bytes / 8}, at::kByte);
    }
    return buffer.narrow(0, 0, num_bytes).view(dtype).view(shape);
  }

 private:
  std::unordered_map<std::string, at::Tensor> buffers_;
};

}  // namespace qtune
