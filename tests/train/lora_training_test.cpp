// LoRA through the program: PEFT's losses, what a run writes, and going on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qtune/config/train_config.h"
#include "qtune/formats/lora_adapter.h"
#include "support/fixture_samples.h"
#include "support/model_fixture.h"
#include "support/tolerance.h"
#include "support/training_job.h"

namespace qtune {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

const Arguments kLora = {"finetuning_type=lora", "lora_rank=4", "learning_rate=5e-3"};

at::Tensor tensor_of(const TensorView& view) {
  const at::Tensor t = at::empty(view.shape, at::kFloat);
  std::memcpy(t.data_ptr(), view.bytes.data(), view.bytes.size());
  return t;
}

class FixtureLora : public testing::TestWithParam<std::string> {};

TEST_P(FixtureLora, SixStepsGiveTheLossesAndTheAdapterOfPeft) {
  const ModelFixture fixture(GetParam());
  TrainingJob job(GetParam());
  job.write_data(samples_of(fixture));
  const std::string start = (fixture.folder() / "adapter_init").string();
  job.run("out", {"finetuning_type=lora", "adapter_name_or_path=" + start, "per_device_train_batch_size=3",
                  "gradient_accumulation_steps=1", "max_steps=6", "learning_rate=1e-2", "lr_scheduler_type=constant",
                  "weight_decay=0", "max_grad_norm=0"});
  const at::Tensor losses = fixture.tensor("lora_losses");
  const auto metrics = job.metrics("out");
  ASSERT_EQ(metrics.size(), 6U);
  for (int64_t i = 0; i < 6; ++i) {
    const double loss = losses[i].item<double>();
    EXPECT_NEAR(metrics[static_cast<size_t>(i)].at("loss"), loss, 5e-5 * loss) << "step " << i + 1;
  }
  const LoraAdapter found(job / "out"), expected(fixture.folder() / "adapter_trained");
  EXPECT_EQ(found.config().alpha, 8);
  ASSERT_EQ(found.modules().size(), expected.modules().size());
  for (const auto& [name, module] : expected.modules()) {
    const LoraAdapter::Module& ours = found.modules().at(name);
    EXPECT_LT(relative_norm(tensor_of(*ours.a), tensor_of(*module.a)), 1e-3) << name;
    EXPECT_LT(relative_norm(tensor_of(*ours.b), tensor_of(*module.b)), 1e-3) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, FixtureLora, kFixtureModels, [](const auto& family) { return family.param; });

/// Lines without what differs from run to run: times and memory.
std::vector<Json> comparable(std::vector<Json> lines) {
  for (Json& line : lines) {
    for (const char* key : {"seconds", "eval_seconds", "peak_memory_bytes"}) line.erase(key);
  }
  return lines;
}

class LoraRun : public testing::Test {
 protected:
  LoraRun() { job_.write_data(random_samples(40, 11)); }

  std::string adapter_of(const std::string& run) const { return read_file(job_ / run / kLoraWeightsFile); }

  TrainingJob job_;
};

TEST_F(LoraRun, KilledAndStartedAgainItEndsWithTheSameBits) {
  for (const std::string bf16 : {"bf16=false", "bf16=true"}) {
    const Arguments overrides =
        kLora + kQtuningHalf + Arguments{bf16,           "lora_dropout=0.2",  "max_steps=24", "save_strategy=steps",
                                         "save_steps=3", "save_total_limit=2"};
    const std::string whole = "whole-" + bf16, killed = "killed-" + bf16;
    job_.run(whole, overrides);
    for (const int64_t lines : {4, 11, 20}) {
      QtuneProcess process(job_.train(killed, overrides));
      ASSERT_TRUE(process.wait_until([&] { return job_.steps_logged(killed) >= lines; }));
      process.send(SIGKILL);
      process.wait();
    }
    const ProcessResult last = job_.run(killed, overrides);
    EXPECT_THAT(last.err, HasSubstr("resuming from"));
    EXPECT_TRUE(adapter_of(killed) == adapter_of(whole));
    EXPECT_TRUE(job_.in_checkpoint(killed, 24, "optimizer.safetensors") ==
                job_.in_checkpoint(whole, 24, "optimizer.safetensors"));
    EXPECT_EQ(comparable(job_.metrics(killed)), comparable(job_.metrics(whole)));
    EXPECT_EQ(job_.decisions(killed), job_.decisions(whole));
    EXPECT_LT(job_.metrics(whole).back().at("loss"), job_.metrics(whole).front().at("loss"));
  }
}

TEST_F(LoraRun, WritesTheAdapterAloneAndIsNotWrittenOver) {
  const Arguments overrides = kLora + Arguments{"max_steps=2", "save_strategy=steps"};
  job_.run("out", overrides);
  EXPECT_THAT(job_.run("out", overrides + Arguments{"max_steps=3"}).err,
              HasSubstr("LoRA adapter (" + (job_ / "out/checkpoint-2").string() + ")"));
  EXPECT_THAT(job_.files("out/checkpoint-2"),
              ElementsAre("adapter_config.json", "adapter_model.safetensors", "config.yaml", "manifest.json",
                          "optimizer.safetensors", "trainer_state.json"));
  EXPECT_FALSE(std::filesystem::exists(job_ / "out/model.safetensors"));
  const Json config = Json::parse(read_file(job_ / "out" / kLoraConfigFile));
  EXPECT_EQ(config.at("base_model_name_or_path"), job_.model().string());
  EXPECT_EQ(config.at("lora_alpha"), 8) << "2 x rank";
  EXPECT_EQ(config.at("target_modules").size(), 7U);
  EXPECT_TRUE(adapter_of("out") == adapter_of("out/checkpoint-3"));
  job_.run("no-checkpoint", kLora + Arguments{"max_steps=2"});
  expect_one_error(run_process(job_.train("no-checkpoint", kLora + Arguments{"max_steps=2"})), 2,
                   "already holds a run");
}

TEST_F(LoraRun, IsNotResumedByAnotherKindOrScale) {
  const Arguments steps = {"max_steps=2", "save_strategy=steps"};
  job_.run("lora", kLora + steps);
  expect_one_error(run_process(job_.train("lora", steps)), 4, "expected a checkpoint of finetuning_type: full");
  expect_one_error(run_process(job_.train("lora", kLora + steps + Arguments{"lora_alpha=32"})), 4, "scale 8");
  expect_one_error(run_process(job_.train("lora", kLora + steps + Arguments{"lora_rank=2"})), 4,
                   "lora_rank: the checkpoint has 4, this run 2");
  job_.run("full", steps);
  expect_one_error(run_process(job_.train("full", kLora + steps)), 4, "expected a checkpoint of finetuning_type: lora");
}

TEST_F(LoraRun, GoesOnWithAnAdapterAndItsOwnRank) {
  job_.run("first", kLora + Arguments{"max_steps=4", "lora_target=q_proj,v_proj", "lora_alpha=5"});
  const std::string first = "adapter_name_or_path=" + (job_ / "first").string();
  const ProcessResult result = job_.run("second", {"finetuning_type=lora", first, "max_steps=2", "lora_rank=16",
                                                   "eval_on_start=true", "eval_dataset=" + job_.data()});
  EXPECT_THAT(result.err, HasSubstr("lora_rank: no effect: the adapter of adapter_name_or_path has its own"));
  EXPECT_THAT(result.err, HasSubstr("rank 4, alpha 5"));
  const LoraAdapter second(job_ / "second");
  EXPECT_EQ(second.config().rank, 4);
  EXPECT_THAT(second.config().targets, ElementsAre("q_proj", "v_proj"));
  EXPECT_FALSE(adapter_of("first") == adapter_of("second"));
  expect_one_error(run_process(job_.train("third", {first, "max_steps=2"})), 2, "needs finetuning_type: lora");
}

TEST_F(LoraRun, PlainTwinsTrainTheSame) {
  const Arguments overrides = kLora + Arguments{"max_steps=5", "lora_dropout=0.1"};
  job_.run("fused", overrides);
  job_.run("plain", overrides + Arguments{"ops.reference=true"});
  for (size_t i = 0; i < 5; ++i) {
    const double expected = job_.metrics("plain")[i].at("loss");
    EXPECT_NEAR(job_.metrics("fused")[i].at("loss"), expected, 1e-4 * expected);
  }
}

TEST_F(LoraRun, ScoreWithAnAdapterEqualsScoreOfTheMergedModel) {
  job_.run("out", kLora + Arguments{"max_steps=6"});
  const std::string model = job_.model().string(), adapter = (job_ / "out").string();
  const auto scores = [&](const Arguments& arguments, const std::string& name) {
    const std::string file = (job_ / name).string();
    const ProcessResult result = run_process(Arguments{"score", "--data", job_.data(), "--out", file} + arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return read_json_lines(file);
  };
  const std::string merged = (job_ / "merged").string();
  EXPECT_EQ(run_process({"convert", model, merged, "--adapter", adapter}).exit_code, 0);
  const auto adapted = scores({"--model", model, "--adapter", adapter}, "a.jsonl");
  const auto expected = scores({"--model", merged}, "m.jsonl"), plain = scores({"--model", model}, "p.jsonl");
  double change = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(adapted[i].at("mean_entropy"), expected[i].at("mean_entropy"), 1e-4);
    EXPECT_NEAR(std::log(adapted[i].at("ppl").get<double>()), std::log(expected[i].at("ppl").get<double>()), 1e-4);
    change += std::abs(plain[i].at("mean_entropy").get<double>() - expected[i].at("mean_entropy").get<double>());
  }
  EXPECT_GT(change, 0.1);
  EXPECT_EQ(run_process({"generate", "--model", model, "--adapter", "/no/such", "--raw", "--prompt", "x"}).exit_code,
            4);
}

TEST_F(LoraRun, DryRunTellsTheAdapterAndFindsItsFaults) {
  const std::string out = job_.run("run", kLora + Arguments{"dry_run=true"}).out;
  EXPECT_THAT(out, HasSubstr("rank 4, alpha 8"));
  const ProcessResult result =
      run_process(job_.train("run", {"finetuning_type=lora", "dry_run=true", "adapter_name_or_path=/no/such"}));
  expect_one_error(result, 4, "adapter_config.json");
  const std::string inside = (job_ / "run/checkpoint-3").string();
  expect_one_error(run_process(job_.train("run", {"finetuning_type=lora", "adapter_name_or_path=" + inside})), 2,
                   "lies among its checkpoints");
}

TEST(LoraTarget, ConfigAndAdapterFilesKnowTheSameModules) {
  TrainConfig config;
  for (const ConfigKey& key : config_keys(config)) {
    if (key.name != "lora_target") continue;
    std::vector<std::string> names(std::begin(kLoraModules), std::end(kLoraModules));
    names.insert(names.begin(), "all");
    EXPECT_EQ(key.allowed.choices, names);
  }
}

/// Whoever loads the folder must find the last training's result: transformers takes an adapter before weights.
TEST(OverwrittenRun, OfTheOtherKindLeavesNoneOfItsFiles) {
  const TrainingJob job;
  job.write_data(random_samples(8, 3));
  const auto train = [&](const char* kind) {
    job.run("run", {"max_steps=1", "overwrite_output_dir=true", std::string("finetuning_type=") + kind});
  };
  const auto has = [&](const char* file) { return std::filesystem::exists(job / "run" / file); };
  train("lora");
  train("full");
  EXPECT_TRUE(has("model.safetensors") && has("config.json"));
  EXPECT_FALSE(has("adapter_model.safetensors") || has("adapter_config.json"));
  train("lora");
  EXPECT_TRUE(has("adapter_model.safetensors") && has("adapter_config.json"));
  EXPECT_FALSE(has("model.safetensors") || has("config.json") || has("generation_config.json"));
}

}  // namespace
}  // namespace qtune
