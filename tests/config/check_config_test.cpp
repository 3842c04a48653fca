#include "../../src/config/check_config.h"

#include <algorithm>

#include "../../src/config/foreign_keys.h"
#include "config/config_test_support.h"

namespace qtune {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct FaultCase {
  const char* yaml;  // behind the required keys
  const char* fault;
};

TEST(CheckConfig, RulesOverSeveralKeys) {
  const FaultCase cases[] = {
      {"eval_strategy: steps\n",
       "c.yaml:5: eval_strategy: needs held-out data, found none ---> set eval_dataset or val_size"},
      {"eval_on_start: true\n",
       "c.yaml:5: eval_on_start: needs held-out data, found none ---> set eval_dataset or val_size"},
      {"eval_dataset: a\nval_size: 3\n",
       "c.yaml:6: val_size: can't be given together with eval_dataset ---> set one of them"},
      {"val_size: 3.5\n", "c.yaml:5: val_size: expected a share below 1 or a whole number of samples, found 3.5"},
      {"pruning: {token: {method: qtuning}}\n",
       "c.yaml:5: pruning.token.method: qtuning tokens need pruning.sample.method: qtuning, found none"},
      {"pruning: {token: {method: qtuning}, sample: {method: random}}\n",
       "c.yaml:5: pruning.token.method: qtuning tokens need pruning.sample.method: qtuning, found random"},
      {"pruning: {sample: {keep: 0.5}}\n",
       "c.yaml:5: pruning.sample.keep: has no effect without a method ---> add pruning.sample.method: qtuning, or none "
       "to prune nothing"},
      {"adapter_name_or_path: a\n",
       "c.yaml:5: adapter_name_or_path: needs finetuning_type: lora ---> to train all weights, merge the adapter "
       "first: "
       "qtune convert --adapter"},
      {"lora_target: [all, q_proj]\n", "c.yaml:5: lora_target: expected all, or names of modules, found both"},
      {"lora_target: qproj\n",
       "c.yaml:5: lora_target: expected one of all, q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, "
       "found "
       "'qproj'"},
      {"warmup_steps: 11\nmax_steps: 10\n", "c.yaml:5: warmup_steps: expected at most max_steps (10), found 11"},
      {"num_train_epochs: 0\n",
       "c.yaml:5: num_train_epochs: expected a positive num_train_epochs or max_steps, found 0 and -1"},
      {"mask_history: true\ntrain_on_prompt: true\n",
       "c.yaml:5: mask_history: can't be true together with train_on_prompt ---> set one of them"},
      {"interleave_probs: 0.5,0.5\n",
       "c.yaml:5: interleave_probs: needs mix_strategy: interleave_under, interleave_over or interleave_once\n"
       "c.yaml:5: interleave_probs: expected one share for each of 1 datasets, found 2"},
  };
  for (const FaultCase& c : cases) EXPECT_EQ(faults_of_more(c.yaml), c.fault) << c.yaml;
}

TEST(CheckConfig, RulesAboutAKeyWithAFaultAreLeftOut) {
  EXPECT_EQ(faults_of_more("max_steps: x\nnum_train_epochs: 0\n"),
            "c.yaml:5: max_steps: expected whole number, -1 to 1000000000000, found 'x'");
  EXPECT_THAT(faults_of("model_name_or_path: [a]\n"), testing::Not(HasSubstr("model_name_or_path: expected a value")));
}

TEST(CheckConfig, WarmupMayBeAsLongAsTheRun) {
  EXPECT_EQ(faults_of_more("lr_scheduler_type: cosine\nwarmup_steps: 10\nmax_steps: 10\n"), "");
}

TEST(CheckConfig, SamplesOfQtuningGoWithAnyTokenMethod) {
  EXPECT_EQ(faults_of_more("pruning: {sample: {method: qtuning}, token: {method: random}}\n"), "");
  EXPECT_EQ(faults_of_more("pruning: {sample: {method: qtuning}}\n"), "");
}

TEST(CheckConfig, ScoresOnEightBitsGoWithBFloat16OnAGpu) {
  EXPECT_EQ(faults_of_more("bf16: true\npruning: {sample: {method: qtuning}, score_dtype: fp8}\n"), "");
  for (const std::string other : {"bf16: false", "bf16: true\nuse_cpu: true", "bf16: true\nops: {reference: true}"}) {
    EXPECT_THAT(faults_of_more(other + "\npruning: {sample: {method: qtuning}, score_dtype: fp8}\n"),
                HasSubstr("fp8 goes with training in bfloat16 on a GPU"))
        << other;
  }
}

TEST(CheckConfig, PruningSwitchedOffByNameMayKeepItsOptions) {
  EXPECT_EQ(faults_of_more("pruning: {sample: {method: qtuning, keep: 0.25}}\n", {"pruning.sample.method=none"}), "");
}

TEST(CheckConfig, MethodsThatReadSomethingElseNeedItsPath) {
  EXPECT_EQ(faults_of_more("pruning: {sample: {method: score_file}}\n"),
            "c.yaml:5: pruning.sample.method: score_file needs the file with the ratings ---> set "
            "pruning.sample.score_file");
  EXPECT_EQ(faults_of_more("pruning: {sample: {method: score_file, score_file: r.jsonl}}\n"), "");
  for (const std::string method : {"rho1", "tokencleaning"}) {
    EXPECT_EQ(faults_of_more("pruning: {token: {method: " + method + "}}\n"),
              "c.yaml:5: pruning.token.method: " + method +
                  " needs a model to compare with ---> set pruning.token.reference_model");
    EXPECT_EQ(faults_of_more("pruning: {token: {method: " + method + ", reference_model: m2}}\n"), "");
  }
}

TEST(CheckConfig, QuadrantsAreNamedAndSomeAreKept) {
  EXPECT_EQ(faults_of_more("pruning: {sample: {method: qtuning, kept_quadrants: [Q1, Q3]}}\n"), "");
  EXPECT_EQ(faults_of_more("pruning: {sample: {method: qtuning}, token: {method: qtuning, pruned_quadrants: []}}\n"),
            "");
  EXPECT_THAT(faults_of_more("pruning: {sample: {method: qtuning, kept_quadrants: []}}\n"),
              HasSubstr("expected at least one of Q1, Q2, Q3, Q4, found none"));
  EXPECT_THAT(faults_of_more("pruning: {sample: {method: qtuning, kept_quadrants: [Q5]}}\n"), HasSubstr("Q5"));
}

TEST(CheckConfig, WhatThisVersionLacksIsRefusedByName) {
  const FaultCase cases[] = {
      {"pruning: {sample: {method: qtuning}, score_every: 2}\n",
       "c.yaml:5: pruning.score_every: expected 1, found 2: not available in this version"},
      {"lr_scheduler_type: reduce_lr_on_plateau\n",
       "c.yaml:5: lr_scheduler_type: expected linear, cosine, constant, constant_with_warmup, cosine_with_restarts, "
       "polynomial, inverse_sqrt, cosine_with_min_lr, cosine_warmup_with_min_lr, warmup_stable_decay, found "
       "reduce_lr_on_plateau: not available in this version"},
  };
  for (const FaultCase& c : cases) EXPECT_EQ(faults_of_more(c.yaml), c.fault) << c.yaml;
}

TEST(CheckConfig, EveryRuleOfMissingPartsNamesAKeyAndLeavesItAValue) {
  TrainConfig defaults;
  const std::vector<ConfigKey> keys = config_keys(defaults);
  for (const NotYetRule& rule : not_yet_available()) {
    const auto key = std::find_if(keys.begin(), keys.end(), [&](const ConfigKey& k) { return k.name == rule.key; });
    ASSERT_NE(key, keys.end()) << rule.key;
    EXPECT_FALSE(rule.available.empty()) << rule.key;
    for (const std::string& value : rule.available) {
      const auto& choices = key->allowed.choices;
      if (value == "null" || choices.empty()) continue;
      EXPECT_THAT(choices, Contains(value)) << rule.key;
    }
  }
}

TEST(Notes, NameOptionsWithoutEffect) {
  const std::vector<std::string> notes =
      load_more("max_steps: 5\nnum_train_epochs: 2\nlora_rank: 16\nval_size: 4\neval_steps: 3\n").notes;
  EXPECT_THAT(notes, ElementsAre(HasSubstr("c.yaml:7: lora_rank: no effect: finetuning_type is full"),
                                 HasSubstr("c.yaml:6: num_train_epochs: no effect: max_steps wins"),
                                 HasSubstr("c.yaml:9: eval_steps: no effect: eval_strategy is no"),
                                 HasSubstr("c.yaml:8: val_size: no effect: eval_strategy is no")));
  EXPECT_THAT(load_more("").notes, IsEmpty());
}

TEST(Notes, NameWhatAUserWouldWantToKnow) {
  const std::pair<const char*, const char*> cases[] = {
      {"eval_dataset: data.jsonl\neval_strategy: epoch\n",
       "c.yaml:5: eval_dataset: 'data.jsonl' is in dataset too: the loss on it is not a held-out loss"},
      {"save_only_model: true\nresume_from_checkpoint: true\n",
       "c.yaml:5: save_only_model: true: this run's own checkpoints can't be resumed from"},
      {"overwrite_output_dir: true\nresume_from_checkpoint: true\n",
       "c.yaml:5: overwrite_output_dir: no effect: resume_from_checkpoint is true"},
      {"save_strategy: no\nsave_total_limit: 3\n", "c.yaml:6: save_total_limit: no effect: save_strategy is no"},
      {"mix_strategy: interleave_over\n", "c.yaml:5: mix_strategy: no effect: there is one dataset"},
      {"template: llama3\nenable_thinking: false\n",
       "c.yaml:6: enable_thinking: no effect: template llama3 has no thoughts"},
      {"pruning: {sample: {method: random}, token: {method: random, lambda: 0.1}}\n",
       "c.yaml:5: pruning.token.lambda: no effect: pruning.token.method is random"},
      {"pruning: {sample: {method: infobatch, keep: 0.5}}\n",
       "c.yaml:5: pruning.sample.keep: no effect: infobatch drops by pruning.sample.prune_probability"},
      {"pruning: {token: {method: ppl, layer: 3}}\n",
       "c.yaml:5: pruning.token.layer: no effect: pruning.token.method is ppl"},
      {"learning_rate: 0\n", "c.yaml:5: learning_rate: 0: nothing will be learnt"},
      {"report_to: [tensorboard, wandb]\n",
       "c.yaml:5: report_to: no effect: 'wandb' is not written to; metrics.jsonl has every step"},
  };
  for (const auto& [yaml, note] : cases) EXPECT_THAT(load_more(yaml).notes, ElementsAre(HasSubstr(note)));
  EXPECT_THAT(load_text("model_name_or_path: m\nfinetuning_type: full\ndataset: a,b,a\noutput_dir: o\n").notes,
              ElementsAre(HasSubstr("c.yaml:3: dataset: 'a' is listed twice: its samples are taken twice")));
}

TEST(ForeignKeyTable, HasEachNameOnceAndNoneOfQtunesOwn) {
  TrainConfig defaults;
  std::vector<std::string> own, foreign;
  for (const ConfigKey& key : config_keys(defaults)) own.push_back(key.name);
  for (const ForeignKey& key : foreign_keys()) {
    EXPECT_THAT(own, testing::Not(Contains(key.name)));
    EXPECT_THAT(foreign, testing::Not(Contains(key.name)));
    foreign.push_back(key.name);
  }
}

TEST(ForeignKeyTable, PointsToKeysThatExist) {
  TrainConfig defaults;
  std::vector<std::string> known = {"columns"};
  for (const ConfigKey& key : config_keys(defaults)) known.push_back(key.name);
  for (const ForeignKey& key : foreign_keys()) {
    if (key.kind == ForeignKind::kHarmless) known.push_back(key.name);
  }
  for (const ForeignKey& key : foreign_keys()) {
    if (key.kind == ForeignKind::kOldName || key.kind == ForeignKind::kOtherSpelling) {
      EXPECT_THAT(known, Contains(key.text)) << key.name;
    }
  }
}

TEST(ForeignKeyTable, KeysOfOtherMeaningSayWhatDoesTheSame) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"assistant_only_loss: true", "remove it: only answers train unless train_on_prompt: true"},
      {"completion_only_loss: true", "remove it: only answers train unless train_on_prompt: true"},
      {"evals_per_epoch: 2", "use eval_strategy: epoch, or eval_strategy: steps with"},
      {"saves_per_epoch: 2", "use save_strategy: epoch, or save_strategy: steps with"},
      {"cosine_min_lr_ratio: 0.1", "as lr_scheduler_kwargs.min_lr_rate"},
      {"max_steps_per_epoch: 9", "use max_steps, which counts those of all epochs"},
  };
  for (const auto& [yaml, hint] : cases) {
    const std::string key = yaml.substr(0, yaml.find(':'));
    EXPECT_THAT(faults_of_more(yaml + "\n"), HasSubstr(key + ": another program's key ---> ")) << yaml;
    EXPECT_THAT(faults_of_more(yaml + "\n"), HasSubstr(hint)) << yaml;
  }
}

TEST(ForeignKeyTable, WhatItProposesForAMinimumIsRead) {
  EXPECT_EQ(faults_of_more("lr_scheduler_type: cosine_with_min_lr\nlr_scheduler_kwargs: {min_lr_rate: 0.1}\n"), "");
}

TEST(ForeignKeyTable, NoPatternHidesOneOfQtunesKeys) {
  TrainConfig defaults;
  for (const ConfigKey& key : config_keys(defaults)) EXPECT_EQ(find_foreign_key(key.name), nullptr) << key.name;
}

}  // namespace
}  // namespace qtune
