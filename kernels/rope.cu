// A thread turns W neighbouring pairs of one head: both halves are loaded and stored as packs.
#include "kernels/rope.h"

#include "kernels/pack.h"

namespace qtune {
namespace {

constexpr int kThreads = 256;

template <class T, int W>
__global__ void __launch_bounds__(kThreads) rope_kernel(Rope<T> a) {
  const int64_t half = a.head_dim / 2, width = (a.num_heads + 2 * a.num_kv_heads) * a.head_dim;
  const int packs_a_head = static_cast<int>(half / W);
  const int num_packs = static_cast<int>(a.num_heads + a.num_kv_heads) * packs_a_head;
  const float sign = a.direction == RotaryDirection::kForward ? 1.0f : -1.0f;
  for (int64_t row = blockIdx.x; row < a.num_rows; row += gridDim.x) {
    const float* angles = a.table + a.positions[row] * a.head_dim;
    for (int i = static_cast<int>(threadIdx.x); i < num_packs; i += static_cast<int>(blockDim.x)) {
      const int head = i / packs_a_head, j = (i - head * packs_a_head) * W;
      T* low = a.qkv + row * width + head * a.head_dim + j;
      Pack<T, W> x = load<W>(low), y = load<W>(low + half);
      const Pack<float, W> cosine = load<W>(angles + j), sine = load<W>(angles + half + j);
      for (int w = 0; w < W; ++w) {
        const float xw = to_float(x.v[w]), yw = to_float(y.v[w]), s = sign * sine.v[w];
        x.v[w] = from_float<T>(xw * cosine.v[w] - yw * s);
        y.v[w] = from_float<T>(yw * cosine.v[w] + xw * s);
      }
      store(low, x);
      store(low + half, y);
    }
  }
}

}  // namespace

template <class T>
cudaError_t launch_rope(const Rope<T>& a, cudaStream_t stream) {
  if (a.head_dim % 2 != 0) return cudaErrorInvalidValue;
  const int64_t half = a.head_dim / 2, num_pairs = (a.num_heads + a.num_kv_heads) * half;
  if (a.num_rows == 0 || num_pairs == 0) return cudaSuccess;
  constexpr int kPack = 16 / sizeof(T);
  const auto config = [&](int64_t pack) {
    return LaunchConfig{grid_for(a.num_rows), threads_for(num_pairs / pack, kThreads), 0, stream};
  };
  const bool packs = allows_packs<kPack>(a.qkv, half) && allows_packs<kPack>(a.table, half);
  return packs ? launch<rope_kernel<T, kPack>>(config(kPack), a) : launch<rope_kernel<T, 1>>(config(1), a);
}

template cudaError_t launch_rope(const Rope<float>&, cudaStream_t);
template cudaError_t launch_rope(const Rope<__nv_bfloat16>&, cudaStream_t);

}  // namespace qtune
