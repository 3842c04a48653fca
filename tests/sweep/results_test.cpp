// The tables of a sweep, from results that no training is needed for.
#include "../../src/sweep/results.h"

#include "sweep_file_support.h"

namespace qtune {
namespace {

using testing::HasSubstr;
using testing::Not;

/// A finished run with this loss.
RunResult finished(double loss) {
  return {.state = {.status = RunStatus::kFinished},
          .metrics = {{.column = {.name = "eval_loss", .better = Better::kLower}, .value = loss}}};
}

TEST(SweepResults, HeadsWithCommasAreQuotedAsCellsAre) {
  const Sweep sweep = load_more("list:\n- {learning_rate: 1.0e-3, name: a}\n");
  RunResult result = finished(1);
  result.metrics[0].column.name = "gsm8k (exact_match,strict-match)";
  const std::string csv = results_csv(sweep, {result});
  EXPECT_THAT(csv.substr(0, csv.find('\n')), HasSubstr(",\"gsm8k (exact_match,strict-match)\""));
}

class RepeatedRuns : public testing::Test {
 protected:
  const Sweep sweep_ = load_more(
      "seeds: [1, 2]\ngrid:\n  pruning.sample.method: [none, random]\n"
      "list:\n- {pruning: null, name: full}\n");
};

TEST_F(RepeatedRuns, CountOnceASeedAndAreNamed) {
  ASSERT_EQ(sweep_.runs.size(), 6U);
  const std::string table =
      results_markdown(sweep_, {finished(1), finished(3), finished(5), finished(5), finished(1), finished(3)});
  EXPECT_THAT(table, HasSubstr("| none | none | **2.0000** ± 1.4142 | 2 |"));
  EXPECT_THAT(table, HasSubstr("counted once:\n- " + sweep_.runs[4].name + ": as " + sweep_.runs[0].name + "\n- " +
                               sweep_.runs[5].name + ": as " + sweep_.runs[1].name + "\n"));
}

TEST_F(RepeatedRuns, TheFinishedOneCountsWhereTheFirstFailed) {
  const RunResult failed = {.state = {.status = RunStatus::kFailed}, .metrics = {}};
  const std::string table =
      results_markdown(sweep_, {failed, finished(3), finished(5), finished(5), finished(1), finished(3)});
  EXPECT_THAT(table, HasSubstr("| none | none | **2.0000** ± 1.4142 | 2 |"));
  EXPECT_THAT(table, HasSubstr("- " + sweep_.runs[0].name + ": as " + sweep_.runs[4].name + "\n"));
}

TEST(SweepResults, OtherSeedsAreNoRepeats) {
  const Sweep sweep = load_more("seeds: [1, 2]\n");
  const std::string table = results_markdown(sweep, {finished(1), finished(3)});
  EXPECT_THAT(table, HasSubstr("| none | none | **2.0000** ± 1.4142 | 2 |"));
  EXPECT_THAT(table, Not(HasSubstr("counted once")));
}

}  // namespace
}  // namespace qtune
