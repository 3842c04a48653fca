// Buffers for kernel tests: allocated to the exact size, so that AddressSanitizer sees the first byte beside them, and
// filled with a pattern that no kernel writes, so that a value left out is seen.
#pragma once

#include <cuda_bf16.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace qtune::simt {

/// One NaN of many; all bytes equal, so it is NaN as float and as bfloat16 too.
inline constexpr unsigned char kPoisonByte = 0xff;

template <class T>
std::vector<T> poisoned(int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  if (count > 0) std::memset(static_cast<void*>(values.data()), kPoisonByte, values.size() * sizeof(T));
  return values;
}

/// Index of the first value that still holds the pattern; -1 when there is none.
template <class T>
int64_t first_poisoned(const std::vector<T>& values) {
  T poison;
  std::memset(static_cast<void*>(&poison), kPoisonByte, sizeof(T));
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::memcmp(&values[i], &poison, sizeof(T)) == 0) return static_cast<int64_t>(i);
  }
  return -1;
}

}  // namespace qtune::simt
