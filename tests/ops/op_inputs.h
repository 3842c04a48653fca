// Inputs and poisoned outputs for the tests of ops.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace qtune {

/// Normal values from a seed.
inline at::Tensor random_values(at::IntArrayRef shape, at::ScalarType dtype, uint64_t seed, double scale = 1) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  return (at::randn(shape, generator) * scale).to(dtype);
}

/// An output buffer that shows every place that was not written.
inline at::Tensor poisoned(at::IntArrayRef shape, at::ScalarType dtype) { return at::full(shape, std::nan(""), dtype); }

inline at::Tensor int_tensor(const std::vector<int32_t>& values) { return at::tensor(values, at::kInt); }

inline std::string dtype_test_name(at::ScalarType dtype) { return dtype == at::kFloat ? "Float32" : "BFloat16"; }

}  // namespace qtune
