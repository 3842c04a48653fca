#include "kernels/rows.h"

#include <gmock/gmock.h>

#include "kernel_test_support.h"
#include "simt/fault.h"
#include "simt/orders.h"

namespace qtune {
namespace {

constexpr int64_t kRows = 37;
constexpr MatrixSize kManyLongRows{2051, 129};  // a block each, and more than a grid has
constexpr MatrixSize kSizes[] = {{0, 8},    {1, 1},    {5, 7},     {6, 64},      {33, 331},
                                 {4, 2056}, kManyRows, {70001, 1}, kManyLongRows};

template <class T>
struct GatherRowsKernel : testing::Test {};
using Types = testing::Types<float, Bf16, int32_t>;
TYPED_TEST_SUITE(GatherRowsKernel, Types);

/// The first, the last, and some twice; in no order.
std::vector<int32_t> make_rows(int64_t count) {
  CounterRng rng(9, 0);
  std::vector<int32_t> rows{0, kRows - 1, 3, 3};
  rows.resize(static_cast<size_t>(count));
  for (size_t i = 4; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(rng.next_below(kRows));
  return rows;
}

TYPED_TEST(GatherRowsKernel, CopiesRowsExactly) {
  for (const MatrixSize size : kSizes) {
    for (const int64_t shift : shifts_for(size)) {
      SCOPED_TRACE(size.text(shift));
      const int64_t m = size.rows, d = size.columns;
      const std::vector<int32_t> rows = make_rows(m);
      Buffer<TypeParam> x(random_values<TypeParam>(kRows * d, 1, 1000), shift_of(shift, 0)),
          out(m * d, shift_of(shift, 1));
      ASSERT_EQ(launch_gather_rows<TypeParam>({m, d, x.data(), rows.data(), out.data()}, nullptr), cudaSuccess);
      std::vector<TypeParam> truth;
      for (int64_t i = 0; i < m * d; ++i) truth.push_back(x.data()[rows[static_cast<size_t>(i / d)] * d + i % d]);
      EXPECT_TRUE(same_bits(out.values(), truth));
    }
  }
}

TEST(ScatterAddRowsKernel, AddsOneByOneInTheirOrder) {
  for (const MatrixSize size : kSizes) {
    for (const int64_t shift : shifts_for(size)) {
      SCOPED_TRACE(size.text(shift));
      const int64_t m = size.rows, d = size.columns;
      std::vector<int32_t> rows = make_rows(m);
      std::sort(rows.begin(), rows.end());
      Buffer<float> x(random_values<float>(kRows * d, 1), shift_of(shift, 0)),
          addend(random_values<float>(m * d, 2), shift_of(shift, 1));
      std::vector<float> truth = x.values();
      for (int64_t i = 0; i < m * d; ++i) {
        truth[static_cast<size_t>(rows[static_cast<size_t>(i / d)] * d + i % d)] += addend.data()[i];
      }
      ASSERT_EQ(launch_scatter_add_rows({m, d, addend.data(), rows.data(), x.data()}, nullptr), cudaSuccess);
      EXPECT_TRUE(same_bits(x.values(), truth));
    }
  }
}

TEST(ScatterAddRowsKernel, AddsEachOfVeryManyRows) {
  const int64_t m = kVeryManyRows.rows;
  std::vector<int32_t> rows(static_cast<size_t>(m));
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(i);
  Buffer<float> x(std::vector<float>(rows.size(), 1.0f)), addend(std::vector<float>(rows.size(), 2.0f));
  ASSERT_EQ(launch_scatter_add_rows({m, 1, addend.data(), rows.data(), x.data()}, nullptr), cudaSuccess);
  EXPECT_EQ(x.values(), std::vector<float>(rows.size(), 3.0f));
}

/// What the launcher's contract forbids is a race, and the emulation says so: kernels' own accesses are watched.
TEST(ScatterAddRowsKernel, RowsThatComeBackLaterRace) {
#ifndef QTUNE_SIMT_WATCHED
  GTEST_SKIP() << "AddressSanitizer's build watches other things";
#endif
  for (const int64_t d : {3, 64}) {
    Buffer<float> x(std::vector<float>(static_cast<size_t>(2 * d))),
        addend(std::vector<float>(static_cast<size_t>(3 * d)));
    const std::vector<int32_t> rows = {1, 0, 1};
    simt::FaultCapture capture;
    EXPECT_EQ(launch_scatter_add_rows({3, d, addend.data(), rows.data(), x.data()}, nullptr), cudaErrorLaunchFailure);
    ASSERT_EQ(capture.messages().size(), 1u);
    EXPECT_THAT(capture.messages()[0], testing::HasSubstr("race on global memory"));
  }
}

}  // namespace
}  // namespace qtune
