// Collectives between real processes.
#include "qtune/dist/communicator.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "support/gpu_of_rank.h"
#include "support/ranks.h"

namespace qtune {
namespace {

struct Setting {
  int world_size;
  bool gpu;  // NCCL, for tensors on GPUs; else Gloo
};

constexpr int kTooFewGpus = 77;

class Collectives : public testing::TestWithParam<Setting> {
 protected:
  /// Runs `body` on every rank to a regular end, with the device of its tensors.
  static void on_all_ranks(const Setting& setting, const std::function<void(Communicator&, at::Device)>& body) {
    Ranks ranks(setting.world_size, [&](const Launch& launch) {
      at::Device device = at::kCPU;
      if (setting.gpu) {
        const auto gpu = gpu_of_rank(launch);
        if (!gpu) return kTooFewGpus;
        device = *gpu;
      }
      Communicator communicator(launch,
                                {.timeout = std::chrono::seconds(60), .device = device, .connect_alone = setting.gpu});
      body(communicator, device);
      communicator.finish();
      return 0;
    });
    for (const RankEnd& end : ranks.wait_all()) {
      if (end.exit_code == kTooFewGpus) GTEST_SKIP() << "needs " << setting.world_size << " GPUs";
      EXPECT_EQ(end.exit_code, 0) << end.said;
    }
  }
};

TEST_P(Collectives, SumsAreThoseOfAllRanksInBothTypes) {
  on_all_ranks(GetParam(), [](Communicator& c, at::Device device) {
    const double n = c.world_size();
    for (const int64_t size : {0, 1, 7, 1000, 100'003}) {
      for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kDouble, at::kLong}) {
        const at::Tensor t = at::full({size}, c.rank() + 1, dtype).to(device);
        c.all_reduce_sum(t);
        EXPECT_TRUE(at::equal(t.cpu(), at::full({size}, n * (n + 1) / 2, dtype))) << size << " " << dtype;
      }
    }
  });
}

TEST_P(Collectives, EveryRankGetsTheSameBits) {
  on_all_ranks(GetParam(), [](Communicator& c, at::Device device) {
    at::manual_seed(static_cast<uint64_t>(c.rank()));
    const at::Tensor t = at::randn({10'001}).to(device);
    c.all_reduce_sum(t);
    const at::Tensor first = t.clone();
    c.broadcast(first, 0);
    EXPECT_TRUE(at::equal(t, first));
  });
}

TEST_P(Collectives, PiecesAreScatteredAndGathered) {
  on_all_ranks(GetParam(), [](Communicator& c, at::Device device) {
    const int64_t n = c.world_size(), piece = 37;
    const at::Tensor all = at::arange(n * piece, at::kFloat).to(device);
    const at::Tensor own = at::empty({piece}, all.options()), back = at::empty_like(all);
    c.reduce_scatter_sum(all, own);
    EXPECT_TRUE(at::equal(own.cpu(), at::arange(c.rank() * piece, (c.rank() + 1) * piece, at::kFloat) * n));
    c.all_gather(own, back);
    EXPECT_TRUE(at::equal(back.cpu(), at::arange(n * piece, at::kFloat) * n));
  });
}

TEST_P(Collectives, TextsOfAnyLengthAreGathered) {
  on_all_ranks(GetParam(), [](Communicator& c, at::Device) {
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
  on_all_ranks(GetParam(), [](Communicator& c, at::Device device) {
    std::vector<at::Tensor> tensors;
    std::vector<Communicator::Pending> pending;
    for (int i = 0; i < 50; ++i) tensors.push_back(at::full({100 + i}, i).to(device));
    for (const at::Tensor& t : tensors) pending.push_back(c.start_all_reduce_sum(t));
    for (auto& p : pending) p.wait();
    for (int i = 0; i < 50; ++i)
      EXPECT_TRUE(at::equal(tensors[static_cast<size_t>(i)].cpu(), at::full({100 + i}, i * c.world_size())));
    EXPECT_EQ(c.counts().all_reduced_bytes > 0, c.world_size() > 1 || device.is_cuda());
  });
}

std::string name_of(const testing::TestParamInfo<Setting>& info) {
  return "Ranks" + std::to_string(info.param.world_size);
}

INSTANTIATE_TEST_SUITE_P(Gloo, Collectives,
                         testing::Values(Setting{1, false}, Setting{2, false}, Setting{3, false}, Setting{4, false}),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Nccl, Collectives, testing::Values(Setting{1, true}, Setting{2, true}, Setting{4, true}),
                         name_of);

}  // namespace
}  // namespace qtune
