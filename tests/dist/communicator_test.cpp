// Collectives between real processes.
#include "qtune/dist/communicator.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "support/ranks.h"

namespace qtune {
namespace {

class Collectives : public testing::TestWithParam<int> {
 protected:
  /// Runs `body` on every rank to a regular end.
  static void on_all_ranks(int world_size, const std::function<void(Communicator&)>& body) {
    Ranks ranks(world_size, [&](const Launch& launch) {
      Communicator communicator(launch, {.timeout = std::chrono::seconds(60)});
      body(communicator);
      communicator.finish();
      return 0;
    });
    for (const RankEnd& end : ranks.wait_all()) EXPECT_EQ(end.exit_code, 0) << end.said;
  }
};

TEST_P(Collectives, SumsAreThoseOfAllRanksInBothTypes) {
  on_all_ranks(GetParam(), [](Communicator& c) {
    const double n = c.world_size();
    for (const int64_t size : {0, 1, 7, 1000, 100'003}) {
      for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kDouble, at::kLong}) {
        const at::Tensor t = at::full({size}, c.rank() + 1, dtype);
        c.all_reduce_sum(t);
        EXPECT_TRUE(at::equal(t, at::full({size}, n * (n + 1) / 2, dtype))) << size << " " << dtype;
      }
    }
  });
}

TEST_P(Collectives, EveryRankGetsTheSameBits) {
  on_all_ranks(GetParam(), [](Communicator& c) {
    at::manual_seed(static_cast<uint64_t>(c.rank()));
    const at::Tensor t = at::randn({10'001});
    c.all_reduce_sum(t);
    const at::Tensor first = t.clone();
    c.broadcast(first, 0);
    EXPECT_TRUE(at::equal(t, first));
  });
}

TEST_P(Collectives, PiecesAreScatteredAndGathered) {
  on_all_ranks(GetParam(), [](Communicator& c) {
    const int64_t n = c.world_size(), piece = 37;
    const at::Tensor all = at::arange(n * piece, at::kFloat), own = at::empty({piece}), back = at::empty({n * piece});
    c.reduce_scatter_sum(all, own);
    EXPECT_TRUE(at::equal(own, at::arange(c.rank() * piece, (c.rank() + 1) * piece, at::kFloat) * n));
    c.all_gather(own, back);
    EXPECT_TRUE(at::equal(back, at::arange(n * piece, at::kFloat) * n));
  });
}

TEST_P(Collectives, TextsOfAnyLengthAreGathered) {
  on_all_ranks(GetParam(), [](Communicator& c) {
    const auto text = [](int rank) {
      return std::string(static_cast<size_t>(rank * rank * 1000), static_cast<char>(rank));
    };
    const std::vector<std::string> texts = c.gather_bytes(text(c.rank()));
    EXPECT_EQ(static_cast<int>(texts.size()), c.world_size());
    for (int rank = 0; rank < c.world_size(); ++rank) EXPECT_EQ(texts[static_cast<size_t>(rank)], text(rank));
    for (const std::string& empty : c.gather_bytes("")) EXPECT_EQ(empty, "");
  });
}

TEST_P(Collectives, SeveralMayBeUnderWay) {
  on_all_ranks(GetParam(), [](Communicator& c) {
    std::vector<at::Tensor> tensors;
    std::vector<Communicator::Pending> pending;
    for (int i = 0; i < 50; ++i) tensors.push_back(at::full({100 + i}, i));
    for (const at::Tensor& t : tensors) pending.push_back(c.start_all_reduce_sum(t));
    for (auto& p : pending) p.wait();
    for (int i = 0; i < 50; ++i)
      EXPECT_TRUE(at::equal(tensors[static_cast<size_t>(i)], at::full({100 + i}, i * c.world_size())));
    EXPECT_EQ(c.counts().all_reduced_bytes > 0, c.world_size() > 1);
  });
}

INSTANTIATE_TEST_SUITE_P(Gloo, Collectives, testing::Values(1, 2, 3, 4));

}  // namespace
}  // namespace qtune
