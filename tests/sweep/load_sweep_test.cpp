#include "sweep/sweep_file_support.h"

namespace qtune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(SweepGrid, IsMultipliedInFileOrderWithItsLastKeyFastest) {
  const Sweep sweep = load_more(
      "grid:\n"
      "  pruning.sample.method: [random, qtuning]\n"
      "  learning_rate: [1.0e-3, 1.0e-4]\n");
  EXPECT_THAT(names_of(sweep),
              ElementsAre("sample.method=random,learning_rate=1.0e-3", "sample.method=random,learning_rate=1.0e-4",
                          "sample.method=qtuning,learning_rate=1.0e-3", "sample.method=qtuning,learning_rate=1.0e-4"));
  EXPECT_EQ(sweep.runs[1].loaded.config.pruning.sample.method, "random");
  EXPECT_EQ(sweep.runs[1].loaded.config.learning_rate, 1e-4);
  EXPECT_EQ(sweep.runs[2].loaded.config.learning_rate, 1e-3);
}

TEST(SweepGrid, SectionsMayBeNestedAndValuesMayBeSections) {
  const Sweep sweep = load_more(
      "grid:\n"
      "  pruning:\n"
      "    sample: [{method: random, keep: 0.5}, {method: qtuning, keep: 0.25}]\n");
  ASSERT_EQ(sweep.runs.size(), 2U);
  EXPECT_EQ(sweep.runs[0].loaded.config.pruning.sample.keep, 0.5);
  EXPECT_EQ(sweep.runs[1].loaded.config.pruning.sample.method, "qtuning");
}

TEST(SweepGrid, ValuesMayBeLists) {
  const Sweep sweep = load_more("grid: {lora_target: [[q_proj, v_proj], [all]], finetuning_type: [lora]}\n");
  ASSERT_EQ(sweep.runs.size(), 2U);
  EXPECT_THAT(sweep.runs[0].loaded.config.lora_target, ElementsAre("q_proj", "v_proj"));
}

TEST(SweepList, StandsBehindTheGrid) {
  const Sweep sweep = load_more("list:\n- {pruning.sample.method: qtuning}\n- {}\ngrid: {learning_rate: [1.0, 2.0]}\n");
  EXPECT_THAT(names_of(sweep), ElementsAre("learning_rate=1.0", "learning_rate=2.0", "sample.method=qtuning", "base"));
}

TEST(SweepList, NullTakesASectionOfTheBaseBack) {
  const TempDir folder;
  write_file_atomic(folder / "base.yaml", std::string(kBaseConfig) + "pruning: {sample: {method: qtuning}}\n");
  write_file_atomic(folder / "s.yaml", std::string(kSweepHead) + "list:\n- {pruning: null, name: full}\n- {name: q}\n");
  const Sweep sweep = load_sweep(folder / "s.yaml");
  EXPECT_EQ(sweep.runs[0].loaded.config.pruning.sample.method, "none");
  EXPECT_EQ(sweep.runs[1].loaded.config.pruning.sample.method, "qtuning");
}

TEST(SweepSeeds, MultiplyGridAndList) {
  const Sweep sweep = load_more("seeds: [1, 2]\ngrid: {learning_rate: [1.0]}\nlist: [{name: plain}]\n");
  EXPECT_THAT(names_of(sweep),
              ElementsAre("learning_rate=1.0,seed=1", "learning_rate=1.0,seed=2", "plain-seed1", "plain-seed2"));
  EXPECT_EQ(sweep.runs[3].loaded.config.seed, 2);
}

TEST(SweepSeeds, AloneRepeatTheBase) {
  EXPECT_THAT(names_of(load_more("seeds: [3, 4]\n")), ElementsAre("seed=3", "seed=4"));
}

TEST(SweepSeeds, WithoutThemTheBasesSeedHolds) { EXPECT_EQ(load_more("list: [{}]\n").runs[0].loaded.config.seed, 5); }

TEST(SweepNames, APatternTakesAnyKeyAndTheLastPartOfAPath) {
  const Sweep sweep = load_more(
      "name: \"{model_name_or_path}-{pruning.sample.method}\"\nseeds: [7]\n"
      "grid: {pruning.sample.method: [none, random]}\n");
  EXPECT_THAT(names_of(sweep), ElementsAre("small-none-seed7", "small-random-seed7"));
}

TEST(SweepNames, AreFoldersOfTheirOwn) {
  const Sweep sweep = load_more("list: [{name: \"../a b/c\"}]\n");
  EXPECT_EQ(sweep.runs[0].name, "_._a_b_c");
  EXPECT_EQ(sweep.runs[0].loaded.config.output_dir, "out/runs/_._a_b_c");
}

TEST(SweepNames, OfTwoRunsAlikeAreAFault) {
  EXPECT_EQ(faults_of_more("name: same\ngrid: {learning_rate: [1.0, 2.0]}\n"),
            "s.yaml:4: run same: a name given twice, first at s.yaml:4 ---> give a `name:` that tells them apart");
}

TEST(SweepNames, APatternWithAnUnknownKeyIsAFault) {
  EXPECT_EQ(faults_of_more("name: \"{learning_rat}\"\nlist: [{}]\n"),
            "s.yaml:4: name: {learning_rat} is no config key; did you mean {learning_rate}?");
}

TEST(SweepBase, LiesBesideTheSweepsFile) {
  EXPECT_THAT(faults_of("base: other.yaml\noutput_dir: o\nlist: [{}, {name: b}]\n"),
              testing::StartsWith("other.yaml: expected a configuration file, found nothing"));
}

TEST(SweepFaults, OfTheBaseAreSaidOnceForAllRuns) {
  const TempDir folder;
  write_file_atomic(folder / "base.yaml", "model_name_or_path: m\ndataset: d\nlerning_rate: 1\n");
  write_file_atomic(folder / "s.yaml", std::string(kSweepHead) + "seeds: [1, 2]\n");
  try {
    load_sweep(folder / "s.yaml");
    FAIL() << "loaded";
  } catch (const ConfigError& e) {
    EXPECT_EQ(e.what(), (folder / "base.yaml").string() + ":3: lerning_rate: unknown key; did you mean learning_rate?");
  }
}

TEST(SweepFaults, AllOfAFileComeAtOnceWithTheirLines) {
  EXPECT_EQ(
      faults_of("output_dir: o\nseed: [1]\nlearning_rate: 3\ngrid:\n  seed: [1]\n  pruning.sample.keep: []\n"),
      "s.yaml:2: seed: unknown key; did you mean seeds?\n"
      "s.yaml:3: learning_rate: a key of the runs, not of the sweep ---> write it in the base file, in `grid:` or "
      "in `list:`\n"
      "s.yaml:5: seed: the sweep's runs get their seeds from it ---> use `seeds:`\n"
      "s.yaml:6: pruning.sample.keep: expected a list of values, found none\n"
      "s.yaml: base: expected the file of a training's config, found none ---> this key is required");
}

TEST(SweepFaults, KeysOfGridAndListThatAreNoneNameTheNearestOne) {
  EXPECT_EQ(faults_of_more("grid:\n  learning_rat: [1, 2]\nlist:\n- {pruning.sample.metod: random}\n"),
            "s.yaml:4: learning_rat: unknown key; did you mean learning_rate? (runs learning_rat=1; learning_rat=2)\n"
            "s.yaml:6: pruning.sample.metod: unknown key; did you mean pruning.sample.method? (run "
            "sample.metod=random)");
}

TEST(SweepFaults, AValueThatIsNoneNamesItsRuns) {
  EXPECT_EQ(faults_of_more("grid:\n  pruning.sample.method: [random, rndom]\nseeds: [1, 2]\n"),
            "s.yaml:4: pruning.sample.method: expected one of none, random, longest, entropy, qtuning, infobatch, "
            "score_file, found 'rndom' (runs sample.method=rndom,seed=1; sample.method=rndom,seed=2)");
}

TEST(SweepFaults, PairsOfMethodsThatDoNotGoTogetherNameTheRun) {
  EXPECT_EQ(faults_of_more("grid:\n  pruning.sample.method: [random, qtuning]\n  pruning.token.method: [qtuning]\n"),
            "s.yaml:5: pruning.token.method: qtuning tokens need pruning.sample.method: qtuning, found random (run "
            "sample.method=random,token.method=qtuning)");
}

TEST(SweepFaults, KeysThatTheSweepSetsAreNotTheRuns) {
  EXPECT_EQ(faults_of_more("list:\n- {output_dir: o, dry_run: true}\n"),
            "s.yaml:4: output_dir: each run has a folder of its own ---> use the sweep's `output_dir:`\n"
            "s.yaml:4: dry_run: the sweep sets it for each run ---> remove it");
}

TEST(SweepFaults, ASweepWithoutRunsIsOne) {
  EXPECT_EQ(faults_of(kSweepHead), "s.yaml: grid: expected runs, found none ---> write `grid:`, `list:` or `seeds:`");
}

TEST(SweepFaults, MoreThanTenThousandRunsAreOne) {
  std::string values = "[1";
  for (int i = 2; i <= 101; ++i) values += "," + std::to_string(i);
  EXPECT_THAT(faults_of_more("grid: {max_samples: " + values + "], save_steps: " + values + "]}\n"),
              HasSubstr("expected at most 10000 runs"));
}

TEST(SweepOverrides, HoldForAllRuns) {
  const Sweep sweep = load_more("seeds: [1, 2]\n", {"learning_rate=0.5", "output_dir=elsewhere"});
  EXPECT_EQ(sweep.runs[1].loaded.config.learning_rate, 0.5);
  EXPECT_EQ(sweep.runs[1].loaded.config.output_dir, "elsewhere/runs/seed=2");
}

TEST(SweepOverrides, OfAKeyThatTheSweepVariesAreFaults) {
  EXPECT_EQ(faults_of_more("grid: {learning_rate: [1, 2]}\n", {"learning_rate=3"}),
            "command line: learning_rate: the sweep's file varies it ---> change the file");
}

TEST(SweepEval, NeedsTasksAndData) {
  EXPECT_EQ(faults_of_more("list: [{}]\neval:\n  task: [gsm8k]\n  limit: many\n"),
            "s.yaml:5: task: unknown key; did you mean tasks?\n"
            "s.yaml:4: eval.tasks: expected a list of tasks, found none\n"
            "s.yaml:4: eval.data_dir: expected the folder with the tasks' data, found none\n"
            "s.yaml:4: eval.limit: expected a number of items a task, found 'many'");
}

}  // namespace
}  // namespace qtune
