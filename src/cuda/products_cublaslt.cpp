#include <ATen/cuda/CUDAContextLight.h>
#include <ATen/ops/_scaled_mm.h>
#include <ATen/ops/addmm.h>
#include <cublasLt.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <type_traits>

#include "products.h"
#include "runtime.h"

namespace qtune {
namespace {

void check_status(const char* call, cublasStatus_t status) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(fmt::format("cuBLASLt: {}: {}", call, cublasLtGetStatusString(status)));
}

cudaDataType_t cuda_type(const at::Tensor& t) { return t.scalar_type() == at::kFloat ? CUDA_R_32F : CUDA_R_16BF; }

/// The largest power of two up to 256 that the address is a multiple of.
uint32_t alignment_of(const at::Tensor& t) {
  const auto address = reinterpret_cast<uintptr_t>(t.data_ptr());
  return static_cast<uint32_t>(std::min<uintptr_t>(address & (~address + 1), 256));
}

template <class Handle, cublasStatus_t (*kDestroy)(Handle)>
struct Destroy {
  using pointer = Handle;
  void operator()(Handle handle) const { kDestroy(handle); }
};
template <class Handle, cublasStatus_t (*kDestroy)(Handle)>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy<Handle, kDestroy>>;
using Operation = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

Operation transposed_times_plain() {
  cublasLtMatmulDesc_t operation = nullptr;
  check_status("MatmulDescCreate", cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  Operation owned(operation);
  const cublasOperation_t transposed = CUBLAS_OP_T;
  check_status("MatmulDescSetAttribute",
               cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed)));
  return owned;
}

Layout layout_of(const at::Tensor& t) {
  cublasLtMatrixLayout_t layout = nullptr;
  check_status("MatrixLayoutCreate", cublasLtMatrixLayoutCreate(&layout, cuda_type(t), static_cast<uint64_t>(t.size(1)),
                                                                static_cast<uint64_t>(t.size(0)), t.stride(0)));
  return Layout(layout);
}

/// Alignments of a, b and out, and what cuBLASLt may use beside them.
Preference preference_for(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out, size_t workspace_bytes) {
  cublasLtMatmulPreference_t preference = nullptr;
  check_status("MatmulPreferenceCreate", cublasLtMatmulPreferenceCreate(&preference));
  Preference owned(preference);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    check_status("MatmulPreferenceSetAttribute",
                 cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)));
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
  // A product split over its inner dimension adds its parts in float32.
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(b));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(a));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(out));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(out));
  return owned;
}

/// out^T (C, R), as cuBLAS sees row-major memory: the transpose of b's columns times a's.
class Product {
 public:
  Product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out, size_t workspace_bytes)
      : operation_(transposed_times_plain()), a_(layout_of(a)), b_(layout_of(b)), out_(layout_of(out)) {
    const Preference preference = preference_for(a, b, out, workspace_bytes);
    int found = 0;
    check_status(
        "MatmulAlgoGetHeuristic",
        cublasLtMatmulAlgoGetHeuristic(at::cuda::getCurrentCUDABlasLtHandle(), operation_.get(), b_.get(), a_.get(),
                                       out_.get(), out_.get(), preference.get(), 1, &choice_, &found));
    if (found == 0) throw Error("cuBLASLt: no algorithm for this product");
  }

  void run(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out) const {
    const float one = 1.0f, zero = 0.0f;
    check_status("Matmul", cublasLtMatmul(at::cuda::getCurrentCUDABlasLtHandle(), operation_.get(), &one, b.data_ptr(),
                                          b_.get(), a.data_ptr(), a_.get(), &zero, out.data_ptr(), out_.get(),
                                          out.data_ptr(), out_.get(), &choice_.algo, at::cuda::getCUDABlasLtWorkspace(),
                                          choice_.workspaceSize, current_stream()));
  }

 private:
  Operation operation_;
  Layout a_, b_, out_;
  cublasLtMatmulHeuristicResult_t choice_{};
};

/// The heuristic costs tens of microseconds, and a head meets few shapes.
std::shared_ptr<const Product> product_for(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out) {
  using Key =
      std::tuple<int, at::ScalarType, at::ScalarType, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, uint32_t>;
  static std::mutex mutex;
  static std::map<Key, std::shared_ptr<const Product>> products;
  const Key key{a.get_device(),    a.scalar_type(),
                out.scalar_type(), a.size(0),
                a.size(1),         b.size(0),
                a.stride(0),       b.stride(0),
                out.stride(0),     alignment_of(a) << 20 | alignment_of(b) << 10 | alignment_of(out)};
  const std::lock_guard lock(mutex);
  const auto known = products.find(key);
  if (known != products.end()) return known->second;
  // Ragged last tiles bring new shapes for ever.
  if (products.size() > 256) products.clear();
  return products[key] = std::make_shared<const Product>(a, b, out, at::cuda::getCUDABlasLtWorkspaceSize());
}

}  // namespace

void product_with_transposed(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out) {
  product_for(a, b, out)->run(a, b, out);
}

void product_fp8(const at::Tensor& a, const at::Tensor& a_scales, const at::Tensor& b, const at::Tensor& b_scales,
                 const at::Tensor& out) {
  at::Tensor product = out;
  at::_scaled_mm_out(product, a, b.t(), a_scales.unsqueeze(1), b_scales.unsqueeze(0), /*bias=*/{}, /*scale_result=*/{},
                     at::kBFloat16, /*use_fast_accum=*/true);
}

void add_transposed_product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& sum) {
  at::Tensor out = sum;
  if (a.scalar_type() == at::kFloat) {
    at::addmm_out(out, sum, a.t(), b);
  } else {
    // bfloat16 factors, float32 sum: nothing is rounded between the batches.
    at::addmm_out(out, sum, a.t(), b, at::kFloat);
  }
}

}  // namespace qtune
