#include <ATen/cuda/CUDAContextLight.h>
#include <ATen/ops/_scaled_mm.h>
#include <ATen/ops/addmm.h>
#include <cublasLt.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>

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

/// out^T (C, R), as cuBLAS sees row-major memory: the transpose of b's columns times a's.
class Product {
 public:
  Product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out, size_t workspace_bytes) {
    check_status("MatmulDescCreate", cublasLtMatmulDescCreate(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    const cublasOperation_t transposed = CUBLAS_OP_T;
    check_status("MatmulDescSetAttribute", cublasLtMatmulDescSetAttribute(operation_, CUBLASLT_MATMUL_DESC_TRANSA,
                                                                          &transposed, sizeof(transposed)));
    b_ = layout_of(b);
    a_ = layout_of(a);
    out_ = layout_of(out);
    cublasLtMatmulPreference_t preference = nullptr;
    check_status("MatmulPreferenceCreate", cublasLtMatmulPreferenceCreate(&preference));
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
    int found = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(at::cuda::getCurrentCUDABlasLtHandle(), operation_, b_,
                                                                 a_, out_, out_, preference, 1, &choice_, &found);
    cublasLtMatmulPreferenceDestroy(preference);
    check_status("MatmulAlgoGetHeuristic", status);
    if (found == 0) throw Error("cuBLASLt: no algorithm for this product");
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;
  ~Product() {
    for (cublasLtMatrixLayout_t layout : {a_, b_, out_}) cublasLtMatrixLayoutDestroy(layout);
    cublasLtMatmulDescDestroy(operation_);
  }

  void run(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out) const {
    const float one = 1.0f, zero = 0.0f;
    check_status("Matmul",
                 cublasLtMatmul(at::cuda::getCurrentCUDABlasLtHandle(), operation_, &one, b.data_ptr(), b_,
                                a.data_ptr(), a_, &zero, out.data_ptr(), out_, out.data_ptr(), out_, &choice_.algo,
                                at::cuda::getCUDABlasLtWorkspace(), choice_.workspaceSize, current_stream()));
  }

 private:
  static cublasLtMatrixLayout_t layout_of(const at::Tensor& t) {
    cublasLtMatrixLayout_t layout = nullptr;
    check_status("MatrixLayoutCreate",
                 cublasLtMatrixLayoutCreate(&layout, cuda_type(t), static_cast<uint64_t>(t.size(1)),
                                            static_cast<uint64_t>(t.size(0)), t.stride(0)));
    return layout;
  }

  cublasLtMatmulDesc_t operation_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, out_ = nullptr;
  cublasLtMatmulHeuristicResult_t choice_{};
};

/// The heuristic costs tens of microseconds, and a head meets few shapes.
const Product& product_for(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out) {
  using Key = std::tuple<int, at::ScalarType, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, uint32_t>;
  static std::mutex mutex;
  static std::map<Key, std::unique_ptr<Product>> products;
  const Key key{a.get_device(), a.scalar_type(), a.size(0),
                a.size(1),      b.size(0),       a.stride(0),
                b.stride(0),    out.stride(0),   alignment_of(a) << 20 | alignment_of(b) << 10 | alignment_of(out)};
  const std::lock_guard lock(mutex);
  // Ragged last tiles bring new shapes for ever.
  if (products.size() > 256) products.clear();
  std::unique_ptr<Product>& product = products[key];
  if (!product) product = std::make_unique<Product>(a, b, out, at::cuda::getCUDABlasLtWorkspaceSize());
  return *product;
}

}  // namespace

void product_with_transposed(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out) {
  product_for(a, b, out).run(a, b, out);
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
