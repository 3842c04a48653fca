#include "qtune/config/print_config.h"

#include <filesystem>

#include "config/config_test_support.h"

namespace qtune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::filesystem::path kRepository = std::filesystem::path(QTUNE_TEST_DATA).parent_path().parent_path();

// A config whose every text needs care when it is written out.
TrainConfig odd_config() {
  TrainConfig config = load_more("pruning: {sample: {method: qtuning}, token: {method: qtuning}}\n").config;
  config.model_name_or_path = "a \"b\" \\ c: d #e\n\tf";
  config.output_dir = "null";
  config.template_name = "llama3";
  config.dataset_dir = "-";
  config.dataset = {"with, comma", "-", "[x]", "~", "\xc3\xa9"};
  config.learning_rate = 1.0 / 3.0 * 1e-5;
  config.max_samples = 12;
  config.columns.prompt = "true";
  return config;
}

TEST(ToYaml, ReadsBackToTheSameValues) {
  const TrainConfig config = odd_config();
  const std::string yaml = to_yaml(config);
  const TrainConfig back = load_text(yaml).config;
  EXPECT_EQ(to_yaml(back), yaml);
  EXPECT_EQ(back.model_name_or_path, config.model_name_or_path);
  EXPECT_EQ(back.output_dir, "null");
  EXPECT_EQ(back.template_name, "llama3");
  EXPECT_EQ(back.dataset_dir, "-");
  EXPECT_EQ(back.dataset, config.dataset);
  EXPECT_EQ(back.learning_rate, config.learning_rate);
  EXPECT_EQ(back.columns.prompt, "true");
}

TEST(ToYaml, OfAFileLoadsWithoutNotes) {
  const LoadedConfig loaded = load_text(to_yaml(load_more("").config));
  EXPECT_THAT(loaded.notes, IsEmpty());
}

TEST(ToYaml, HoldsEveryKey) {
  TrainConfig config = load_more("").config;
  const LoadedConfig back = load_text(to_yaml(config));
  for (const auto& [key, origin] : back.origins) EXPECT_NE(origin, "default") << key;
}

TEST(ToYaml, WithOriginsSaysWhereEachValueCameFrom) {
  const std::string yaml = to_yaml_with_origins(load_more("", {"seed=3"}));
  EXPECT_THAT(yaml, HasSubstr("seed: 3  # command line\n"));
  EXPECT_THAT(yaml, HasSubstr("bf16: false  # default\n"));
  EXPECT_THAT(yaml, HasSubstr("c.yaml:4\n"));
  EXPECT_THAT(yaml, HasSubstr("  sample:\n    method: none  # default\n"));
}

TEST(DifferingKeys, AreThoseThatChangeTheWeightsOnly) {
  const TrainConfig base = load_more("").config;
  TrainConfig other = base;
  other.logging_steps = 7;
  other.output_dir = "elsewhere";
  EXPECT_THAT(differing_training_keys(base, other), IsEmpty());
  other.pruning.token.lambda = 0.25;
  other.seed = 1;
  EXPECT_THAT(differing_training_keys(base, other), ElementsAre("seed", "pruning.token.lambda"));
}

TEST(ConfigKeys, HaveMeaningsAndDefaultsWithinTheirLimits) {
  TrainConfig defaults;
  for (const ConfigKey& key : config_keys(defaults)) {
    EXPECT_FALSE(key.meaning.empty()) << key.name;
    if (const auto* text = std::get_if<std::string*>(&key.field); text && !key.allowed.choices.empty()) {
      EXPECT_THAT(key.allowed.choices, testing::Contains(**text)) << key.name;
    }
  }
}

TEST(DocsPage, IsWhatTheDeclarationsGive) {
  // Not EXPECT_EQ: both pages in the message would bury the command.
  EXPECT_TRUE(read_file(kRepository / "docs/config.md") == config_markdown())
      << "docs/config.md is out of date ---> build/bin/qtune config --markdown > docs/config.md";
}

TEST(ExampleConfigs, LoadWithoutFaultsOrNotes) {
  int num_files = 0;
  for (const auto& file : std::filesystem::directory_iterator(kRepository / "configs")) {
    if (file.path().extension() != ".yaml") continue;
    EXPECT_THAT(load_train_config(file.path()).notes, IsEmpty()) << file.path();
    ++num_files;
  }
  EXPECT_GE(num_files, 2);
}

TEST(ExampleConfigs, NameTheModelThatTheQuickstartMakesAndSayWhereTheirDataComesFrom) {
  const std::string quickstart = read_file(kRepository / "tools/quickstart.sh");
  EXPECT_THAT(quickstart, HasSubstr("HOME_DIR=runs/quickstart\n"));
  EXPECT_THAT(quickstart, HasSubstr("MODEL=$HOME_DIR/SmolLM2-135M-Instruct\n"));
  for (const std::string name : {"quickstart.yaml", "smollm2_gsm8k_full.yaml", "smollm2_gsm8k_qtuning.yaml"}) {
    const auto file = kRepository / "configs" / name;
    const TrainConfig config = load_train_config(file).config;
    EXPECT_EQ(config.model_name_or_path, "runs/quickstart/SmolLM2-135M-Instruct") << name;
    if (config.dataset[0].starts_with("runs/quickstart/")) continue;
    EXPECT_EQ(config.dataset[0], "data/gsm8k/train.jsonl");
    EXPECT_THAT(read_file(file), HasSubstr("curl -fLo data/gsm8k/$f.jsonl --create-dirs")) << name;
  }
}

}  // namespace
}  // namespace qtune
