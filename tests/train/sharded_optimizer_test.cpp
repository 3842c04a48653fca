// zero_stage: 1 on several ranks: the numbers of a whole optimizer, and checkpoints that go on anywhere.
#include <gtest/gtest.h>

#include "qtune/base/file.h"
#include "qtune/formats/safetensors.h"
#include "support/rank_processes.h"

namespace qtune {
namespace {

class Sharded : public testing::TestWithParam<std::string> {
 protected:
  static std::string trained_file(const std::string& parameter) {
    return parameter == "finetuning_type=lora" ? "adapter_model.safetensors" : "model.safetensors";
  }
};

TEST_P(Sharded, OptimizerGivesTheLossesOfAWholeOne) {
  const TrainingJob job;
  job.write_data(random_samples(40, 9));
  const Arguments common = kQtuningHalf + Arguments{"per_device_train_batch_size=2",
                                                    "gradient_accumulation_steps=2",
                                                    "max_steps=8",
                                                    "save_strategy=steps",
                                                    "save_steps=4",
                                                    "ddp_timeout=30",
                                                    GetParam()};
  run_ranks(job, "whole", 3, common);
  run_ranks(job, "sharded", 3, common + Arguments{"zero_stage=1"});
  const auto whole = job.metrics("whole"), sharded = job.metrics("sharded");
  ASSERT_EQ(whole.size(), sharded.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_EQ(whole[i].at("loss"), sharded[i].at("loss"))
        << "an update of an element needs no other element: to the bit";
  }
  EXPECT_EQ(read_file(job / "sharded" / trained_file(GetParam())), read_file(job / "whole" / trained_file(GetParam())));
  // A third each, and both moments (in bfloat16 the masters too) of every element in exactly one.
  EXPECT_EQ(job.files("sharded/checkpoint-8", "optimizer").size(), 3U);
  uint64_t bytes = 0, largest = 0;
  for (const std::string& name : job.files("sharded/checkpoint-8", "optimizer")) {
    uint64_t own = 0;
    const SafetensorsFile file(job / "sharded/checkpoint-8" / name);
    for (const TensorView& view : file.tensors()) own += view.bytes.size();
    bytes += own;
    largest = std::max(largest, own);
  }
  uint64_t expected = 0;
  const SafetensorsFile file(job / "whole/checkpoint-8/optimizer.safetensors");
  for (const TensorView& view : file.tensors()) expected += view.bytes.size();
  if (GetParam() == "bf16=true") {
    const SafetensorsFile weights(job / "whole/checkpoint-8/model.safetensors");
    for (const TensorView& view : weights.tensors()) expected += view.shape.size() > 1 ? view.bytes.size() : 0;
  }
  EXPECT_EQ(bytes, expected);
  EXPECT_LE(largest, expected / 3 + expected / 100) << "norms have no master beside them";
}

TEST_P(Sharded, CheckpointsGoOnWithAnyNumberOfRanksAndWithoutShards) {
  const TrainingJob job;
  job.write_data(random_samples(40, 9));
  const Arguments common = Arguments{"per_device_train_batch_size=2",
                                     "gradient_accumulation_steps=2",
                                     "max_steps=8",
                                     "save_strategy=steps",
                                     "save_steps=4",
                                     "ddp_timeout=30",
                                     GetParam()};
  run_ranks(job, "sharded", 3, common + Arguments{"zero_stage=1"});
  const std::string from = "resume_from_checkpoint=" + (job / "sharded/checkpoint-4").string();
  run_ranks(job, "same", 3, common + Arguments{"zero_stage=1", from});
  run_ranks(job, "two", 2, common + Arguments{"zero_stage=1", from});
  run_ranks(job, "unsharded", 3, common + Arguments{from});
  job.run("alone", common + Arguments{from});
  const std::string back = "resume_from_checkpoint=" + (job / "unsharded/checkpoint-8").string();
  run_ranks(job, "again", 2, common + Arguments{"zero_stage=1", "max_steps=10", back});
  const auto expected = job.metrics("sharded");
  // Other ranks pack other samples together: bfloat16 rounds to other neighbours then.
  const double tolerance = GetParam() == "bf16=true" ? 2e-3 : 2e-5;
  for (const char* run : {"same", "two", "unsharded", "alone"}) {
    const auto found = job.metrics(run);
    ASSERT_EQ(found.size(), 4U) << run;
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_NEAR(found[i].at("loss").get<double>() / expected[i + 4].at("loss").get<double>(), 1, tolerance) << run;
    }
  }
  EXPECT_EQ(job.in_checkpoint("same", 8, trained_file(GetParam())),
            job.in_checkpoint("sharded", 8, trained_file(GetParam())));
  EXPECT_EQ(job.metrics("again").size(), 2U);
}

INSTANTIATE_TEST_SUITE_P(Distributed, Sharded,
                         testing::Values("finetuning_type=full", "finetuning_type=lora", "bf16=true"),
                         [](const auto& p) { return p.param.substr(p.param.find('=') + 1); });

}  // namespace
}  // namespace qtune
