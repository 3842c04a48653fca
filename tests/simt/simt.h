// What kernels/device.h includes where a .cu file is compiled as C++: the same source, run thread by thread on the CPU.
// docs/simt.md says what that finds and what it does not.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "simt/block.h"
#include "simt/intrinsics.h"
#include "simt/shared_memory.h"

// GCC knows no launch_bounds attribute.
#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __forceinline__
#define __forceinline__ inline

namespace qtune::simt {

/// "token_score_kernel<float>" from what the compiler calls this function.
template <auto kernel>
std::string kernel_name() {
  std::string_view text = __PRETTY_FUNCTION__;
  text = text.substr(text.find("kernel = ") + 9);
  text = text.substr(0, text.find(';'));
  if (!text.empty() && text.back() == ']') text.remove_suffix(1);
  for (const std::string_view scope : {"qtune::", "{anonymous}::", "(anonymous namespace)::"}) {
    if (text.substr(0, scope.size()) == scope) text.remove_prefix(scope.size());
  }
  return std::string(text);
}

template <auto kernel, class... Params>
cudaError_t launch_with(void (*)(Params...), dim3 grid, dim3 block, size_t shared_bytes,
                        std::type_identity_t<Params>... params) {
  if (!is_valid_launch(grid, block, shared_bytes)) return cudaErrorInvalidConfiguration;
  const Launch launch{kernel_name<kernel>(), grid, block, shared_bytes, [&] { kernel(params...); }};
  return run_launch(launch) ? cudaSuccess : cudaErrorLaunchFailure;
}

}  // namespace qtune::simt
