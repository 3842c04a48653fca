// Collectives between real processes, and what happens when one of them goes.
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

using testing::HasSubstr;

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

/// What ranks 0, 1 and 2 do without end in the tests of failures.
int reduce_for_ever(const Launch& launch, const std::function<void(Communicator&, int)>& at_step) {
  setup_logging();
  Communicator communicator(launch, {.timeout = std::chrono::seconds(3)});
  communicator.set_phase("train");
  for (int step = 0;; ++step) {
    at_step(communicator, step);
    communicator.all_reduce_sum(at::ones({1000}));
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

/// All ranks but `lost` end with code 5, and all that they say is one message with these parts.
void expect_one_message(Ranks& ranks, int lost, const std::vector<std::string>& parts) {
  std::string said;
  for (int rank = 0; rank < 3; ++rank) {
    if (rank == lost) continue;
    const RankEnd end = ranks.wait(rank, std::chrono::seconds(3 + 10 + 5));
    EXPECT_EQ(end.exit_code, kExitDistributed) << rank << ": " << end.said;
    said += end.said;
  }
  for (const std::string& part : parts) EXPECT_THAT(said, HasSubstr(part));
  EXPECT_EQ(said.find("--->"), said.rfind("--->")) << said;
}

class Failures : public testing::TestWithParam<int> {};

TEST_P(Failures, AKilledRankIsNamedOnceAndEndsTheOthers) {
  Ranks ranks(3, [&](const Launch& launch) {
    return reduce_for_ever(launch, [&](Communicator& c, int step) {
      if (c.rank() == GetParam() && step == 20) ::kill(::getpid(), SIGKILL);
    });
  });
  EXPECT_EQ(ranks.wait(GetParam()).exit_code, 128 + SIGKILL);
  if (GetParam() == 0) {
    // Nobody to agree with: each of the others may speak, unless a launcher ends them.
    std::string said;
    for (const int rank : {1, 2}) {
      const RankEnd end = ranks.wait(rank);
      EXPECT_EQ(end.exit_code, kExitDistributed);
      said += end.said;
    }
    EXPECT_THAT(said, HasSubstr("rank 0"));
    return;
  }
  expect_one_message(ranks, GetParam(),
                     {"rank " + std::to_string(GetParam()), "host" + std::to_string(GetParam()), "phase train"});
}

TEST_P(Failures, AStoppedRankIsNamedAndDoesNotGoOnAlone) {
  const int lost = GetParam();
  Ranks ranks(3, [&](const Launch& launch) { return reduce_for_ever(launch, [](Communicator&, int) {}); });
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  ranks.signal(lost, SIGSTOP);
  if (lost == 0) {
    for (const int rank : {1, 2}) EXPECT_EQ(ranks.wait(rank).exit_code, kExitDistributed);
  } else {
    expect_one_message(ranks, lost, {"rank " + std::to_string(lost), "host" + std::to_string(lost), "phase train"});
  }
  ranks.signal(lost, SIGCONT);
  const RankEnd woken = ranks.wait(lost);
  EXPECT_EQ(woken.exit_code, kExitDistributed);
  EXPECT_THAT(woken.said, testing::Not(HasSubstr("error"))) << "the others have said it";
}

TEST_P(Failures, ARankThatThrowsSaysWhyAndTheOthersSayNothing) {
  Ranks ranks(3, [&](const Launch& launch) -> int {
    setup_logging();
    Communicator communicator(launch, {.timeout = std::chrono::seconds(5)});
    for (int step = 0;; ++step) {
      if (launch.rank == GetParam() && step == 10) {
        if (communicator.report_failure("the disk is full")) std::fprintf(stderr, "the disk is full\n");
        return 3;
      }
      communicator.all_reduce_sum(at::ones({10}));
    }
  });
  for (int rank = 0; rank < 3; ++rank) {
    const RankEnd end = ranks.wait(rank);
    EXPECT_EQ(end.exit_code, rank == GetParam() ? 3 : kExitDistributed) << end.said;
    if (GetParam() == 0) continue;  // with rank 0 the store goes, and who speaks can't be agreed on
    EXPECT_EQ(end.said, rank == GetParam() ? "the disk is full\n" : "");
  }
}

TEST_P(Failures, ARankThatStaysAwayFromACollectiveIsNamed) {
  Ranks ranks(3, [&](const Launch& launch) {
    return reduce_for_ever(launch, [&](Communicator& c, int step) {
      if (c.rank() != GetParam() || step != 10) return;
      c.set_phase("save");
      std::this_thread::sleep_for(std::chrono::hours(1));
    });
  });
  std::string said;
  for (int rank = 0; rank < 3; ++rank) {
    const RankEnd end = ranks.wait(rank, std::chrono::seconds(18));
    EXPECT_EQ(end.exit_code, kExitDistributed) << end.said;
    said += end.said;
  }
  EXPECT_THAT(said, HasSubstr("rank " + std::to_string(GetParam()) + " (host host" + std::to_string(GetParam())));
  EXPECT_THAT(said, HasSubstr("phase save"));
  EXPECT_EQ(said.find("--->"), said.rfind("--->")) << said;
}

TEST_P(Failures, ARankThatEndsBeforeTheOthersIsNoRegularEnd) {
  Ranks ranks(3, [&](const Launch& launch) {
    return reduce_for_ever(launch, [&](Communicator& c, int step) {
      if (c.rank() == GetParam() && step == 10) ::_exit(0);
    });
  });
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(ranks.wait(rank).exit_code, rank == GetParam() ? 0 : kExitDistributed);
  }
}

INSTANTIATE_TEST_SUITE_P(OfThree, Failures, testing::Values(0, 1, 2));

/// Before anybody watches: the store is there and answers nobody.
TEST(Communicator, RanksDoNotWaitForeverForAStoppedFirstOne) {
  Ranks ranks(3, [&](const Launch& launch) -> int {
    setup_logging();
    if (launch.rank == 2) std::this_thread::sleep_for(std::chrono::seconds(1));
    Communicator communicator(launch, {.timeout = std::chrono::seconds(2)});
    return 0;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  ranks.signal(0, SIGSTOP);
  for (const int rank : {1, 2}) EXPECT_EQ(ranks.wait(rank, std::chrono::seconds(12)).exit_code, kExitDistributed);
}

TEST(Communicator, RanksThatNeverComeAreNamed) {
  Ranks ranks(3, [&](const Launch& launch) {
    setup_logging();
    if (launch.rank == 2) return 0;
    try {
      Communicator communicator(launch, {.timeout = std::chrono::seconds(2)});
    } catch (const DistError& e) {
      std::fprintf(stderr, "%s", e.what());
      return e.exit_code();
    }
    return 0;
  });
  const RankEnd zero = ranks.wait(0), one = ranks.wait(1);
  EXPECT_EQ(zero.exit_code, kExitDistributed);
  EXPECT_EQ(one.exit_code, kExitDistributed);
  EXPECT_THAT(zero.said + one.said, HasSubstr("expected 3 ranks, found none of 2 within 2 s"));
}

}  // namespace
}  // namespace qtune
