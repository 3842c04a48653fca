// Answers compared as the official scripts compare them (tests/data/tasks/answers.json, tools/make_answer_pairs.py).
#include "qtune/tasks/answer_text.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "qtune/tasks/math_answer.h"
#include "qtune/tasks/python_random.h"

namespace qtune {
namespace {

using Json = nlohmann::json;

Json cases(const char* name) {
  std::ifstream in(std::string(QTUNE_TEST_DATA) + "/tasks/answers.json");
  return Json::parse(in).at(name);
}

TEST(SquadAnswer, FiveHundredPairsScoreAsInTheOfficialScript) {
  const Json pairs = cases("squad");
  ASSERT_EQ(pairs.size(), 500U);
  for (const Json& pair : pairs) {
    EXPECT_EQ(normalize_squad_answer(pair["prediction"].get<std::string>()), pair["normalized"]) << pair;
    const SquadScore score = squad_score(pair["golds"], pair["prediction"].get<std::string>());
    EXPECT_EQ(score.exact, pair["exact"].get<double>()) << pair;
    EXPECT_DOUBLE_EQ(score.f1, pair["f1"].get<double>()) << pair;
  }
}

TEST(SquadAnswer, WithoutAGoldOnlyTheEmptyAnswerIsRight) {
  EXPECT_EQ(squad_score({}, "").f1, 1);
  EXPECT_EQ(squad_score({"the"}, "a.").exact, 1) << "a gold that normalises to nothing is none";
  EXPECT_EQ(squad_score({}, "unanswerable").exact, 0);
}

TEST(NumberAnswer, FiltersFindWhatLmEvalFinds) {
  for (const Json& c : cases("numbers")) {
    const std::string text = c["text"], gold = c["gold"];
    EXPECT_EQ(strict_number(text), c["strict"]) << c;
    EXPECT_EQ(last_number(text), c["flexible"]) << c;
    EXPECT_EQ(same_gsm8k_answer(strict_number(text), gold), c["strict_right"].get<bool>()) << c;
    EXPECT_EQ(same_gsm8k_answer(last_number(text), gold), c["flexible_right"].get<bool>()) << c;
  }
}

TEST(NumberAnswer, OpenCompassTakesTheLastNumberBeforeTheNextQuestion) {
  EXPECT_EQ(opencompass_number("so 3 + 4 = 7.50 dollars\nQuestion: 8"), "7.50");
  EXPECT_EQ(opencompass_number("it is -3."), "-3");
  EXPECT_EQ(opencompass_number("none"), "NULL");
  EXPECT_EQ(opencompass_number("1,200"), "200") << "its trap: commas stay in predictions";
}

TEST(NumberAnswer, OpenCompassComparesWithTheGoldsWholeNumber) {
  EXPECT_EQ(opencompass_gold("text\n#### 1,200"), "1200");
  EXPECT_TRUE(same_opencompass_number("1200.0", "1200"));
  EXPECT_FALSE(same_opencompass_number("1200.1", "1200"));
  EXPECT_FALSE(same_opencompass_number("NULL", "1200"));
  EXPECT_TRUE(same_opencompass_number("2.5", "2.5")) << "equal text, though the gold is no whole number";
}

TEST(AliasAnswer, AnyAliasMatchesAsInLmEval) {
  for (const Json& c : cases("aliases")) {
    EXPECT_EQ(matches_alias(c["aliases"], c["prediction"].get<std::string>()), c["right"].get<bool>()) << c;
  }
}

TEST(MathAnswer, FiveHundredPairsCompareAsInLmEval) {
  const Json pairs = cases("math");
  ASSERT_EQ(pairs.size(), 500U);
  for (const Json& pair : pairs) {
    EXPECT_EQ(same_math_answer(pair["a"].get<std::string>(), pair["b"].get<std::string>()), pair["equal"].get<bool>())
        << pair;
  }
}

TEST(MathAnswer, LastBoxIsTheAnswer) {
  for (const Json& c : cases("boxed")) {
    const std::optional<std::string> answer = last_boxed_answer(c["solution"].get<std::string>());
    EXPECT_EQ(answer ? Json(*answer) : Json(), c["answer"]) << c;
  }
}

TEST(MathAnswer, StandsBetweenTheOuterDollarSigns) {
  for (const Json& c : cases("dollar")) {
    const std::string text = c["text"];
    EXPECT_EQ(same_math_answer(dollar_answer(text), "5"), c["right"] == 1) << c;
  }
}

TEST(PythonRandom, SamplesAsCPythonDoesDrawAfterDraw) {
  for (const Json& run : cases("draws")) {
    PythonRandom random(run["seed"].get<uint64_t>());
    for (const Json& draw : run["draws"]) {
      const Json& sample = draw["sample"];
      EXPECT_EQ(Json(random.sample(draw["population"], sample.size())), sample) << run["seed"] << " of " << draw;
    }
  }
}

TEST(PythonRandom, RefusesMoreThanThereIs) { EXPECT_ANY_THROW(PythonRandom(1).sample(3, 4)); }

}  // namespace
}  // namespace qtune
