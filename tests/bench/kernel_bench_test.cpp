#include "qtune/bench/kernel_bench.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace qtune {
namespace {

TEST(KernelBench, EveryKernelIsTimedAndHeldAgainstItsYardstick) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const std::vector<KernelResult> results = bench_kernels({.compute_dtype = dtype,
                                                             .num_rows = 9,
                                                             .hidden_size = 64,
                                                             .intermediate_size = 128,
                                                             .num_heads = 2,
                                                             .num_kv_heads = 1,
                                                             .vocab_sizes = {33, 100},
                                                             .seconds_each = 0.001});
    ASSERT_FALSE(results.empty());
    EXPECT_EQ(results[0].name, "copy");
    for (const KernelResult& r : results) {
      EXPECT_GE(r.timing.num_runs, 3) << r.name;
      EXPECT_LE(r.timing.min_seconds, r.timing.median_seconds) << r.name;
      EXPECT_NE(r.num_bytes > 0, r.num_flops > 0) << r.name;
      EXPECT_GT(r.share, 0) << r.name;
    }
    for (const char* name : {"adamw", "embed_backward", "head score V 33", "head training V 100", "product V 33"}) {
      EXPECT_TRUE(std::any_of(results.begin(), results.end(), [&](const KernelResult& r) { return r.name == name; }))
          << name;
    }
  }
}

}  // namespace
}  // namespace qtune
