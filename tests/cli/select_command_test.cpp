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

TEST(SelectCommand, WrongOptionsAreUsageErrors) {
  EXPECT_EQ(run_qtune({"select", "s.jsonl", "--sample-keep", "0"}).exit_code, kExitUsage);
  EXPECT_EQ(run_qtune({"select", "s.jsonl", "--neighbours", "all"}).exit_code, kExitUsage);
  EXPECT_EQ(run_qtune({"select", "s.jsonl", "--no-such-option"}).exit_code, kExitUsage);
  EXPECT_EQ(run_qtune({"select"}).exit_code, kExitUsage);
  EXPECT_EQ(run_qtune({"select", "/no/such/s.jsonl"}).exit_code, kExitData);
}

}  // namespace
}  // namespace qtune
