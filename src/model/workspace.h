// Buffers that keep their memory from batch to batch. Fresh large blocks cost a page fault per 4 KiB, which at a
// layer's sizes is as dear as the element-wise work itself.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <unordered_map>

#include "qtune/base/error.h"
#include "qtune/base/file.h"

namespace qtune {

class Workspace {
 public:
  explicit Workspace(at::Device device = at::kCPU) : device_(device) {}

  /// A contiguous tensor with undefined content. One with the same name aliases it: a name is used for one thing at a
  /// time.
  /// Throws: Error when the system has no such memory.
  at::Tensor get(const std::string& name, at::IntArrayRef shape, at::ScalarType dtype) {
    const int64_t num_bytes = c10::multiply_integers(shape) * static_cast<int64_t>(c10::elementSize(dtype));
    at::Tensor& buffer = buffers_[name];
    if (!buffer.defined() || buffer.numel() < num_bytes) {
      buffer = at::Tensor();  // free first: the old and the new need not exist together
      buffer =
          device_.is_cpu() ? pages(num_bytes) : at::empty({num_bytes}, at::TensorOptions(at::kByte).device(device_));
    }
    return buffer.narrow(0, 0, num_bytes).view(dtype).view(shape);
  }

 private:
  /// Straight from the system: malloc keeps freed blocks of such sizes, and each new longest batch would leave a hole
  /// behind every buffer.
  static at::Tensor pages(int64_t num_bytes) {
    const auto size = static_cast<size_t>(std::max<int64_t>(1, num_bytes));
    void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
      throw Error(fmt::format("no memory for a buffer of {}: {} ---> lower per_device_train_batch_size or cutoff_len",
                              format_bytes(size), std::strerror(errno)));
    }
    return at::from_blob(
        memory, {num_bytes}, [size](void* p) { ::munmap(p, size); }, at::kByte);
  }

  at::Device device_;
  std::unordered_map<std::string, at::Tensor> buffers_;
};

}  // namespace qtune
