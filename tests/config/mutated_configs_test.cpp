// A valid configuration with one thing wrong at a time: the fault names the key, its line and what to do, and nothing
// else is reported.
#include "config/config_test_support.h"

namespace qtune {
namespace {

constexpr const char* kValid =
    "model_name_or_path: model\n"                 // 1
    "finetuning_type: full\n"                     // 2
    "dataset: a.jsonl,b.jsonl\n"                  // 3
    "template: chatml\n"                          // 4
    "cutoff_len: 512\n"                           // 5
    "mix_strategy: interleave_under\n"            // 6
    "interleave_probs: 0.5,0.5\n"                 // 7
    "eval_dataset: c.jsonl\n"                     // 8
    "eval_strategy: steps\n"                      // 9
    "eval_steps: 50\n"                            // 10
    "output_dir: out\n"                           // 11
    "save_strategy: steps\n"                      // 12
    "save_total_limit: 2\n"                       // 13
    "per_device_train_batch_size: 8\n"            // 14
    "learning_rate: 2.0e-5\n"                     // 15
    "lr_scheduler_type: cosine\n"                 // 16
    "warmup_ratio: 0.1\n"                         // 17
    "num_train_epochs: 3.0\n"                     // 18
    "adam_beta1: 0.9\n"                           // 19
    "bf16: true\n"                                // 20
    "seed: 42\n"                                  // 21
    "mask_history: false\n"                       // 22
    "pruning:\n"                                  // 23
    "  sample: {method: qtuning, keep: 0.125}\n"  // 24
    "  token:\n"                                  // 25
    "    method: qtuning\n"                       // 26
    "    keep: 0.5\n"                             // 27
    "    lambda: 0.5\n"                           // 28
    "  scope: global\n";                          // 29

struct Mutation {
  const char* what;     // the text taken out
  const char* instead;  // and what stands there
  const char* fault;
};

/// kValid with each mutation in turn; `what` = "" adds lines at the end, from line 30 on.
void expect_faults(const std::vector<Mutation>& mutations) {
  ASSERT_EQ(faults_of(kValid), "");
  for (const Mutation& m : mutations) {
    std::string yaml = kValid;
    const size_t at = *m.what == '\0' ? yaml.size() : yaml.find(m.what);
    ASSERT_NE(at, std::string::npos) << m.what;
    yaml.replace(at, std::string(m.what).size(), m.instead);
    EXPECT_EQ(faults_of(yaml), m.fault) << m.instead;
  }
}

TEST(MutatedConfig, MisspeltKeysAreNamedWithTheRightOne) {
  expect_faults({
      {"model_name_or_path", "model_nam_or_path",
       "c.yaml:1: model_nam_or_path: unknown key; did you mean model_name_or_path?"},
      {"finetuning_type", "finetunig_type", "c.yaml:2: finetunig_type: unknown key; did you mean finetuning_type?"},
      {"dataset:", "datset:", "c.yaml:3: datset: unknown key; did you mean dataset?"},
      {"template", "tempalte", "c.yaml:4: tempalte: unknown key; did you mean template?"},
      {"cutoff_len", "cutoff_length", "c.yaml:5: cutoff_length: unknown key; did you mean cutoff_len?"},
      {"mix_strategy", "mix_stragety", "c.yaml:6: mix_stragety: unknown key; did you mean mix_strategy?"},
      {"eval_dataset", "evaldataset", "c.yaml:8: evaldataset: unknown key; did you mean eval_dataset?"},
      {"eval_steps", "eval_step", "c.yaml:10: eval_step: unknown key; did you mean eval_steps?"},
      {"output_dir", "ouput_dir", "c.yaml:11: ouput_dir: unknown key; did you mean output_dir?"},
      {"save_total_limit", "save_totl_limit",
       "c.yaml:13: save_totl_limit: unknown key; did you mean save_total_limit?"},
      {"learning_rate", "learing_rate", "c.yaml:15: learing_rate: unknown key; did you mean learning_rate?"},
      {"warmup_ratio", "warmup_rate", "c.yaml:17: warmup_rate: unknown key; did you mean warmup_ratio?"},
      {"adam_beta1", "adam_beta_1", "c.yaml:19: adam_beta_1: unknown key; did you mean adam_beta1?"},
      {"{method", "{metod", "c.yaml:24: pruning.sample.metod: unknown key; did you mean pruning.sample.method?"},
      {"    keep", "    kep", "c.yaml:27: pruning.token.kep: unknown key; did you mean pruning.token.keep?"},
      {"lambda", "lamda", "c.yaml:28: pruning.token.lamda: unknown key; did you mean pruning.token.lambda?"},
      {"  scope", "  scop", "c.yaml:29: pruning.scop: unknown key; did you mean pruning.scope?"},
      {"", "supplement_tokens: keep\n",
       "c.yaml:30: supplement_tokens: unknown key; did you mean pruning.token.supplement_tokens?"},
      {"", "zzz_of_my_own: 1\n", "c.yaml:30: zzz_of_my_own: unknown key ---> `qtune config` lists the keys"},
  });
}

TEST(MutatedConfig, WrongTypesAndRangesSayWhatIsExpected) {
  expect_faults({
      {"512", "long", "c.yaml:5: cutoff_len: expected whole number, 1 to 2147483647, found 'long'"},
      {"512", "0", "c.yaml:5: cutoff_len: expected whole number, 1 to 2147483647, found '0'"},
      {"512", "1e30", "c.yaml:5: cutoff_len: expected whole number, 1 to 2147483647, found '1e30'"},
      {"0.5,0.5", "1.5,-0.5",
       "c.yaml:7: interleave_probs: expected list of numbers, above 0, at most 1, found '1.5,-0.5'"},
      {"eval_steps: 50", "eval_steps: 0.1",
       "c.yaml:10: eval_steps: expected whole number, at least 1 or null, found '0.1' ---> write a number of steps; a "
       "share of the run is not read here"},
      {"save_total_limit: 2", "save_total_limit: 0",
       "c.yaml:13: save_total_limit: expected whole number, at least 1 or null, found '0'"},
      {"batch_size: 8", "batch_size: -1",
       "c.yaml:14: per_device_train_batch_size: expected whole number, 1 to 1048576, found '-1'"},
      {"2.0e-5", "[1, 2]", "c.yaml:15: learning_rate: expected number, at least 0, found '[1, 2]'"},
      {"2.0e-5", "-2.0e-5", "c.yaml:15: learning_rate: expected number, at least 0, found '-2.0e-5'"},
      {"2.0e-5", ".nan", "c.yaml:15: learning_rate: expected number, at least 0, found '.nan'"},
      {"2.0e-5", ".inf", "c.yaml:15: learning_rate: expected number, at least 0, found '.inf'"},
      {"ratio: 0.1", "ratio: 10", "c.yaml:17: warmup_ratio: expected number, 0 to 1, found '10'"},
      {"beta1: 0.9", "beta1: 1.0", "c.yaml:19: adam_beta1: expected number, at least 0, below 1, found '1.0'"},
      {"bf16: true", "bf16: auto", "c.yaml:20: bf16: expected true or false, found 'auto'"},
      {"seed: 42", "seed: 4.2", "c.yaml:21: seed: expected whole number, at least 0, found '4.2'"},
      {"seed: 42", "seed:", "c.yaml:21: seed: expected whole number, at least 0, found nothing (null)"},
      {"0.125", "12.5", "c.yaml:24: pruning.sample.keep: expected number, above 0, at most 1, found '12.5'"},
      {"    keep: 0.5", "    keep: 0", "c.yaml:27: pruning.token.keep: expected number, above 0, at most 1, found '0'"},
      {"lambda: 0.5", "lambda: 2", "c.yaml:28: pruning.token.lambda: expected number, 0 to 1, found '2'"},
      {"{method: qtuning, keep: 0.125}", "qtuning",
       "c.yaml:24: pruning.sample: expected a section with keys of its own, found 'qtuning'"},
  });
}

TEST(MutatedConfig, UnknownValuesListTheKnownOnes) {
  expect_faults({
      {": full", ": qlora", "c.yaml:2: finetuning_type: expected one of full, lora, found 'qlora'"},
      {"interleave_under", "interleave",
       "c.yaml:6: mix_strategy: expected one of concat, interleave_under, interleave_over, interleave_once, found "
       "'interleave'"},
      {"eval_strategy: steps", "eval_strategy: always",
       "c.yaml:9: eval_strategy: expected one of no, steps, epoch, found 'always'"},
      {"save_strategy: steps", "save_strategy: best",
       "c.yaml:12: save_strategy: expected one of no, steps, epoch, found 'best'"},
      {"global", "globl", "c.yaml:29: pruning.scope: expected one of global, micro, found 'globl'"},
  });
}

TEST(MutatedConfig, Contradictions) {
  expect_faults({
      {"out\n", "./model/\n",
       "c.yaml:11: output_dir: expected a folder of the run's own, found that of model_name_or_path ---> give another "
       "path"},
      {"interleave_under", "concat",
       "c.yaml:7: interleave_probs: needs mix_strategy: interleave_under, interleave_over or interleave_once"},
      {"0.5,0.5", "0.5,0.6", "c.yaml:7: interleave_probs: expected shares whose sum is 1, found a sum of 1.1"},
      {"0.5,0.5", "[0.2, 0.3, 0.5]", "c.yaml:7: interleave_probs: expected one share for each of 2 datasets, found 3"},
      {"eval_dataset: c.jsonl\neval_strategy: steps", "# none\n#",
       "c.yaml:10: eval_steps: needs held-out data, found none ---> set eval_dataset or val_size"},
      {"eval_dataset: c.jsonl", "# none",
       "c.yaml:9: eval_strategy: needs held-out data, found none ---> set eval_dataset or val_size"},
      {"", "val_size: 0.1\n", "c.yaml:30: val_size: can't be given together with eval_dataset ---> set one of them"},
      {"mask_history: false", "mask_history: true\ntrain_on_prompt: true",
       "c.yaml:22: mask_history: can't be true together with train_on_prompt ---> set one of them"},
      {"{method: qtuning", "{method: random",
       "c.yaml:26: pruning.token.method: qtuning tokens need pruning.sample.method: qtuning, found random"},
      {"", "warmup_steps: 11\nmax_steps: 10\n", "c.yaml:30: warmup_steps: expected at most max_steps (10), found 11"},
      {"num_train_epochs: 3.0", "num_train_epochs: 0",
       "c.yaml:18: num_train_epochs: expected a positive num_train_epochs or max_steps, found 0 and -1"},
      {"cosine", "cosine_with_min_lr",
       "c.yaml:16: lr_scheduler_type: cosine_with_min_lr needs one of lr_scheduler_kwargs.min_lr and "
       "lr_scheduler_kwargs.min_lr_rate, found none"},
      {"cosine", "cosine_with_min_lr\nlr_scheduler_kwargs: {min_lr: 1}",
       "c.yaml:17: lr_scheduler_kwargs.min_lr: expected at most learning_rate (2e-05), found 1"},
      {"cosine", "polynomial\nlr_scheduler_kwargs: {lr_end: 1}",
       "c.yaml:17: lr_scheduler_kwargs.lr_end: expected below learning_rate (2e-05), found 1"},
      {"cosine", "warmup_stable_decay",
       "c.yaml:16: lr_scheduler_type: warmup_stable_decay needs lr_scheduler_kwargs.num_decay_steps, found none"},
      {"cosine", "cosine_with_restarts\nlr_scheduler_kwargs: {num_cycles: 1.5}",
       "c.yaml:17: lr_scheduler_kwargs.num_cycles: expected a whole number, at least 1, with cosine_with_restarts, "
       "found 1.5"},
      {"cosine", "linear\nlr_scheduler_kwargs: {power: 2}",
       "c.yaml:17: lr_scheduler_kwargs.power: lr_scheduler_type linear takes none of these ---> remove it"},
      {"cosine", "cosine\nlr_scheduler_kwargs: {power: 2}",
       "c.yaml:17: lr_scheduler_kwargs.power: expected one of num_cycles with lr_scheduler_type cosine ---> remove it"},
      {"chatml", "qwen3\nenable_thinking: false",
       "c.yaml:5: enable_thinking: expected true with template qwen3, found false ---> template: qwen3_nothink writes "
       "no thoughts"},
      {"", "dataset_dir: ONLINE\n",
       "c.yaml:30: dataset_dir: expected a folder, found 'ONLINE' ---> nothing is downloaded; give the folder that "
       "holds the data"},
  });
}

TEST(MutatedConfig, PruningOptionsWithoutAMethod) {
  EXPECT_EQ(faults_of_more("pruning: {scope: micro}\n"),
            "c.yaml:5: pruning.scope: has no effect without a method ---> add pruning.sample.method: qtuning, or "
            "remove it");
  EXPECT_EQ(faults_of_more("pruning: {scope: micro, sample: {method: none}}\n"), "");
}

TEST(MutatedConfig, KeysGivenTwice) {
  expect_faults({
      {"", "seed: 42\n", "c.yaml:30: seed: given twice, first in line 21 ---> keep one of them"},
      {"", "pruning: null\n", "c.yaml:30: pruning: given twice, first in line 23 ---> keep one of them"},
      {"", "pruning.scope: micro\n", "c.yaml:30: pruning.scope: given twice, first in line 29 ---> keep one of them"},
      {"", "evaluation_strategy: steps\n",
       "c.yaml:30: evaluation_strategy: given beside eval_strategy (c.yaml:9) ---> keep one of them"},
  });
}

TEST(MutatedConfig, OverridesOfTheCommandLine) {
  struct Override {
    std::vector<std::string> given;
    const char* fault;
  };
  const Override cases[] = {
      {{"lerning_rate=1"}, "command line: lerning_rate: unknown key; did you mean learning_rate?"},
      {{"pruning.token.mod=drop"}, "command line: pruning.token.mod: unknown key; did you mean pruning.token.mode?"},
      {{"pruning.sample.keep=2"}, "command line: pruning.sample.keep: expected number, above 0, at most 1, found '2'"},
      {{"max_steps=5", "warmup_steps=6"}, "command line: warmup_steps: expected at most max_steps (5), found 6"},
      {{"interleave_probs=[0.9, 0.2]"},
       "command line: interleave_probs: expected shares whose sum is 1, found a sum of 1.1"},
      {{"quantization_bit=8"},
       "command line: quantization_bit: not supported, found '8' ---> remove it; bf16: true halves the memory of "
       "activations"},
      {{"max_seq_length=4"}, "command line: max_seq_length: another program's key ---> use cutoff_len"},
      {{"learning_rate=null"}, "command line: learning_rate: expected number, at least 0, found nothing (null)"},
      {{"lr_scheduler_kwargs={\"min_lr\": "},
       "command line: not valid YAML: end of map flow not found (in 'lr_scheduler_kwargs={\"min_lr\": ')"},
  };
  for (const Override& c : cases) EXPECT_EQ(faults_of(kValid, c.given), c.fault);
}

}  // namespace
}  // namespace qtune
