#include "qtune/bench/kernel_bench.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>

#include "qtune/ops/adamw.h"
#include "qtune/ops/elementwise.h"
#include "qtune/ops/linear_cross_entropy.h"
#include "qtune/ops/rope.h"

namespace qtune {
namespace {

class Bench {
 public:
  explicit Bench(const KernelBenchOptions& options) : o_(options) {}

  std::vector<KernelResult> run() {
    bound_by_memory();
    for (const int64_t v : o_.vocab_sizes) head(v);
    return std::move(results_);
  }

 private:
  at::TensorOptions compute() const { return at::TensorOptions(o_.compute_dtype).device(o_.device); }
  at::TensorOptions floats() const { return at::TensorOptions(at::kFloat).device(o_.device); }
  at::Tensor values(at::IntArrayRef shape) const { return at::randn(shape, floats()).to(o_.compute_dtype); }
  int64_t element() const { return static_cast<int64_t>(c10::elementSize(o_.compute_dtype)); }

  /// num_bytes of memory traffic, held against the copy.
  void moves(const std::string& name, int64_t num_bytes, const std::function<void()>& work) {
    KernelResult r{.name = name, .timing = measure(o_.device, work, o_.seconds_each), .num_bytes = num_bytes};
    const double rate = static_cast<double>(num_bytes) / r.timing.median_seconds;
    if (copy_rate_ == 0) copy_rate_ = rate;
    r.share = rate / copy_rate_;
    results_.push_back(r);
  }

  void bound_by_memory() {
    const int64_t n = o_.num_rows, d = o_.hidden_size, f = o_.intermediate_size, e = element();
    const at::Tensor x = at::randn({n, d}, floats()), y = values({n, d}), weight = at::ones({d}, floats());
    const at::Tensor delta = values({n, d}), rstd = at::empty({n}, floats()), dx = at::zeros({n, d}, floats());
    const at::Tensor dweight = at::zeros({d}, floats());
    moves("copy", 2 * n * d * 4, [&] { dx.copy_(x); });
    moves("add_rms_norm", n * d * (8 + 2 * e), [&] { add_rms_norm(x, delta, x, weight, 1e-5, y, rstd); });
    moves("rms_norm_again", n * d * (4 + e), [&] { rms_norm_again(x, rstd, weight, y); });
    moves("rms_norm_backward", n * d * (12 + e), [&] { rms_norm_backward(delta, x, rstd, weight, dx, dweight); });
    moves("convert_into", n * d * (4 + e), [&] { convert_into(x, y); });
    moves("accumulate", n * d * (8 + e), [&] { accumulate(delta, dx); });
    positions(n, d, e);
    const at::Tensor gate_up = values({n, 2 * f}), h = at::empty({n, f}, compute());
    moves("swiglu", 3 * n * f * e, [&] { swiglu(gate_up, h); });
    const at::Tensor dh = values({n, f}), dgate_up = at::empty({n, 2 * f}, compute());
    moves("swiglu_backward", 6 * n * f * e, [&] { swiglu_backward(dh, gate_up, dgate_up, h); });
    rows(n, d, e, dx);
    update(n, d);
  }

  void positions(int64_t n, int64_t d, int64_t e) {
    const int64_t head_dim = d / o_.num_heads, normed = o_.num_heads + o_.num_kv_heads;
    const at::Tensor qkv = values({n, (normed + o_.num_kv_heads) * head_dim});
    const at::Tensor places = at::arange(n, floats().dtype(at::kInt));
    const at::Tensor table = make_rope_table(n, rope_frequencies(head_dim, 1e4)).to(o_.device);
    moves("apply_rope", 2 * n * normed * head_dim * e,
          [&] { apply_rope(qkv, places, table, o_.num_heads, o_.num_kv_heads, RopeDirection::kForward); });
  }

  void rows(int64_t n, int64_t d, int64_t e, const at::Tensor& x) {
    const int64_t v = o_.vocab_sizes.empty() ? 32'000 : o_.vocab_sizes.front();
    const at::Tensor table = values({v, d}), dtable = at::zeros({v, d}, floats());
    const at::Tensor ids = at::randint(v, {n}, floats().dtype(at::kInt));
    moves("embed", n * d * (4 + e), [&] { embed(table, ids, x); });
    // Every row of the gradient that is touched is read and written; most ids come once.
    moves("embed_backward", n * d * 12, [&] { embed_backward(x, ids, dtable); });
    const int64_t m = std::max<int64_t>(1, n / 2);
    const at::Tensor picked = at::arange(m, floats().dtype(at::kInt)).mul(2).clamp_max(n - 1);
    const at::Tensor out = at::empty({m, d}, floats());
    moves("gather_rows", m * d * 8, [&] { gather_rows(x, picked, out); });
    moves("scatter_add_rows", m * d * 12, [&] { scatter_add_rows(out, picked, x); });
  }

  void update(int64_t n, int64_t d) {
    const bool narrow = o_.compute_dtype == at::kBFloat16;
    const at::Tensor value = at::randn({n, d}, floats());
    const auto adamw = make_adamw({{.value = value,
                                    .gradient = at::randn({n, d}, floats()),
                                    .exp_avg = at::zeros({n, d}, floats()),
                                    .exp_avg_sq = at::zeros({n, d}, floats()),
                                    .compute = narrow ? values({n, d}) : at::Tensor()}});
    const at::Tensor nll = at::ones({1}, floats());
    // The norm reads the gradients once more.
    moves("adamw", n * d * (32 + (narrow ? 2 : 0)), [&] { adamw->update({.learning_rate = 1e-6}, 1.0, nll); });
  }

  /// num_flops of products, held against `yardstick` (0: this is it).
  double computes(const std::string& name, int64_t num_flops, double yardstick, const std::function<void()>& work) {
    KernelResult r{.name = name, .timing = measure(o_.device, work, o_.seconds_each), .num_flops = num_flops};
    const double rate = static_cast<double>(num_flops) / r.timing.median_seconds;
    r.share = yardstick == 0 ? 1 : rate / yardstick;
    results_.push_back(r);
    return rate;
  }

  void head(int64_t v) {
    const int64_t n = o_.num_rows, d = o_.hidden_size, flops = 2 * n * d * v;
    const at::Tensor hidden = values({n, d}), weight = values({v, d}), dhidden = at::empty({n, d}, compute());
    const at::Tensor targets = at::randint(v, {n}, floats().dtype(at::kInt));
    constexpr int64_t kPieceBytes = 256 << 20;
    const int64_t piece = std::clamp<int64_t>(kPieceBytes / (v * element()), 1, n);
    const at::Tensor logits = at::empty({piece, v}, compute());
    const double rate = computes(fmt::format("product V {}", v), flops, 0, [&] {
      for (int64_t row = 0; row < n; row += piece) {
        const int64_t count = std::min(piece, n - row);
        at::Tensor out = logits.narrow(0, 0, count);
        at::mm_out(out, hidden.narrow(0, row, count), weight.t());
      }
    });
    computes(fmt::format("head score V {}", v), flops, rate, [&] { linear_cross_entropy(hidden, weight, targets); });
    const at::Tensor dweight = at::zeros({v, d}, floats());
    computes(fmt::format("head training V {}", v), 3 * flops, rate,
             [&] { linear_cross_entropy_backward(hidden, weight, targets, dhidden, dweight); });
  }

  const KernelBenchOptions& o_;
  std::vector<KernelResult> results_;
  double copy_rate_ = 0;
};

}  // namespace

std::vector<KernelResult> bench_kernels(const KernelBenchOptions& options) { return Bench(options).run(); }

}  // namespace qtune
