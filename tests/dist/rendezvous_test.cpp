// How ranks find each other: who is waited for, who is refused, whose store it is.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/dist/communicator.h"
#include "support/ranks.h"

namespace qtune {
namespace {

using testing::HasSubstr;

/// Fifty steps, in which a rank may be killed.
int sum_of_steps(const Launch& launch, int lost) {
  setup_logging();
  Communicator communicator(launch, {.timeout = std::chrono::seconds(3)});
  for (int step = 0; step < 50; ++step) {
    if (launch.rank == lost && step == 20) ::kill(::getpid(), SIGKILL);
    communicator.all_reduce_sum(at::ones({10}));
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  communicator.finish();
  return 0;
}

/// A rank of another job, which found the first job's store.
class Strangers : public testing::TestWithParam<const char*> {};

TEST_P(Strangers, AreRefusedAndDisturbNobody) {
  const std::string job = GetParam();
  Ranks ranks(3, [&](Launch launch) -> int {
    setup_logging();
    if (launch.rank == 2) {
      std::this_thread::sleep_for(std::chrono::milliseconds(700));
      launch.rank = 1;
      launch.job = job;
    }
    launch.world_size = launch.local_world_size = 2;
    try {
      Communicator communicator(launch, {.timeout = std::chrono::seconds(10)});
      for (int step = 0; step < 100; ++step) {
        communicator.all_reduce_sum(at::ones({10}));
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
      communicator.finish();
    } catch (const DistError& e) {
      std::fprintf(stderr, "%s", e.what());
      return e.exit_code();
    }
    return 0;
  });
  EXPECT_EQ(ranks.wait(0).exit_code, 0);
  EXPECT_EQ(ranks.wait(1).exit_code, 0);
  const RankEnd stranger = ranks.wait(2);
  EXPECT_EQ(stranger.exit_code, kExitDistributed);
  EXPECT_THAT(stranger.said, HasSubstr("give each job a MASTER_PORT of its own"));
}

INSTANTIATE_TEST_SUITE_P(Rendezvous, Strangers, testing::Values("", "another job"),
                         [](const auto& p) { return *p.param == 0 ? "WithoutAName" : "WithAName"; });

/// torchrun holds the store itself, over restarts too.
class AgentStore : public testing::TestWithParam<int> {};

TEST_P(AgentStore, OutlivesRanksAndServesTheNextStart) {
  const c10::intrusive_ptr<c10d::TCPStore> agent = [] {
    c10d::TCPStoreOptions options;
    options.port = 0;
    options.isServer = true;
    options.waitWorkers = false;
    return c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options);
  }();
  const int port = agent->getPort(), lost = GetParam();
  const auto start = [&](const char* job, bool fails) {
    return std::make_unique<Ranks>(3, [=](Launch launch) -> int {
      launch.master_port = port;
      launch.job = job;
      launch.agent_store = true;
      return sum_of_steps(launch, fails ? lost : -1);
    });
  };
  auto first = start("run/0", true);
  for (int rank = 0; rank < 3; ++rank) {
    const RankEnd end = first->wait(rank);
    EXPECT_EQ(end.exit_code, rank == lost ? 128 + SIGKILL : kExitDistributed) << end.said;
  }
  for (const RankEnd& end : start("run/1", false)->wait_all()) EXPECT_EQ(end.exit_code, 0) << end.said;
}

INSTANTIATE_TEST_SUITE_P(Rendezvous, AgentStore, testing::Values(0, 1, 2));

/// Before anybody watches: the store is there and answers nobody.
TEST(Rendezvous, RanksDoNotWaitForeverForAStoppedFirstOne) {
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

TEST(Rendezvous, RanksThatNeverComeAreNamed) {
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
