#include "../../src/train/memory_plan.h"

#include <gtest/gtest.h>

#include "qtune/formats/safetensors.h"
#include "support/model_fixture.h"
#include "support/model_folder.h"
#include "support/training_job.h"

namespace qtune {
namespace {

const Arguments kTwoSteps = {"max_steps=2", "save_strategy=steps", "save_steps=2"};

TEST(MemoryPlan, CheckpointingIsNeededWhereNineTenthsOfTheMemoryDoNotHoldTheEstimate) {
  const ModelConfig model = read_model_config(ModelFixture("llama_tied").folder());
  const TrainingShape shape{.num_tokens = 2000, .num_targets = 1000};
  const int64_t total = estimate_training_memory(model, shape).total();
  EXPECT_TRUE(needs_gradient_checkpointing(model, shape, total));
  EXPECT_FALSE(needs_gradient_checkpointing(model, shape, total / 9 * 10 + 100));
}

TEST(MemoryPlan, CheckpointingSavesAllLayersButOneOfWhatTheyKeep) {
  const ModelConfig model = read_model_config(ModelFixture("llama_tied").folder());
  TrainingShape shape{.num_tokens = 2000, .num_targets = 1000};
  const MemoryEstimate kept = estimate_training_memory(model, shape);
  shape.gradient_checkpointing = true;
  const MemoryEstimate again = estimate_training_memory(model, shape);
  const int64_t inputs = shape.num_tokens * model.num_layers * model.hidden_size * 4;
  EXPECT_EQ(kept.activations - inputs, model.num_layers * (again.activations - inputs));
  EXPECT_EQ(kept.total() - again.total(), kept.activations - again.activations);
}

TEST(MemoryPlan, ARunWithCheckpointingEndsWithTheSameBits) {
  const TrainingJob job;
  job.write_data(random_samples(24, 3));
  for (const Arguments& more : {Arguments{}, kQtuningHalf, Arguments{"bf16=true"}}) {
    job.run("kept", kTwoSteps + more + Arguments{"gradient_checkpointing=false", "overwrite_output_dir=true"});
    job.run("again", kTwoSteps + more + Arguments{"gradient_checkpointing=true", "overwrite_output_dir=true"});
    EXPECT_EQ(job.weights("kept", 2), job.weights("again", 2));
  }
}

TEST(MemoryPlan, DryRunSaysThatTheEstimateIsWithCheckpointing) {
  const TrainingJob job;
  job.write_data(random_samples(24, 3));
  const std::string with = job.run("run", {"dry_run=true", "gradient_checkpointing=true"}).out;
  EXPECT_NE(with.find("(gradient checkpointing)"), std::string::npos);
  EXPECT_EQ(job.run("run", {"dry_run=true"}).out.find("(gradient checkpointing)"), std::string::npos);
}

TEST(MemoryPlan, EightBitWeightsAndOtherModelsAreCounted) {
  const ModelConfig model = read_model_config(ModelFixture("llama_tied").folder());
  TrainingShape shape{.compute_dtype = at::kBFloat16, .num_tokens = 2000, .num_targets = 1000};
  const int64_t plain = estimate_training_memory(model, shape).weights;
  shape.other_parameters = 1000;
  EXPECT_EQ(estimate_training_memory(model, shape).weights, plain + 2000);
  shape.fp8_scores = true;
  const int64_t eight_bits = estimate_training_memory(model, shape).weights - plain - 2000;
  const int64_t layers = model.num_parameters() - model.vocab_size * model.hidden_size;
  EXPECT_NEAR(static_cast<double>(eight_bits), static_cast<double>(layers), 0.2 * static_cast<double>(layers))
      << "a byte a weight, and scales";
}

/// Half of the samples are long, but train on few tokens: `longest` keeps the others.
TEST(MemoryPlan, OfTheLongestTheLargestMicroBatchIsThatOfWhatIsKept) {
  const TrainingJob job;
  std::vector<nlohmann::json> samples;
  for (int i = 0; i < 32; ++i) {
    const int length = i % 2 == 0 ? 60 : 20, trained = i % 2 == 0 ? 4 : 18;
    std::vector<int> ids(static_cast<size_t>(length), 7), labels(static_cast<size_t>(length), -100);
    std::fill(labels.end() - trained, labels.end(), 7);
    samples.push_back({{"input_ids", ids}, {"labels", labels}});
  }
  job.write_data(samples);
  const Arguments step = {"dry_run=true", "per_device_train_batch_size=4", "gradient_accumulation_steps=8"};
  const auto text = [&](const Arguments& more) { return job.run("run", step + more).out; };
  EXPECT_NE(text({"pruning.sample.method=longest", "pruning.sample.keep=0.25"})
                .find("largest micro-batch: 80 tokens, 72 trainable, of the longest samples"),
            std::string::npos);
  EXPECT_NE(text({}).find("trainable, before pruning"), std::string::npos);
}

/// Ranks of one host share its memory.
TEST(MemoryPlan, RanksOfOneHostHaveTheirShareOfItsMemory) {
  const TrainingJob job;
  job.write_data(random_samples(24, 3));
  const auto text_of = [&](const std::string& ranks) {
    const ProcessResult result =
        run_process(job.train("run", {"dry_run=true", "cutoff_len=64"}),
                    {.environment = {"RANK=0", "WORLD_SIZE=" + ranks, "LOCAL_RANK=0", "LOCAL_WORLD_SIZE=" + ranks,
                                     "MASTER_ADDR=127.0.0.1", "MASTER_PORT=1"}});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out + result.err;
  };
  EXPECT_EQ(text_of("1").find("gradient_checkpointing: on"), std::string::npos);
  EXPECT_NE(text_of("4096").find("for each of 4096 ranks here"), std::string::npos);
}

/// Large enough that LibTorch's own memory is the smaller part of what is measured.
void write_model(const std::filesystem::path& folder) {
  constexpr int64_t kVocabulary = 8192, kHidden = 384, kInner = 1024, kLayers = 4, kHeads = 6;
  write_config(folder, {{"model_type", "llama"},
                        {"vocab_size", kVocabulary},
                        {"hidden_size", kHidden},
                        {"intermediate_size", kInner},
                        {"num_hidden_layers", kLayers},
                        {"num_attention_heads", kHeads},
                        {"num_key_value_heads", kHeads},
                        {"max_position_embeddings", 2048},
                        {"rms_norm_eps", 1e-5},
                        {"rope_theta", 1e4},
                        {"tie_word_embeddings", true},
                        {"torch_dtype", "float32"},
                        {"eos_token_id", 2}});
  std::vector<TensorToWrite> tensors;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    const bool norm = shape.size() == 1;
    const auto count = static_cast<size_t>(*num_values(shape));
    tensors.push_back({.name = name, .shape = std::move(shape), .values = [=](const ByteSink& sink) {
                         CounterRng rng(1, std::hash<std::string>{}(name));
                         std::vector<float> values(count, 1.0f);
                         if (!norm)
                           for (float& v : values) v = 0.04f * static_cast<float>(rng.next_unit() - 0.5);
                         sink(std::as_bytes(std::span(values)));
                       }});
  };
  add("model.embed_tokens.weight", {kVocabulary, kHidden});
  for (int64_t i = 0; i < kLayers; ++i) {
    const std::string prefix = fmt::format("model.layers.{}.", i);
    for (const char* name : {"q", "k", "v", "o"})
      add(prefix + "self_attn." + name + "_proj.weight", {kHidden, kHidden});
    for (const char* name : {"gate", "up"}) add(prefix + "mlp." + name + "_proj.weight", {kInner, kHidden});
    add(prefix + "mlp.down_proj.weight", {kHidden, kInner});
    add(prefix + "input_layernorm.weight", {kHidden});
    add(prefix + "post_attention_layernorm.weight", {kHidden});
  }
  add("model.norm.weight", {kHidden});
  write_model_weights(folder, std::move(tensors));
}

constexpr int64_t kLength = 384, kBatch = 4;

std::vector<nlohmann::json> long_samples(int count, uint64_t seed) {
  std::vector<nlohmann::json> samples;
  for (int i = 0; i < count; ++i) {
    CounterRng rng(seed, static_cast<uint64_t>(i));
    std::vector<int32_t> ids, labels;
    for (int64_t k = 0; k < kLength; ++k) {
      ids.push_back(static_cast<int32_t>(rng.next_below(8192)));
      labels.push_back(k < kLength / 2 ? -100 : ids.back());
    }
    samples.push_back({{"input_ids", ids}, {"labels", labels}});
  }
  return samples;
}

struct PlannedRun {
  const char* name;
  TrainingShape shape;
  Arguments arguments;
};

class MemoryPeak : public testing::TestWithParam<PlannedRun> {};

/// The promise of docs/memory.md.
TEST_P(MemoryPeak, IsWithinATenthOfTheEstimate) {
  const TempDir model;
  write_model(model.path());
  const TrainingJob job;
  job.write_data(long_samples(2 * kBatch, 3));
  write_json_lines(job / "held_out.jsonl", long_samples(3 * kBatch, 4));
  job.run("run", Arguments{"model_name_or_path=" + model.path().string(), "gradient_accumulation_steps=1",
                           "max_steps=2", "eval_dataset=" + (job / "held_out.jsonl").string()} +
                     GetParam().arguments);
  int64_t peak = 0;
  for (const auto& line : job.metrics("run")) peak = std::max(peak, line.value("peak_memory_bytes", int64_t{0}));
  const auto estimate = estimate_training_memory(read_model_config(model.path()), GetParam().shape).total();
  EXPECT_NEAR(static_cast<double>(estimate) / static_cast<double>(peak), 1, 0.1) << estimate << " " << peak;
}

constexpr int64_t kTokens = kBatch * kLength, kTargets = kTokens / 2;

TrainingShape lora_shape() {
  TrainingShape shape{.num_tokens = kTokens, .num_targets = kTargets};
  LoraConfig& lora = shape.lora.emplace();
  lora.rank = 16;
  lora.dropout = 0.1;
  lora.targets = lora_targets({"all"});
  return shape;
}

INSTANTIATE_TEST_SUITE_P(
    Runs, MemoryPeak,
    testing::Values(PlannedRun{"FullFloat32", {.num_tokens = kTokens, .num_targets = kTargets}, {}},
                    PlannedRun{"FullBFloat16",
                               {.compute_dtype = at::kBFloat16, .num_tokens = kTokens, .num_targets = kTargets},
                               {"bf16=true"}},
                    PlannedRun{"GradientCheckpointing",
                               {.num_tokens = kTokens, .num_targets = kTargets, .gradient_checkpointing = true},
                               {"gradient_checkpointing=true"}},
                    PlannedRun{"LoraWithDropout",
                               lora_shape(),
                               {"finetuning_type=lora", "lora_rank=16", "lora_alpha=16", "lora_dropout=0.1"}},
                    PlannedRun{"LargerEvaluationBatches",
                               {.num_tokens = kTokens / 4,
                                .num_targets = kTargets / 4,
                                .num_eval_tokens = 3 * kTokens,
                                .num_eval_targets = 3 * kTargets},
                               {"per_device_train_batch_size=1", "per_device_eval_batch_size=12", "eval_strategy=steps",
                                "eval_steps=1"}}),
    [](const auto& run) { return run.param.name; });

}  // namespace
}  // namespace qtune
