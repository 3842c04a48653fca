#include "qtune/report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "qtune/base/error.h"
#include "report/page_parts.h"
#include "report/report_json.h"
#include "support/temp_dir.h"
#include "synthetic_run.h"

namespace qtune {
namespace {

using testing::HasSubstr;
using testing::Not;

class ReportPage : public testing::Test {
 protected:
  void SetUp() override {
    if (page::d3.empty()) GTEST_SKIP() << "built without d3 (libjs-d3)";
  }
  TempDir folder_;
};

TEST_F(ReportPage, LoadsNothingFromOutside) {
  write_run(folder_.path(), {});
  const std::string html = render_report({.runs = {{.data = read_run(folder_.path())}}});
  EXPECT_THAT(html, HasSubstr("default-src 'none'"));  // the browser refuses whatever the page might try
  for (const std::string& part : {std::string(page::html), std::string(page::style), std::string(page::script)}) {
    EXPECT_THAT(part, Not(HasSubstr("https://")));
    for (const char* load : {"src=", "<link", "@import", "url(", "fetch(", "XMLHttpRequest", "import("})
      EXPECT_THAT(part, Not(HasSubstr(load)));
  }
}

TEST_F(ReportPage, IsBelowThreeMegabytesWith100000JudgementsAnd2000Texts) {
  const int64_t tokens = 150;
  write_run(folder_.path(), {.steps = 400, .samples_a_step = 250, .num_samples = 25000, .tokens = tokens});
  ReportedRun run{.data = read_run(folder_.path())};
  ASSERT_EQ(shown_judgements(run.data, ReportLimits{}.max_judgements).size(), 100000U);
  run.find_texts = [&](std::span<const std::string> ids) { return synthetic_texts(ids, tokens); };
  const std::string html = render_report({.runs = {run}});
  EXPECT_LT(html.size(), 3000000U);
  RecordProperty("bytes", static_cast<int>(html.size()));
}

TEST_F(ReportPage, TextOfASampleCannotEndTheDataBlock) {
  write_run(folder_.path(), {});
  ReportedRun run{.data = read_run(folder_.path())};
  run.data.name = "</script><script>alert(1)</script>";
  EXPECT_THAT(render_report({.runs = {run}}), Not(HasSubstr("alert(1)")));
}

TEST(ReadRun, GivesBackWhatTheWritersWrote) {
  const TempDir folder;
  write_run(folder.path(), {.steps = 3, .samples_a_step = 8, .num_samples = 12});
  const RunData run = read_run(folder.path());
  EXPECT_EQ(run.steps.size(), 3U);
  EXPECT_EQ(run.evaluations.size(), 1U);
  EXPECT_EQ(run.judgements.size(), 24U);
  EXPECT_EQ(run.sample_ids.size(), 12U);
  EXPECT_TRUE(std::ranges::is_sorted(run.sample_ids));
  EXPECT_EQ(run.sample_ids[run.judgements[0].sample], "train-0");
  EXPECT_EQ(run.steps[2].seconds.train, 0.5);
}

TEST(ReadRun, TornLastLineIsPassedOver) {
  const TempDir folder;
  write_run(folder.path(), {.steps = 2});
  const std::string log = read_file(folder / "metrics.jsonl");
  write_file_atomic(folder / "metrics.jsonl", log + "{\"step\": 3, \"lo");
  EXPECT_EQ(read_run(folder.path()).steps.size(), 2U);
}

TEST(ReadRun, DamagedLineIsNamed) {
  const TempDir folder;
  write_run(folder.path(), {.steps = 2});
  write_file_atomic(folder / "decisions.jsonl", "{\"step\": 1}\n");
  try {
    read_run(folder.path());
    FAIL() << "expected an error";
  } catch (const DataError& e) {
    EXPECT_THAT(e.what(), HasSubstr("decisions.jsonl:1: "));
  }
}

TEST(ReadRun, FolderWithoutARunIsRefused) {
  const TempDir folder;
  EXPECT_THROW(read_run(folder.path()), ConfigError);
}

TEST(ThresholdsOfStep, AreThoseOfTheDecision) {
  std::vector<SampleScores> scores;
  std::vector<Judgement> judged;
  for (int i = 0; i < 40; ++i) {
    const double nll = 0.1 * ((i * 17) % 40), entropy = 0.05 * ((i * 23) % 40);
    scores.push_back({.id = std::to_string(i), .nll = {nll, nll}, .entropy = {entropy, entropy}});
  }
  const Pruner pruner = make_pruner({.sample_method = "qtuning", .sample_keep = 0.25});
  const PruneDecision decision = pruner.decide(scores, {});
  for (const SampleDecision& d : decision.samples) judged.push_back({.perplexity = d.perplexity, .entropy = d.entropy});
  const auto found = thresholds_of_step(judged, decision.thresholds->alpha);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->ppl_lo, decision.thresholds->ppl_lo);
  EXPECT_EQ(found->ppl_hi, decision.thresholds->ppl_hi);
  EXPECT_EQ(found->ent_lo, decision.thresholds->ent_lo);
  EXPECT_EQ(found->ent_hi, decision.thresholds->ent_hi);
}

TEST(ShownJudgements, AreWholeStepsWithTheLastAmongThem) {
  const TempDir folder;
  write_run(folder.path(), {.steps = 10, .samples_a_step = 16});
  const RunData run = read_run(folder.path());
  const std::vector<size_t> shown = shown_judgements(run, 60);
  EXPECT_EQ(shown.size() % 16, 0U);
  EXPECT_EQ(shown.size(), 48U);
  EXPECT_EQ(run.judgements[shown.back()].step, 10);
}

TEST(Flow, CountsEveryJudgementAndEveryMove) {
  const TempDir folder;
  write_run(folder.path(), {.steps = 8, .samples_a_step = 16, .num_samples = 64});
  const auto flow = flow_json(read_run(folder.path()), 3);
  int64_t judged = 0, moves = 0;
  for (const auto& counts : flow["judged"])
    for (const int64_t n : counts) judged += n;
  for (const auto& row : flow["moves"])
    for (const int64_t n : row) moves += n;
  EXPECT_EQ(judged, 128);
  EXPECT_EQ(moves, 64);  // each sample was judged twice
  EXPECT_EQ(flow["step"].size(), 3U);
}

TEST(Texts, StrikeWhatTheDecisionPruned) {
  const TempDir folder;
  write_run(folder.path(), {.steps = 4, .samples_a_step = 16, .tokens = 40});
  ReportedRun run{.data = read_run(folder.path())};
  run.find_texts = [](std::span<const std::string> ids) { return synthetic_texts(ids, 40); };
  const std::vector<size_t> shown = shown_judgements(run.data, 1000);
  const auto json = texts_json(run, shown, {.max_texts = 1000, .max_bytes = 1 << 20});
  EXPECT_EQ(json["texts"].size(), 64U);
  size_t pruned = 0;
  for (const size_t i : shown) {
    const Judgement& j = run.data.judgements[i];
    pruned += j.kept && j.kept_tokens.size() < 40 ? 1 : 0;
  }
  EXPECT_EQ(json["kept"].size(), pruned);
}

TEST(Texts, StayWithinTheirBytes) {
  const TempDir folder;
  write_run(folder.path(), {});
  ReportedRun run{.data = read_run(folder.path())};
  run.find_texts = [](std::span<const std::string> ids) { return synthetic_texts(ids, 40); };
  const auto json = texts_json(run, shown_judgements(run.data, 1000), {.max_texts = 1000, .max_bytes = 2000});
  EXPECT_GT(json["texts"].size(), 0U);
  EXPECT_LT(json["texts"].dump().size(), 6000U);
}

TEST(SampleTextPieces, CountTheTrainableTokensOfEach) {
  TokenizedSample sample;
  sample.input_ids = {5, 6, 7, 8, 9};
  sample.trained = {0, 0, 1, 1, 0};
  sample.end_of_turn.assign(5, 0);
  const SampleText text = sample_text(sample, {}, 100);
  EXPECT_THAT(text.pieces, testing::ElementsAre("5 ", "6 ", "7 ", "8 ", "9 "));
  EXPECT_THAT(text.trainable, testing::ElementsAre(0, 0, 1, 1, 0));
}

TEST(SampleTextPieces, MiddleOfALongSampleIsOnePieceWithItsTokens) {
  TokenizedSample sample;
  sample.input_ids.assign(50, 4);
  sample.trained.assign(50, 1);
  sample.end_of_turn.assign(50, 0);
  const SampleText text = sample_text(sample, {}, 10);
  ASSERT_EQ(text.pieces.size(), 11U);
  EXPECT_THAT(text.pieces[5], HasSubstr("40 tokens"));
  EXPECT_EQ(text.trainable[5], 40);
}

TEST(SweepTableFile, WithoutColumnsIsNamed) {
  const TempDir folder;
  write_file_atomic(folder / "results.json", "{\"rows\": []}");
  ASSERT_TRUE(is_sweep_folder(folder.path()));
  EXPECT_THROW(read_sweep_table(folder.path()), DataError);
}

}  // namespace
}  // namespace qtune
