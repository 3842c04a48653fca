// configs/paper: every sweep passes the checks of a training, with stand-ins for its models and data, and has the steps
// that follow from the paper's setting.
#include <gmock/gmock.h>

#include "qtune/sweep/sweep.h"
#include "support/byte_tokenizer.h"
#include "support/training_job.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kNumSamples = 100;

/// A folder to start from as the README says: configs/paper, and in models/ and data/paper what a user downloads.
class PaperFolder {
 public:
  PaperFolder() : started_from_(fs::current_path()) {
    fs::create_directories(folder_ / "configs");
    fs::copy(fs::path(QTUNE_TEST_DATA) / "../../configs/paper", folder_ / "configs/paper", fs::copy_options::recursive);
    for (const char* model : {"LLaMA2-7B", "LLaMA3-8B", "Mistral-7B", "SmolLM2-1.7B", "Qwen3-8B"}) add_model(model);
    fs::create_directories(folder_ / "data/paper");
    nlohmann::json alpaca = nlohmann::json::array(), sharegpt = nlohmann::json::array();
    for (int64_t i = 0; i < kNumSamples; ++i) {
      const std::string question = fmt::format("What is {} and 1?", i), answer = fmt::format("It is {}.", i + 1);
      alpaca.push_back({{"source", "stand-in"}, {"instruction", question}, {"output", answer}});
      sharegpt.push_back(
          {{"conversations", {{{"from", "human"}, {"value", question}}, {{"from", "gpt"}, {"value", answer}}}}});
    }
    write_file_atomic(folder_ / "data/paper/mathinstruct.json", alpaca.dump());
    write_file_atomic(folder_ / "data/paper/wizardlm.json", sharegpt.dump());
    write_file_atomic(folder_ / "data/paper/openhermes.json", sharegpt.dump());
    fs::current_path(folder_.path());
  }
  ~PaperFolder() { fs::current_path(started_from_); }
  PaperFolder(const PaperFolder&) = delete;
  PaperFolder& operator=(const PaperFolder&) = delete;

 private:
  void add_model(const std::string& name) const {
    const fs::path model = folder_ / ("models/" + name), fixture = fs::path(QTUNE_TEST_DATA) / "models/llama_tied";
    fs::create_directories(model);
    for (const char* file : {"config.json", "model.safetensors"}) fs::copy_file(fixture / file, model / file);
    write_byte_tokenizer(model);
  }

  fs::path started_from_;
  TempDir folder_;
};

int64_t steps_of(const TrainConfig& c) {
  const auto ceil_div = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  return ceil_div(ceil_div(kNumSamples, c.per_device_train_batch_size), c.gradient_accumulation_steps) * 3;
}

class PaperConfig : public testing::TestWithParam<const char*> {};

TEST_P(PaperConfig, PassesADryRunWithThePapersSteps) {
  const PaperFolder folder;
  const std::string file = fmt::format("configs/paper/{}.yaml", GetParam());
  const Sweep sweep = load_sweep(file);
  const ProcessResult result = run_process({"sweep", "--config", file, "--dry-run"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  for (const SweepRun& run : sweep.runs) {
    const std::string line = fmt::format("{}: {} steps, 3 epochs of", run.name, steps_of(run.loaded.config));
    EXPECT_THAT(result.out, testing::HasSubstr(line));
  }
}

TEST_P(PaperConfig, HasThePapersSetting) {
  const Sweep sweep =
      load_sweep(fs::path(QTUNE_TEST_DATA) / "../../configs/paper" / (std::string(GetParam()) + ".yaml"));
  for (const SweepRun& run : sweep.runs) {
    const TrainConfig& c = run.loaded.config;
    EXPECT_EQ(c.finetuning_type, "lora");
    EXPECT_EQ(c.lora_rank, 8);
    EXPECT_EQ(c.learning_rate, 1e-4);
    EXPECT_EQ(c.lr_scheduler_type, "cosine");
    EXPECT_EQ(c.gradient_accumulation_steps, 4);
    EXPECT_EQ(c.cutoff_len, 2048);
  }
}

INSTANTIATE_TEST_SUITE_P(All, PaperConfig,
                         testing::Values("table1", "table2", "table5", "table6", "table10", "table11", "table12",
                                         "table15", "figure9"),
                         [](const auto& tested) { return std::string(tested.param); });

}  // namespace
}  // namespace qtune
