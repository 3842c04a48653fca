// Decisions against recorded ones of a slow, literal reference (tests/data/selection: options, samples, expected).
// QTUNE_SELECTION_CASES=FOLDER checks the cases of another folder instead.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "qtune/base/file.h"
#include "qtune/prune/pruner.h"
#include "qtune/prune/scores_file.h"

namespace qtune {
namespace {

using Json = nlohmann::ordered_json;

PrunerOptions options_of(const Json& o) {
  return {.sample_method = "qtuning",
          .sample_keep = o.at("sample_keep"),
          .token_method = "qtuning",
          .token_keep = o.at("token_keep"),
          .lambda = o.at("lambda"),
          .neighbours = parse_neighbours(o.at("neighbours")),
          .reverse = o.at("reverse"),
          .iterations = o.at("iterations"),
          .supplement_tokens = parse_supplement_tokens(o.at("supplement_tokens")),
          .keep_end_of_turn = o.at("keep_end_of_turn")};
}

PruneDecision decide_case(const Json& test_case) {
  std::ostringstream lines;
  for (const Json& sample : test_case.at("samples")) lines << sample.dump() << '\n';
  std::istringstream in(lines.str());
  const ScoresFile file = read_scores(in, "case");
  return make_pruner(options_of(test_case.at("options"))).decide(file.samples, {});
}

Json expected_thresholds(const Json& expected) {
  Json thresholds;
  for (const char* key : {"alpha", "beta", "ppl_hi", "ppl_lo", "ent_lo", "ent_hi"}) thresholds[key] = expected.at(key);
  return thresholds;
}

TEST(SelectionCases, DecisionsAndThresholdsEqualTheReferenceBitForBit) {
  const char* other = std::getenv("QTUNE_SELECTION_CASES");
  const std::filesystem::path folder = other != nullptr ? other : QTUNE_TEST_DATA "/selection";
  int num_cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    SCOPED_TRACE(entry.path().string());
    const Json test_case = Json::parse(read_file(entry.path()));
    const PruneDecision decision = decide_case(test_case);
    const Json& expected = test_case.at("expected");
    ASSERT_TRUE(decision.thresholds.has_value());
    EXPECT_EQ(to_json(*decision.thresholds), expected_thresholds(expected));
    ASSERT_EQ(decision.samples.size(), expected.at("decisions").size());
    for (size_t i = 0; i < decision.samples.size(); ++i)
      EXPECT_EQ(to_json(decision.samples[i]), expected.at("decisions")[i]);
    ++num_cases;
  }
  EXPECT_GE(num_cases, other != nullptr ? 1 : 40);
}

}  // namespace
}  // namespace qtune
