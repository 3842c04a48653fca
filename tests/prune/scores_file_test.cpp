#include "qtune/prune/scores_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "prune/worked_example.h"
#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/rng.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

ScoresFile read_text(const std::string& text) {
  std::istringstream in(text);
  return read_scores(in, "s.jsonl");
}

TEST(ScoresFile, WrittenScoresReadBackAsTheSameDoubles) {
  CounterRng rng(5, 5);
  SampleScores sample{.id = "caf\u00e9 \"1\""};
  for (int k = 0; k < 1000; ++k) {
    sample.nll.push_back(rng.next_unit() * 20);
    sample.entropy.push_back(static_cast<double>(static_cast<float>(rng.next_unit())) / 3);
    sample.positions.push_back(k + 7);
    sample.span.push_back(k / 100);
    sample.end_of_turn.push_back(k % 100 == 99);
  }
  const TempDir folder;
  write_file_atomic(folder / "s.jsonl", scores_line(sample) + "\n" + scores_line(sample_of("b", {2}, 1)) + "\n");
  const ScoresFile file = read_scores(folder / "s.jsonl");
  ASSERT_EQ(file.samples.size(), 2u);
  EXPECT_EQ(file.samples[0].id, sample.id);
  EXPECT_EQ(file.samples[0].nll, sample.nll);
  EXPECT_EQ(file.samples[0].entropy, sample.entropy);
  EXPECT_EQ(file.samples[0].positions, sample.positions);
  EXPECT_EQ(file.samples[0].span, sample.span);
  EXPECT_EQ(file.samples[0].end_of_turn, sample.end_of_turn);
}

TEST(ScoresFile, LineHasTheDocumentedKeysInOrder) {
  EXPECT_EQ(
      scores_line(sample_of("a", {1}, 0.5)),
      R"({"id":"a","nll":[0.0],"entropy":[0.5],"positions":[1],"span":[0],"end_of_turn":[true],"ppl":1.0,"mean_entropy":0.5})");
  EXPECT_EQ(
      scores_line(SampleScores{.id = "a"}),
      R"({"id":"a","nll":[],"entropy":[],"positions":[],"span":[],"end_of_turn":[],"ppl":null,"mean_entropy":null})");
}

TEST(ScoresFile, EmptyArraysAreSkippedByName) {
  const ScoresFile file =
      read_text("{\"id\":\"x\",\"nll\":[],\"entropy\":[]}\n\n  \r\n{\"nll\":[1],\"entropy\":[1]}\r\n");
  EXPECT_THAT(file.skipped, ElementsAre("x"));
  ASSERT_EQ(file.samples.size(), 1u);
  EXPECT_EQ(file.samples[0].id, "s.jsonl:4");
  EXPECT_TRUE(file.samples[0].span.empty());
}

TEST(ScoresFile, IdIsWrittenAsItWasRead) {
  for (const std::string id : {"12", "\"12\"", "-3", "0.5", "18446744073709551615", "\"\""}) {
    const ScoresFile file = read_text("{\"id\":" + id + ",\"nll\":[1],\"entropy\":[0]}");
    ASSERT_EQ(file.samples.size(), 1u);
    EXPECT_TRUE(scores_line(file.samples[0]).starts_with("{\"id\":" + id + ","));
  }
}

TEST(DecisionJson, NumberIdStaysANumberAndTextStaysText) {
  EXPECT_EQ(to_json(SampleDecision{.id = "7", .id_is_number = true}).at("id"), nlohmann::json(7));
  EXPECT_EQ(to_json(SampleDecision{.id = "7"}).at("id"), nlohmann::json("7"));
}

TEST(ScoresFile, IntegerIdsAndBitsAreUnderstood) {
  const ScoresFile file = read_text(R"({"id":12,"nll":[1,2],"entropy":[0,1],"span":null,"end_of_turn":[0,1]})");
  EXPECT_EQ(file.samples[0].id, "12");
  EXPECT_THAT(file.samples[0].end_of_turn, ElementsAre(0, 1));
}

TEST(ScoresFile, BadLinesAreRefusedWithTheirPlace) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"nll":[1],"entropy":[1,2]})", "entropy: expected 1 values"},
      {R"({"nll":[1,2],"entropy":[1,2],"span":[0]})", "span: expected 2 values"},
      {R"({"nll":[1],"entropy":[1],"end_of_turn":[]})", "end_of_turn: expected 1 values"},
      {R"({"nll":[1],"entropy":[-0.5]})", "entropy[0]: expected at least 0, found -0.5"},
      {R"({"nll":[NaN],"entropy":[1]})", "broken JSON"},
      {R"({"nll":[Infinity],"entropy":[1]})", "broken JSON"},
      {R"({"nll":[1e999],"entropy":[1]})", "overflows"},
      {R"({"nll":[1,1],"entropy":[1e308,1e308]})", "a sum that overflows"},
      {R"({"nll":[null],"entropy":[1]})", "nll[0]: expected a number, found null"},
      {R"({"nll":null,"entropy":[1]})", "nll: expected an array of numbers, found null"},
      {R"({"nll":["1"],"entropy":[1]})", "nll[0]: expected a number, found string"},
      {R"({"nll":[1]})", "entropy: expected an array of numbers, found no such key"},
      {R"({"nll":[1],"entropy":[1],"span":[0.5]})", "span[0]: expected an integer of 32 bits"},
      {R"({"nll":[1],"entropy":[1],"span":[18446744073709551615]})", "span[0]: expected an integer of 32 bits"},
      {R"({"nll":[1],"entropy":[1],"end_of_turn":[2]})", "end_of_turn[0]: expected true or false"},
      {R"({"id":[1],"nll":[1],"entropy":[1]})", "id: expected a string or a number"},
      {R"([1])", "expected a JSON object, found array"},
      {R"({"nll":[1],)", "broken JSON"},
      {std::string(200000, '['), "broken JSON"},
  };
  for (const auto& [line, complaint] : cases) {
    try {
      read_text("{\"nll\":[1],\"entropy\":[1]}\n" + line + "\n");
      ADD_FAILURE() << "accepted: " << line.substr(0, 80);
    } catch (const DataError& e) {
      EXPECT_THAT(e.what(), HasSubstr("s.jsonl:2: "));
      EXPECT_THAT(e.what(), HasSubstr(complaint));
    }
  }
}

TEST(ScoresFile, MissingFileIsNamed) {
  EXPECT_THROW(read_scores(std::filesystem::path("/no/such/scores.jsonl")), DataError);
}

TEST(DecisionJson, TokensAreThereOnlyWhereKept) {
  SampleDecision decision{.id = "a", .perplexity = 2.5, .entropy = 1, .quadrant = Quadrant::kCalibration};
  EXPECT_EQ(to_json(decision).dump(),
            R"({"id":"a","ppl":2.5,"entropy":1.0,"quadrant":"Q4","kept":false,"supplement":false})");
  decision.kept = true;
  decision.kept_tokens = {0, 2};
  EXPECT_EQ(to_json(decision).dump(),
            R"({"id":"a","ppl":2.5,"entropy":1.0,"quadrant":"Q4","kept":true,"supplement":false,"kept_tokens":[0,2]})");
}

}  // namespace
}  // namespace qtune
