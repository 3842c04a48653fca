// What happens when one of several processes is killed, stopped, throws, or stays away.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/dist/communicator.h"
#include "support/ranks.h"

namespace qtune {
namespace {

using testing::HasSubstr;

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
        communicator.report_failure("the disk is full", 3);
        return 3;
      }
      communicator.all_reduce_sum(at::ones({10}));
    }
  });
  for (int rank = 0; rank < 3; ++rank) {
    const RankEnd end = ranks.wait(rank);
    EXPECT_EQ(end.exit_code, rank == GetParam() ? 3 : kExitDistributed) << end.said;
    EXPECT_EQ(end.said, rank == GetParam() ? "error: the disk is full\n" : "");
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

TEST_P(Failures, ARankThatWasStoppedForAMomentIsNotBlamedLater) {
  const int lost = GetParam();
  Ranks ranks(3, [&](const Launch& launch) { return reduce_for_ever(launch, [](Communicator&, int) {}); });
  std::this_thread::sleep_for(std::chrono::milliseconds(1000));
  const int paused = (lost + 1) % 3;
  ranks.signal(paused, SIGSTOP);
  std::this_thread::sleep_for(std::chrono::milliseconds(2200));
  ranks.signal(paused, SIGCONT);
  std::this_thread::sleep_for(std::chrono::milliseconds(6000));
  ranks.signal(lost, SIGKILL);
  if (lost != 0) return expect_one_message(ranks, lost, {"rank " + std::to_string(lost) + " (host"});
  std::string said;
  for (const int rank : {1, 2}) said += ranks.wait(rank).said;
  EXPECT_THAT(said, HasSubstr("rank 0 does not answer"));
}

INSTANTIATE_TEST_SUITE_P(OfThree, Failures, testing::Values(0, 1, 2));

/// Rank 0 watches beside its work, and hurries when another rank's exchange has failed.
TEST(FailuresOfMany, AKilledRankIsNamedWhileTheFirstIsBusy) {
  Ranks ranks(4, [&](const Launch& launch) -> int {
    setup_logging();
    Communicator communicator(launch, {.timeout = std::chrono::seconds(60)});
    for (int step = 0;; ++step) {
      if (step == 10 && launch.rank == 0) std::this_thread::sleep_for(std::chrono::seconds(40));
      if (step == 10 && launch.rank == 1) ::kill(::getpid(), SIGKILL);
      communicator.all_reduce_sum(at::ones({1000}));
    }
  });
  std::string said;
  for (const int rank : {0, 2, 3}) {
    const RankEnd end = ranks.wait(rank, std::chrono::seconds(30));
    EXPECT_EQ(end.exit_code, kExitDistributed) << end.said;
    said += end.said;
  }
  EXPECT_THAT(said, HasSubstr("rank 1 (host host1"));
  EXPECT_EQ(said.find("--->"), said.rfind("--->")) << said;
}

/// As a laptop's lid or a queue's manager does.
TEST(FailuresOfAll, AJobThatIsSuspendedAsAWholeGoesOn) {
  Ranks ranks(3, [&](const Launch& launch) -> int {
    setup_logging();
    Communicator communicator(launch, {.timeout = std::chrono::seconds(20), .silence = std::chrono::seconds(3)});
    for (int step = 0; step < 300; ++step) {
      communicator.all_reduce_sum(at::ones({1000}));
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    communicator.finish();
    return 0;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(1000));
  for (int rank = 0; rank < 3; ++rank) ranks.signal(rank, SIGSTOP);
  std::this_thread::sleep_for(std::chrono::seconds(6));
  for (int rank = 0; rank < 3; ++rank) ranks.signal(rank, SIGCONT);
  for (const RankEnd& end : ranks.wait_all()) EXPECT_EQ(end.exit_code, 0) << end.said;
}

}  // namespace
}  // namespace qtune
