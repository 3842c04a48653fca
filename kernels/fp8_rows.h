// Rows as 8-bit floats (e4m3: 4 bits of exponent, 3 of mantissa, up to 448) with a scale each. It enqueues and returns;
// it allocates nothing and never synchronises. Legend: N rows, K columns.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace qtune {

inline constexpr float kLargestE4m3 = 448.0f;

/// scales[n] = max |x[n]| / 448 (1 for a row of zeros); values[n][k] = x[n][k] / scales[n], rounded to nearest even.
/// Shapes: x (N, K) contiguous; values (N, K) the bytes of e4m3 numbers; scales (N).
/// A row with a number that is not finite has a scale that is not finite, so that products with it show it.
struct Fp8Rows {
  int64_t num_rows = 0, dim = 0;
  const __nv_bfloat16* x = nullptr;
  uint8_t* values = nullptr;
  float* scales = nullptr;
};

/// Empty: no rows launch nothing; rows without columns get scale 1.
cudaError_t launch_fp8_rows(const Fp8Rows& args, cudaStream_t stream);

}  // namespace qtune
