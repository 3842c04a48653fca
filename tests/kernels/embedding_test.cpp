#include "kernels/embedding.h"

#include <algorithm>
#include <numeric>

#include "kernel_test_support.h"
#include "simt/orders.h"

namespace qtune {
namespace {

constexpr int64_t kVocabulary = 11;

template <class T>
struct EmbedKernel : testing::Test {};
TYPED_TEST_SUITE(EmbedKernel, ComputeTypes, ComputeTypeNames);

/// The first, the last and repeated ids.
std::vector<int32_t> make_ids(int64_t count) {
  CounterRng rng(9, 0);
  std::vector<int32_t> ids{0, kVocabulary - 1, 3, 3};
  ids.resize(static_cast<size_t>(count));
  for (size_t i = 4; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(rng.next_below(kVocabulary));
  return ids;
}

TYPED_TEST(EmbedKernel, CopiesRowsExactly) {
  constexpr MatrixSize kSizes[] = {{0, 8}, {1, 1}, {5, 7}, {6, 64}, {5, 331}, {4, 2056}, kManyRows, kVeryManyRows};
  for (const MatrixSize size : kSizes) {
    for (const int64_t shift : shifts_for(size)) {
      SCOPED_TRACE(size.text(shift));
      const int64_t n = size.rows, d = size.columns;
      const std::vector<int32_t> ids = make_ids(n);
      Buffer<TypeParam> table(random_values<TypeParam>(kVocabulary * d, 1), shift_of(shift, 0));
      Buffer<float> x(n * d, shift_of(shift, 1));
      ASSERT_EQ(launch_embed<TypeParam>({n, d, table.data(), ids.data(), x.data()}, nullptr), cudaSuccess);
      std::vector<double> truth;
      for (int64_t i = 0; i < n * d; ++i)
        truth.push_back(widen(table.data()[ids[static_cast<size_t>(i / d)] * d + i % d]));
      EXPECT_EQ(widened(x.values()), truth);
    }
  }
}

/// A backward over given ids: buffers, sorted ids, and the float64 truth.
struct Backward {
  Backward(const std::vector<int32_t>& ids, int64_t d, int64_t shift)
      : n(static_cast<int64_t>(ids.size())),
        dim(d),
        dx(random_values<float>(n * d, 2), shift_of(shift, 0)),
        dtable(random_values<float>(kVocabulary * d, 3), shift_of(shift, 1)),
        workspace(embed_backward_workspace(n, d), shift_of(shift, 2)),
        truth(widened(dtable.values())),
        in_order(dtable.values()),
        order(ids.size()) {
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int32_t a, int32_t b) { return ids[static_cast<size_t>(a)] < ids[static_cast<size_t>(b)]; });
    for (const int32_t i : order) sorted_ids.push_back(ids[static_cast<size_t>(i)]);
    for (int64_t i = 0; i < n * d; ++i) {
      const auto at = static_cast<size_t>(ids[static_cast<size_t>(i / d)] * d + i % d);
      truth[at] += widen(dx.data()[i]);
      in_order[at] += dx.data()[i];
    }
  }

  cudaError_t run() {
    return launch_embed_backward({n, dim, dx.data(), sorted_ids.data(), order.data(), dtable.data(), workspace.data()},
                                 nullptr);
  }

  int64_t n, dim;
  Buffer<float> dx, dtable, workspace;
  std::vector<double> truth;    // of dtable
  std::vector<float> in_order;  // the same, added one by one in float32
  std::vector<int32_t> order, sorted_ids;
};

TEST(EmbedBackwardKernel, AddsEveryUseOfEveryId) {
  for (const int64_t n : {0, 1, 63, 64, 65, 128, 129, 1000}) {
    for (const int64_t d : {1, 7, 64, 1028}) {
      for (const int64_t shift : shifts_for({n, d})) {
        SCOPED_TRACE((MatrixSize{n, d}.text(shift)));
        Backward b(make_ids(n), d, shift);
        ASSERT_EQ(b.run(), cudaSuccess);
        EXPECT_TRUE(all_close(b.dtable.values(), b.truth));
      }
    }
  }
}

TEST(EmbedBackwardKernel, FewUsesAreAddedOneByOneInTheirOrder) {
  Backward b(make_ids(kEmbedPiece), 33, 0);
  ASSERT_EQ(b.run(), cudaSuccess);
  EXPECT_TRUE(same_bits(b.dtable.values(), b.in_order));
}

// A run that begins at the border of a piece, one that fills pieces exactly, one that ends in the first place of one.
TEST(EmbedBackwardKernel, RunsMeetTheBordersOfPiecesInAnyWay) {
  for (const int64_t first : {int64_t{1}, kEmbedPiece - 1, kEmbedPiece, kEmbedPiece + 1, 2 * kEmbedPiece}) {
    for (const int64_t second : {int64_t{1}, kEmbedPiece - 1, kEmbedPiece, 3 * kEmbedPiece + 1}) {
      SCOPED_TRACE(testing::Message() << first << ", " << second);
      std::vector<int32_t> ids(static_cast<size_t>(first), 2);
      ids.insert(ids.end(), static_cast<size_t>(second), 5);
      ids.insert(ids.begin(), {7, 7});  // sorted behind both
      Backward b(ids, 5, 0);
      ASSERT_EQ(b.run(), cudaSuccess);
      EXPECT_TRUE(all_close(b.dtable.values(), b.truth));
    }
  }
}

TEST(EmbedBackwardKernel, OneIdAHundredThousandTimes) {
  const std::vector<int32_t> ids(100'000, 4);
  Backward b(ids, 4, 0);
  ASSERT_EQ(b.run(), cudaSuccess);
  EXPECT_TRUE(all_close(b.dtable.values(), b.truth));
}

TEST(EmbedBackwardKernel, GivesTheSameBitsInAnyOrderOfThreads) {
  std::vector<std::vector<float>> runs;
  simt::for_each_order([&] {
    Backward b(make_ids(777), 65, 0);
    ASSERT_EQ(b.run(), cudaSuccess);
    runs.push_back(b.dtable.values());
    EXPECT_TRUE(same_bits(runs.back(), runs.front()));
  });
}

}  // namespace
}  // namespace qtune
