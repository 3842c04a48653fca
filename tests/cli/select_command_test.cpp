// qtune select, from its arguments to its output and exit code.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "support/run_qtune.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

/// {"token_keep": 0.5, "reverse": false} -> --token-keep 0.5 --no-reverse
std::vector<std::string> flags_of(const Json& options) {
  std::vector<std::string> flags;
  for (const auto& [key, value] : options.items()) {
    std::string name = key;
    std::replace(name.begin(), name.end(), '_', '-');
    if (value.is_boolean()) {
      flags.push_back((value.get<bool>() ? "--" : "--no-") + name);
    } else {
      flags.push_back("--" + name);
      flags.push_back(value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
  return flags;
}

TEST(SelectCommand, PrintsTheRecordedDecisionsAndThresholds) {
  const TempDir folder;
  for (const auto& entry : std::filesystem::directory_iterator(QTUNE_TEST_DATA "/selection")) {
    SCOPED_TRACE(entry.path().string());
    const Json test_case = Json::parse(read_file(entry.path()));
    std::string scores;
    for (const Json& sample : test_case.at("samples")) scores += sample.dump() + "\n";
    write_file_atomic(folder / "s.jsonl", scores);

    std::vector<std::string> arguments = {"select", (folder / "s.jsonl").string(), "--thresholds",
                                          (folder / "t.json").string()};
    for (const std::string& flag : flags_of(test_case.at("options"))) arguments.push_back(flag);
    const CommandOutput output = run_qtune(arguments);
    ASSERT_EQ(output.exit_code, kExitOk) << output.err;

    Json decisions = Json::array();
    std::istringstream lines(output.out);
    for (std::string line; std::getline(lines, line);) decisions.push_back(Json::parse(line));
    EXPECT_EQ(decisions, test_case.at("expected").at("decisions"));
    Json expected = test_case.at("expected");
    expected.erase("decisions");
    EXPECT_EQ(Json::parse(read_file(folder / "t.json")), expected);
  }
}

TEST(SelectCommand, BadScoresExitWithTheirLine) {
  const TempDir folder;
  const std::string path = (folder / "s.jsonl").string();
  write_file_atomic(path, "{\"nll\":[1],\"entropy\":[1]}\n{\"nll\":[1],\"entropy\":[NaN]}\n");
  const CommandOutput output = run_qtune({"select", path});
  EXPECT_EQ(output.exit_code, kExitData);
  EXPECT_EQ(output.out, "");
  EXPECT_THAT(output.err, HasSubstr("s.jsonl:2: "));
}

TEST(SelectCommand, SkipsSamplesWithoutTrainedTokensWithANote) {
  const TempDir folder;
  const std::string path = (folder / "s.jsonl").string();
  write_file_atomic(path, "{\"id\":\"x\",\"nll\":[],\"entropy\":[]}\n{\"id\":\"y\",\"nll\":[1],\"entropy\":[1]}\n");
  const CommandOutput output = run_qtune({"select", path});
  EXPECT_EQ(output.exit_code, kExitOk);
  EXPECT_THAT(output.err, HasSubstr("skipped: 1 (x)"));
  EXPECT_EQ(Json::parse(output.out).at("id"), "y");
}

TEST(SelectCommand, NumberIdStaysANumberAndTextStaysText) {
  const TempDir folder;
  const std::string path = (folder / "s.jsonl").string();
  std::string scores;
  for (const char* id : {"7", "\"7\"", "0.5"}) {
    scores += std::string("{\"id\":") + id + ",\"nll\":[1],\"entropy\":[1]}\n";
  }
  write_file_atomic(path, scores);
  const CommandOutput output = run_qtune({"select", path});
  ASSERT_EQ(output.exit_code, kExitOk) << output.err;
  EXPECT_THAT(output.out, HasSubstr("{\"id\":7,"));
  EXPECT_THAT(output.out, HasSubstr("{\"id\":\"7\","));
  EXPECT_THAT(output.out, HasSubstr("{\"id\":0.5,"));
}

TEST(SelectCommand, ThresholdsThatCannotBeWrittenAreAUsageError) {
  const TempDir folder;
  const std::string path = (folder / "s.jsonl").string();
  write_file_atomic(path, "{\"nll\":[1],\"entropy\":[1]}\n");
  const CommandOutput output = run_qtune({"select", path, "--thresholds", (folder / "none/t.json").string()});
  EXPECT_EQ(output.exit_code, kExitUsage);
  EXPECT_THAT(output.err, HasSubstr("--thresholds: "));
  EXPECT_EQ(output.out, "");
}

TEST(SelectCommand, ThresholdsReplaceNoInputAndNoOtherFile) {
  const TempDir folder;
  const std::string path = (folder / "s.jsonl").string(), scores = "{\"nll\":[1],\"entropy\":[1]}\n";
  write_file_atomic(path, scores);
  write_file_atomic(folder / "notes.txt", "kept\n");
  const auto select_into = [&](const std::string& name) {
    return run_qtune({"select", path, "--thresholds", (folder / name).string()});
  };
  EXPECT_THAT(select_into("./s.jsonl").err, HasSubstr("s.jsonl: expected a file of its own, found "));
  EXPECT_EQ(read_file(path), scores);
  EXPECT_THAT(select_into("notes.txt").err, HasSubstr("expected no file, or one with thresholds to replace"));
  EXPECT_EQ(select_into("notes.txt").exit_code, kExitUsage);
  EXPECT_EQ(read_file(folder / "notes.txt"), "kept\n");
  EXPECT_EQ(select_into("t.json").exit_code, kExitOk);
  EXPECT_EQ(select_into("t.json").exit_code, kExitOk) << "its own";
}

TEST(SelectCommand, WrongOptionsAreUsageErrors) {
  EXPECT_EQ(run_qtune({"select", "s.jsonl", "--sample-keep", "0"}).exit_code, kExitUsage);
  EXPECT_EQ(run_qtune({"select", "s.jsonl", "--neighbours", "all"}).exit_code, kExitUsage);
  EXPECT_EQ(run_qtune({"select", "s.jsonl", "--no-such-option"}).exit_code, kExitUsage);
  EXPECT_EQ(run_qtune({"select"}).exit_code, kExitUsage);
  EXPECT_EQ(run_qtune({"select", "/no/such/s.jsonl"}).exit_code, kExitData);
}

/// Two samples; `nll` of the second model is another.
class SelectByOtherMethods : public testing::Test {
 protected:
  void SetUp() override {
    write("s.jsonl", {{3, 1, 4, 1}, {2, 2}});
    write("reference.jsonl", {{1, 1, 1, 3}, {1, 2}});
  }
  void write(const std::string& name, const std::vector<std::vector<double>>& nll) const {
    std::string text;
    for (size_t i = 0; i < nll.size(); ++i) {
      text +=
          Json{{"id", i == 0 ? "a" : "b"}, {"nll", nll[i]}, {"entropy", std::vector<double>(nll[i].size(), 1)}}.dump() +
          "\n";
    }
    write_file_atomic(folder_ / name, text);
  }
  std::string file(const std::string& name) const { return (folder_ / name).string(); }
  CommandOutput select(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"select", file("s.jsonl")});
    return run_qtune(arguments);
  }
  /// Kept tokens by sample; a dropped one is null.
  static Json kept(const CommandOutput& output) {
    EXPECT_EQ(output.exit_code, kExitOk) << output.err;
    Json tokens = Json::array();
    std::istringstream lines(output.out);
    for (std::string line; std::getline(lines, line);) {
      const Json decision = Json::parse(line);
      tokens.push_back(decision.at("kept") ? decision.at("kept_tokens") : Json());
    }
    return tokens;
  }

  TempDir folder_;
};

TEST_F(SelectByOtherMethods, SamplesAndTokens) {
  EXPECT_EQ(kept(select({"--sample-method", "longest", "--sample-keep", ".5", "--token-method", "ppl"})),
            Json::parse("[[1,3],null]"));
  EXPECT_EQ(kept(select(
                {"--sample-method", "none", "--token-method", "rho1", "--reference-scores", file("reference.jsonl")})),
            Json::parse("[[0,2],[0]]"));
  EXPECT_EQ(kept(select({"--sample-method", "none", "--token-method", "tokencleaning", "--reference-scores",
                         file("reference.jsonl")})),
            Json::parse("[[0,2],[0]]"));
  write_file_atomic(folder_ / "r.jsonl", std::string("{\"id\": \"a\", \"score\": 1}\n{\"id\": \"b\", \"score\": 2}\n"));
  EXPECT_EQ(kept(select({"--sample-method", "score_file", "--score-file", file("r.jsonl"), "--sample-keep", ".5",
                         "--token-method", "none"})),
            Json::parse("[null,[0,1]]"));
}

/// The first sample of an id goes with the first of the other file; 1 and "1" are two ids.
TEST_F(SelectByOtherMethods, SamplesWithOneIdMeetTheirOwnReference) {
  const auto write_ids = [&](const std::string& name,
                             const std::vector<std::pair<Json, std::vector<double>>>& samples) {
    std::string text;
    for (const auto& [id, nll] : samples) text += Json{{"id", id}, {"nll", nll}, {"entropy", {1, 1, 1}}}.dump() + "\n";
    write_file_atomic(folder_ / name, text);
  };
  write_ids("s.jsonl", {{"a", {3, 3, 3}}, {"a", {3, 3, 3}}, {1, {3, 3, 3}}, {"1", {3, 3, 3}}});
  write_ids("reference.jsonl", {{"a", {1, 2, 3}}, {"a", {3, 2, 1}}, {"1", {2, 1, 3}}, {1, {1, 2, 3}}});
  EXPECT_EQ(kept(select({"--sample-method", "none", "--token-method", "rho1", "--token-keep", ".3",
                         "--reference-scores", file("reference.jsonl")})),
            Json::parse("[[0],[2],[0],[1]]"));
}

TEST_F(SelectByOtherMethods, WhatTheyLackIsSaid) {
  const auto error = [&](const std::vector<std::string>& arguments, int code) {
    const CommandOutput output = select(arguments);
    EXPECT_EQ(output.exit_code, code) << output.err;
    return output.err;
  };
  EXPECT_THAT(error({"--sample-method", "none", "--token-method", "rho1"}, kExitUsage),
              HasSubstr("--reference-scores: expected a scores file"));
  EXPECT_THAT(error({"--sample-method", "none", "--token-method", "fastv"}, kExitUsage),
              HasSubstr("only qtune train sees attention"));
  EXPECT_THAT(error({"--sample-method", "longest", "--token-method", "none", "--thresholds", file("t")}, kExitUsage),
              HasSubstr("--thresholds: expected sample method qtuning, found longest"));
  EXPECT_THAT(error({"--kept-quadrants", "Q7"}, kExitUsage), HasSubstr("expected Q1, Q2, Q3 or Q4, found \"Q7\""));
  write("reference.jsonl", {{1, 1, 1}, {1, 2}});
  EXPECT_THAT(
      error({"--sample-method", "none", "--token-method", "rho1", "--reference-scores", file("reference.jsonl")},
            kExitData),
      HasSubstr("reference.jsonl: expected 4 trained tokens of sample \"a\", found 3"));
}

TEST_F(SelectByOtherMethods, QuadrantsAreTakenFromALine) {
  EXPECT_EQ(kept(select({"--kept-quadrants", "Q1,Q3", "--sample-keep", "1", "--pruned-quadrants", "Q1,Q2,Q3,Q4",
                         "--supplement-tokens", "prune"})),
            Json::parse("[[0,2],[0]]"));  // a's tokens 2 and 3 have the same salience
}

}  // namespace
}  // namespace qtune
