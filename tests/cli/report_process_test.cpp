// qtune report on what a training left.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/training_job.h"

namespace qtune {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class ReportCommand : public testing::Test {
 protected:
  ReportCommand() {
    job_.write_data(random_samples(24, 3));
    job_.run("out", kQtuningHalf + Arguments{"max_steps=3"});
  }
  std::string run_folder() const { return (job_ / "out").string(); }

  ProcessResult report(const Arguments& arguments) const {
    ProcessResult result = run_process(Arguments{"report"} + arguments);
    if (result.err.find("built without the charting library") != std::string::npos) skipped_ = true;
    return result;
  }

  TrainingJob job_;
  mutable bool skipped_ = false;
};

TEST_F(ReportCommand, WritesThePageIntoTheRunsFolderAndItsPathOnStdout) {
  const ProcessResult result = report({run_folder()});
  if (skipped_) GTEST_SKIP() << "built without d3 (libjs-d3)";
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, run_folder() + "/report.html\n");
  EXPECT_THAT(read_file(job_ / "out/report.html"), HasSubstr("default-src 'none'"));
}

TEST_F(ReportCommand, WhereTheDataIsGoneItSaysSoAndWorksWithoutTexts) {
  std::filesystem::remove(job_.data());
  const ProcessResult result = report({run_folder()});
  if (skipped_) GTEST_SKIP() << "built without d3 (libjs-d3)";
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("samples are shown without their texts: "), HasSubstr(job_.data())));
}

TEST_F(ReportCommand, TakesASweepsTableBesideRuns) {
  std::filesystem::create_directories(job_ / "sweep");
  write_file_atomic(job_ / "sweep/results.json",
                    R"({"columns": ["run", "loss"], "rows": [{"run": "a", "loss": 1.5}]})");
  const ProcessResult result =
      report({run_folder(), (job_ / "sweep").string(), "--out", (job_ / "both.html").string()});
  if (skipped_) GTEST_SKIP() << "built without d3 (libjs-d3)";
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("1 runs and 1 sweeps"));
}

TEST_F(ReportCommand, OnlyAPageIsReplaced) {
  const std::string metrics = (job_ / "out/metrics.jsonl").string(), before = read_file(metrics);
  const ProcessResult refused = report({run_folder(), "--out", metrics});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("--out: " + metrics + ": expected no file, or one with an HTML page to replace"));
  EXPECT_EQ(read_file(metrics), before);
  const ProcessResult first = report({run_folder()});
  if (skipped_) GTEST_SKIP() << "built without d3 (libjs-d3)";
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(report({run_folder()}).exit_code, 0) << "its own page";
}

TEST_F(ReportCommand, AFullDiskIsNoBugAndLeavesNoFile) {
  const std::string out = (job_ / "page.html").string();
  const ProcessResult result =
      run_process({"report", run_folder(), "--out", out}, {.file_limit_bytes = 4000, .environment = {"QTUNE_CACHE="}});
  if (result.err.find("built without the charting library") != std::string::npos)
    GTEST_SKIP() << "built without d3 (libjs-d3)";
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_THAT(result.err, HasSubstr("page.html: cannot write: "));
  EXPECT_FALSE(std::filesystem::exists(out));
}

TEST_F(ReportCommand, FolderWithoutARunIsAWrongUse) {
  std::filesystem::create_directories(job_ / "empty");
  const ProcessResult result = report({(job_ / "empty").string()});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("found no metrics.jsonl in it"));
}

}  // namespace
}  // namespace qtune
