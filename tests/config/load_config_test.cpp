#include "config/config_test_support.h"

namespace qtune {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

TEST(LoadConfig, KeysThatAreNotGivenHaveTheirDefaults) {
  const TrainConfig config = load_more("").config;
  EXPECT_EQ(config.learning_rate, 5e-5);
  EXPECT_EQ(config.num_train_epochs, 3.0);
  EXPECT_EQ(config.per_device_train_batch_size, 8);
  EXPECT_EQ(config.cutoff_len, 2048);
  EXPECT_EQ(config.lora_rank, 8);
  EXPECT_EQ(config.pruning.sample.method, "none");
  EXPECT_EQ(config.pruning.token.method, "none");
}

TEST(LoadConfig, NamingOneMethodLeavesTheOtherAtNone) {
  const TrainConfig config = load_more("pruning: {sample: {method: qtuning}}\n").config;
  EXPECT_EQ(config.pruning.sample.method, "qtuning");
  EXPECT_EQ(config.pruning.sample.keep, 0.125);
  EXPECT_EQ(config.pruning.token.method, "none");
}

TEST(LoadConfig, NumbersMayBeWrittenWithAnExponentAndWholeOnesWithAZeroFraction) {
  const TrainConfig config = load_more("learning_rate: 1e-4\nmax_steps: 32.0\nsave_steps: 1e3\nseed: '7'\n").config;
  EXPECT_EQ(config.learning_rate, 1e-4);
  EXPECT_EQ(config.max_steps, 32);
  EXPECT_EQ(config.save_steps, 1000);
  EXPECT_EQ(config.seed, 7);
}

TEST(LoadConfig, ListsAreYamlListsOrTextWithCommas) {
  EXPECT_THAT(load_more("eval_dataset: a, b ,c\n").config.eval_dataset, ElementsAre("a", "b", "c"));
  EXPECT_THAT(load_more("eval_dataset: ['a,b', c]\n").config.eval_dataset, ElementsAre("a,b", "c"));
  EXPECT_THAT(load_more("eval_dataset:\n- a\n- b\n").config.eval_dataset, ElementsAre("a", "b"));
}

TEST(LoadConfig, NullClearsOptionalKeysAndSectionsOnly) {
  const TrainConfig config = load_more("max_samples: null\nlora_alpha: ~\ntemplate:\npruning:\n").config;
  EXPECT_EQ(config.max_samples, std::nullopt);
  EXPECT_EQ(config.template_name, std::nullopt);
  EXPECT_EQ(faults_of_more("learning_rate:\n"),
            "c.yaml:5: learning_rate: expected number, at least 0, found nothing (null)");
}

TEST(LoadConfig, NullIsNothingForTextsAndListsThatAreEmptyByThemselves) {
  const TrainConfig config = load_more("tokenized_path: null\neval_dataset: null\nreport_to: null\n").config;
  EXPECT_EQ(config.tokenized_path, "");
  EXPECT_THAT(config.eval_dataset, testing::IsEmpty());
  EXPECT_THAT(config.report_to, ElementsAre("none"));
  EXPECT_EQ(faults_of_more("dataset_dir: null\n"), "c.yaml:5: dataset_dir: expected text, found nothing (null)");
}

TEST(LoadConfig, BareNoIsAChoiceEvenWhenAToolWroteItAsFalse) {
  EXPECT_EQ(load_more("save_strategy: no\n").config.save_strategy, "no");
  EXPECT_EQ(load_more("save_strategy: False\n").config.save_strategy, "no");
}

TEST(LoadConfig, TruthIsReadInYamlsSpellings) {
  EXPECT_TRUE(load_more("bf16: True\n").config.bf16);
  EXPECT_TRUE(load_more("bf16: on\n").config.bf16);
  EXPECT_EQ(faults_of_more("bf16: tRue\n"), "c.yaml:5: bf16: expected true or false, found 'tRue'");
}

TEST(LoadConfig, ResumeIsAFolderOrATruth) {
  EXPECT_EQ(load_more("resume_from_checkpoint: True\n").config.resume_from_checkpoint, "true");
  EXPECT_EQ(load_more("resume_from_checkpoint: out/checkpoint-3\n").config.resume_from_checkpoint, "out/checkpoint-3");
  EXPECT_EQ(load_more("resume_from_checkpoint: null\n").config.resume_from_checkpoint, std::nullopt);
}

TEST(LoadConfig, ColumnsAreNamedInline) {
  const TrainConfig config = load_more("columns: {prompt: question, response: answer}\n").config;
  EXPECT_EQ(config.columns.prompt, "question");
  EXPECT_EQ(named_columns(config.columns),
            (std::map<std::string, std::string>{{"prompt", "question"}, {"response", "answer"}}));
}

TEST(LoadConfig, DottedKeysNameTheSameValuesAsSections) {
  EXPECT_EQ(load_more("ops.reference: true\n").config.ops.reference, true);
  EXPECT_EQ(faults_of_more("ops: {reference: true}\nops.reference: false\n"),
            "c.yaml:6: ops.reference: given twice, first in line 5 ---> keep one of them");
}

TEST(Overrides, WinOverTheFileAndOverEarlierOnes) {
  const LoadedConfig loaded = load_more("learning_rate: 1\nseed: 5\n", {"learning_rate=2", "learning_rate=3"});
  EXPECT_EQ(loaded.config.learning_rate, 3);
  EXPECT_EQ(loaded.config.seed, 5);
}

TEST(Overrides, MakeAConfigurationWithoutAFile) {
  const LoadedConfig loaded = load_train_config(
      std::nullopt, {"model_name_or_path=m", "finetuning_type=full", "dataset=a.jsonl,b.jsonl", "output_dir=o"});
  EXPECT_THAT(loaded.config.dataset, ElementsAre("a.jsonl", "b.jsonl"));
}

TEST(Overrides, TakeListsAndSectionsInBrackets) {
  const TrainConfig config =
      load_more("pruning: {scope: micro}\n",
                {"dataset=[a, 'b c']", "pruning={sample: {method: qtuning}}", "columns={prompt: q}"})
          .config;
  EXPECT_THAT(config.dataset, ElementsAre("a", "b c"));
  EXPECT_EQ(config.pruning.sample.method, "qtuning");
  EXPECT_EQ(config.pruning.scope, "micro");
  EXPECT_EQ(config.columns.prompt, "q");
}

TEST(Overrides, ReadAPlainValueAsItStands) {
  EXPECT_EQ(load_more("", {"output_dir=a: b #c"}).config.output_dir, "a: b #c");
}

TEST(Overrides, NullTakesAWholeSectionBack) {
  const LoadedConfig loaded =
      load_more("pruning:\n  sample: {method: qtuning}\n  token: {method: qtuning}\n", {"pruning=null"});
  EXPECT_EQ(loaded.config.pruning.sample.method, "none");
  EXPECT_EQ(loaded.origins.at("pruning.token.method"), "default");
}

TEST(Overrides, AreFaultsOfTheCommandLine) {
  EXPECT_EQ(faults_of_more("", {"seed"}), "command line: expected key=value, found 'seed'");
  EXPECT_EQ(faults_of_more("", {"seed=x"}), "command line: seed: expected whole number, at least 0, found 'x'");
  EXPECT_THAT(faults_of_more("", {"dataset=[a"}), HasSubstr("command line: not valid YAML"));
}

TEST(Overrides, ReplaceAKeyThatTheFileGivesByItsOldName) {
  EXPECT_EQ(load_more("evaluation_strategy: steps\nval_size: 4\n", {"eval_strategy=no"}).config.eval_strategy, "no");
  EXPECT_EQ(load_more("eval_strategy: steps\nval_size: 4\n", {"evaluation_strategy=no"}).config.eval_strategy, "no");
}

TEST(Origins, NameFileAndLineOrCommandLineOrDefault) {
  const LoadedConfig loaded = load_more("\nops:\n  reference: true\n", {"seed=1"});
  EXPECT_THAT(loaded.origins.at("ops.reference"), EndsWith("c.yaml:7"));
  EXPECT_EQ(loaded.origins.at("seed"), "command line");
  EXPECT_EQ(loaded.origins.at("bf16"), "default");
}

TEST(Faults, AreAllReportedAtOnceWithTheirLines) {
  EXPECT_EQ(faults_of("pruning:\n  sample: {method: qtuning, kep: 0.2}\nlearning_rate: fast\nbf17: true\n"),
            "c.yaml:2: pruning.sample.kep: unknown key; did you mean pruning.sample.keep?\n"
            "c.yaml:3: learning_rate: expected number, at least 0, found 'fast'\n"
            "c.yaml:4: bf17: unknown key; did you mean bf16?\n"
            "model_name_or_path: expected a value, found none ---> this key is required\n"
            "dataset: expected a value, found none ---> this key is required\n"
            "output_dir: expected a value, found none ---> this key is required");
}

TEST(Faults, SuggestTheFullNameOfAWordInTheWrongSection) {
  EXPECT_EQ(faults_of_more("keep_end_of_turn: false\n"),
            "c.yaml:5: keep_end_of_turn: unknown key; did you mean pruning.token.keep_end_of_turn?");
}

TEST(Faults, OfRangesAndChoicesNameWhatIsAllowed) {
  EXPECT_EQ(faults_of_more("pruning: {sample: {method: qtuning, keep: 0}}\n"),
            "c.yaml:5: pruning.sample.keep: expected number, above 0, at most 1, found '0'");
  EXPECT_EQ(faults_of_more("adam_beta1: 1\n"), "c.yaml:5: adam_beta1: expected number, at least 0, below 1, found '1'");
  EXPECT_EQ(faults_of_more("on_bad_data: ignore\n"),
            "c.yaml:5: on_bad_data: expected one of error, skip, found 'ignore'");
  EXPECT_EQ(faults_of_more("save_total_limit: 0\n"),
            "c.yaml:5: save_total_limit: expected whole number, at least 1 or null, found '0'");
}

TEST(Faults, OfTypesShowTheValueFound) {
  EXPECT_EQ(faults_of_more("max_steps: 1.5\n"),
            "c.yaml:5: max_steps: expected whole number, -1 to 1000000000000, found '1.5'");
  EXPECT_EQ(faults_of_more("seed: [1, 2]\n"), "c.yaml:5: seed: expected whole number, at least 0, found '[1, 2]'");
  EXPECT_EQ(faults_of_more("learning_rate: inf\n"),
            "c.yaml:5: learning_rate: expected number, at least 0, found 'inf'");
  EXPECT_EQ(faults_of_more("eval_dataset: [{path: a}]\n"),
            "c.yaml:5: eval_dataset: expected list, found a list of lists or maps");
  EXPECT_EQ(faults_of_more("pruning: qtuning\n"),
            "c.yaml:5: pruning: expected a section with keys of its own, found 'qtuning'");
  EXPECT_EQ(faults_of_more("seed: 99999999999999999999\n"),
            "c.yaml:5: seed: expected whole number, at least 0, found '99999999999999999999'");
}

TEST(Faults, OfAMissingFileAndOfAFolder) {
  const TempDir folder;
  for (const auto& path : {folder / "none.yaml", folder.path()}) {
    try {
      load_train_config(path);
      FAIL();
    } catch (const ConfigError& e) {
      EXPECT_THAT(e.what(), HasSubstr("expected a configuration file"));
      EXPECT_EQ(e.exit_code(), kExitUsage);
    }
  }
}

TEST(ForeignKeys, ALlamaFactoryFileRunsAsItIs) {
  const LoadedConfig loaded = load_text(R"(### model
model_name_or_path: some/model
trust_remote_code: true
### method
stage: sft
do_train: true
finetuning_type: full
deepspeed: null
### dataset
dataset: one,two
template: llama3
cutoff_len: 1024
overwrite_cache: true
preprocessing_num_workers: 16
dataloader_num_workers: 4
### output
output_dir: saves/full
logging_steps: 10
plot_loss: true
overwrite_output_dir: true
save_only_model: false
report_to: wandb
### train
per_device_train_batch_size: 1
learning_rate: 1.0e-4
lr_scheduler_type: cosine
warmup_steps: 0.1
bf16: true
fp16: false
packing: false
ddp_timeout: 180000000
resume_from_checkpoint: null
### eval
val_size: 0.1
evaluation_strategy: steps
eval_steps: 500
)");
  EXPECT_EQ(loaded.config.eval_strategy, "steps");
  EXPECT_EQ(loaded.config.warmup_ratio, 0.1);
  EXPECT_EQ(loaded.config.warmup_steps, 0);
  EXPECT_THAT(loaded.notes, Contains(HasSubstr("c.yaml:15: dataloader_num_workers: accepted, no effect")));
  EXPECT_TRUE(loaded.config.overwrite_cache);
  EXPECT_EQ(loaded.config.preprocessing_num_workers, 16);
  EXPECT_THAT(loaded.notes, Contains(HasSubstr("report_to: no effect: 'wandb'")));
  EXPECT_THAT(loaded.notes, Contains(HasSubstr("packing: no effect")));
  EXPECT_THAT(loaded.notes, Contains(HasSubstr("evaluation_strategy: read as eval_strategy")));
  EXPECT_THAT(loaded.notes, Not(Contains(HasSubstr("deepspeed"))));
}

TEST(ForeignKeys, UnsupportedOnesAreErrorsThatNameTheNearestThing) {
  EXPECT_EQ(faults_of_more("quantization_bit: 4\nstage: dpo\nfp16: true\n"),
            "c.yaml:5: quantization_bit: not supported, found '4' ---> remove it; bf16: true halves the memory of "
            "activations\n"
            "c.yaml:6: stage: not supported, found 'dpo' ---> use stage: sft; qtune does supervised fine-tuning only\n"
            "c.yaml:7: fp16: not supported, found 'true' ---> use bf16: true");
}

TEST(ForeignKeys, OtherProgramsSpellingsAreNamedWithQtunesKey) {
  EXPECT_EQ(faults_of_more("max_length: 10\nsequence_len: 10\nmicro_batch_size: 1\nlora_r: 8\noptimizer:\n  lr: 1\n"),
            "c.yaml:5: max_length: another program's key ---> use cutoff_len\n"
            "c.yaml:6: sequence_len: another program's key ---> use cutoff_len\n"
            "c.yaml:7: micro_batch_size: another program's key ---> use per_device_train_batch_size\n"
            "c.yaml:8: lora_r: another program's key ---> use lora_rank\n"
            "c.yaml:10: optimizer.lr: another program's key ---> use learning_rate");
}

TEST(ForeignKeys, AnOldNameBesideTheNewOneIsAFault) {
  EXPECT_EQ(faults_of_more("val_size: 3\neval_strategy: steps\nevaluation_strategy: epoch\n"),
            "c.yaml:7: evaluation_strategy: given beside eval_strategy (c.yaml:6) ---> keep one of them");
}

}  // namespace
}  // namespace qtune
