// Argument checks shared by the ops.
#pragma once

#include <ATen/core/Tensor.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "qtune/base/error.h"

namespace qtune {

inline void check_shape(const char* op, const char* name, const at::Tensor& t, at::IntArrayRef expected) {
  if (t.sizes() != expected) {
    throw Error(fmt::format("{}: {}: expected shape [{}], found [{}]", op, name, fmt::join(expected, ", "),
                            fmt::join(t.sizes(), ", ")));
  }
  if (!t.is_contiguous()) throw Error(fmt::format("{}: {}: expected a contiguous tensor", op, name));
}

inline void check_dtype(const char* op, const char* name, const at::Tensor& t, at::ScalarType expected) {
  if (t.scalar_type() != expected) {
    throw Error(fmt::format("{}: {}: expected {}, found {}", op, name, c10::toString(expected),
                            c10::toString(t.scalar_type())));
  }
}

/// Calls f with a value of the tensor's element type: float or at::BFloat16.
template <class F>
void dispatch_compute_dtype(const char* op, const at::Tensor& t, F&& f) {
  switch (t.scalar_type()) {
    case at::kFloat:
      f(float{});
      break;
    case at::kBFloat16:
      f(at::BFloat16{});
      break;
    default:
      throw Error(fmt::format("{}: expected float32 or bfloat16, found {}", op, c10::toString(t.scalar_type())));
  }
}

}  // namespace qtune
