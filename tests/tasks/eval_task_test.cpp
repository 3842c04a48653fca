// Tasks: their files, prompts, shots and scores.
#include "qtune/tasks/eval_task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/tasks/few_shot.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

std::vector<TaskItem> items_of(const EvalTask& task, const std::string& lines) {
  const TempDir folder;
  write_file_atomic(folder / "test.jsonl", lines);
  return read_task_items(task, folder / "test.jsonl");
}

std::string refusal(const std::string& task, const std::string& lines) {
  try {
    items_of(find_eval_task(task, EvalStyle::kLmEval), lines);
  } catch (const DataError& e) {
    return e.what();
  }
  return "none";
}

const char kArc[] =
    R"({"question":"Q?","choices":{"text":["one","two","three"],"label":["1","2","3"]},"answerKey":"2"})";
const char kGsm8k[] = R"({"question":"1+1?","answer":"It is 2.\n#### 2"})";

std::string many(const std::string& line, int count) {
  std::string lines;
  for (int i = 0; i < count; ++i) {
    Json row = Json::parse(line);
    row["question"] = "q" + std::to_string(i);
    lines += row.dump() + "\n";
  }
  return lines;
}

TEST(EvalTask, LabelsMayBeNumbersAndChoicesThree) {
  const TaskItem item = items_of(find_eval_task("arc_easy", EvalStyle::kLmEval), kArc).at(0);
  EXPECT_EQ(item.choices.size(), 3U);
  EXPECT_EQ(item.gold_choice, 1U);
}

TEST(EvalTask, ArcIsReadInItsPublishersFormToo) {
  const std::string line =
      R"({"id":"x","question":{"stem":"Q?","choices":[{"text":"a","label":"A"},{"text":"b","label":"B"}]},"answerKey":"B"})";
  const TaskItem item = items_of(find_eval_task("arc_challenge", EvalStyle::kLmEval), line).at(0);
  EXPECT_EQ(item.columns["question"], "Q?");
  EXPECT_EQ(item.target, "b");
}

TEST(EvalTask, OpenCompassLeavesOutQuestionsWithoutFourChoices) {
  const std::string four =
      R"({"question":"4","choices":{"text":["a","b","c","d"],"label":["A","B","C","D"]},"answerKey":"D"})";
  const auto items = items_of(find_eval_task("arc_easy", EvalStyle::kOpenCompass), std::string(kArc) + "\n" + four);
  ASSERT_EQ(items.size(), 1U);
  EXPECT_EQ(items[0].id.line, 2) << "the place in the file stays";
}

TEST(EvalTask, SquadsNestedFileIsUnfolded) {
  const std::string file =
      R"({"version":"2","data":[{"title":"T","paragraphs":[{"context":"C","qas":[)"
      R"({"question":"q1","answers":[{"text":"x"}]},{"question":"q2","answers":[],"is_impossible":true}]}]}]})";
  const auto items = items_of(find_eval_task("squad", EvalStyle::kLmEval), file);
  ASSERT_EQ(items.size(), 2U);
  EXPECT_EQ(items[0].golds, std::vector<std::string>{"x"});
  EXPECT_EQ(items[1].target, " unanswerable");
}

TEST(EvalTask, MissingColumnIsNamedWithFileAndLine) {
  const std::string message = refusal("gsm8k", std::string(kGsm8k) + "\n{\"question\":\"x\"}\n");
  EXPECT_THAT(message, HasSubstr("test.jsonl:2: expected a column answer, found the columns question"));
}

TEST(EvalTask, AnswerKeyWithoutAChoiceIsRefused) {
  EXPECT_THAT(refusal("arc_easy", R"({"question":"Q","choices":{"text":["a"],"label":["A"]},"answerKey":"B"})"),
              HasSubstr("test.jsonl:1: expected answerKey to be one of choices.label, found \"B\""));
}

TEST(EvalTask, SolutionWithoutABoxIsRefused) {
  EXPECT_THAT(refusal("math", R"({"problem":"p","solution":"five"})"),
              HasSubstr("expected a \\boxed{...} in solution"));
}

TEST(EvalTask, UnknownNameGetsTheNearestOne) {
  try {
    find_eval_task("arc_esay", EvalStyle::kLmEval);
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_THAT(e.what(), HasSubstr("did you mean arc_easy?"));
  }
}

TEST(EvalTask, OpenCompassHasNoSquadHere) {
  EXPECT_THROW(find_eval_task("squad", EvalStyle::kOpenCompass), ConfigError);
}

TEST(EvalTask, FirstOfTheSplitsThatIsThereIsRead) {
  const TempDir folder;
  write_file_atomic(folder / "validation.json", "[]");
  EXPECT_EQ(task_file(folder.path(), {"test", "validation"}).filename(), "validation.json");
  EXPECT_THROW(task_file(folder.path(), {"test"}), DataError);
}

TEST(Ranking, NormalisedScoreDividesByCharactersNotBytes) {
  TaskItem item{.choices = {"ééé", "abcdef"}, .gold_choice = 0};
  const AnswerScore score = score_ranking(item, {-3.0, -6.5});  // a character: -1 and -1.08; a byte: -0.5 and -1.08
  EXPECT_EQ(score.extracted["acc_norm"], 0);
  item.choices = {"ééé", "abcd"};
  EXPECT_EQ(score_ranking(item, {-3.0, -3.8}).extracted["acc_norm"], 1) << "by bytes it would be the first";
}

TEST(Ranking, FirstOfEqualChoicesWins) {
  const TaskItem item{.choices = {"ab", "cd"}, .gold_choice = 1};
  EXPECT_EQ(score_ranking(item, {-1, -1}).extracted["acc"], 0);
  EXPECT_EQ(score_whole_texts(item, {1, 1}).extracted["accuracy"], 0);
}

TEST(Squad, SayingUnanswerableIsNoEmptyAnswer) {
  const EvalTask squad = find_eval_task("squad", EvalStyle::kLmEval);
  const AnswerScore score = squad.score(TaskItem{}, "unanswerable");
  EXPECT_EQ(score.metrics[0], std::make_pair(std::string("exact"), 0.0));
  EXPECT_EQ(score.metrics[2].first, "NoAns_exact");
}

TEST(FewShot, DrawsAreThoseOfOneStreamForAllQuestions) {
  EvalTask gsm8k = find_eval_task("gsm8k", EvalStyle::kLmEval);
  gsm8k.num_fewshot = 3;
  const auto pool = items_of(gsm8k, many(kGsm8k, 50));
  // r = random.Random(1234); [r.sample(range(50), 3) for _ in range(2)]
  const std::vector<std::vector<size_t>> expected = {{49, 28, 7}, {0, 5, 37}};
  EXPECT_EQ(draw_shots(gsm8k, pool, pool, 2), expected);
  EXPECT_EQ(draw_shots(gsm8k, pool, pool, 1)[0], expected[0]);
}

TEST(FewShot, AQuestionIsNotItsOwnShot) {
  EvalTask squad = find_eval_task("triviaqa", EvalStyle::kLmEval);
  squad.num_fewshot = 3;
  const auto pool = items_of(squad, many(R"({"answer":{"aliases":["a"]}})", 4));
  for (const auto& [item, drawn] : {std::pair<size_t, size_t>{0, 0}, {1, 1}, {2, 2}, {3, 3}}) {
    const auto shots = draw_shots(squad, pool, pool, 4)[drawn];
    EXPECT_THAT(shots, testing::SizeIs(3));
    EXPECT_THAT(shots, testing::Not(testing::Contains(item)));
  }
}

TEST(FewShot, TooSmallAPoolIsRefused) {
  const EvalTask gsm8k = find_eval_task("gsm8k", EvalStyle::kLmEval);
  const auto pool = items_of(gsm8k, many(kGsm8k, 4));
  EXPECT_THROW(draw_shots(gsm8k, pool, pool, 1), DataError);
}

TEST(Prompt, ShotsStandBeforeTheQuestionWithTheirAnswers) {
  const EvalTask gsm8k = find_eval_task("gsm8k", EvalStyle::kLmEval);
  const TaskItem item = items_of(gsm8k, kGsm8k).at(0);
  EXPECT_EQ(PromptWriter(gsm8k, {}, "").prompt(item, {&item}),
            "Question: 1+1?\nAnswer: It is 2.\n#### 2\n\nQuestion: 1+1?\nAnswer:");
}

TEST(Prompt, OpenCompassJoinsPartsByNewlines) {
  const EvalTask gsm8k = find_eval_task("gsm8k", EvalStyle::kOpenCompass);
  const TaskItem item = items_of(gsm8k, kGsm8k).at(0);
  EXPECT_EQ(item.golds, std::vector<std::string>{"2"});
  EXPECT_EQ(PromptWriter(gsm8k, {}, "").prompt(item, {&item}),
            "Question: 1+1?\nLet's think step by step\nAnswer:\nIt is 2.\n#### 2\n"
            "Question: 1+1?\nLet's think step by step\nAnswer:");
}

TEST(FewShot, PoolWithoutOtherQuestionsIsNamed) {
  EvalTask triviaqa = find_eval_task("triviaqa", EvalStyle::kLmEval);
  triviaqa.num_fewshot = 1;
  const std::string row = R"({"question":"q","answer":{"aliases":["a"]}})";
  const auto pool = items_of(triviaqa, row + "\n" + row + "\n" + row);
  try {
    draw_shots(triviaqa, pool, pool, 1);
    FAIL();
  } catch (const DataError& e) {
    EXPECT_THAT(e.what(), HasSubstr("test.jsonl: expected 1 questions other than that of"));
  }
}

TEST(Prompt, ColumnThatIsMissingIsNamedWithThoseThatAreThere) {
  EvalTask gsm8k = find_eval_task("gsm8k", EvalStyle::kLmEval);
  gsm8k.prompt.question = "Question: {{qestion}}\nAnswer:";
  const TaskItem item = items_of(gsm8k, kGsm8k).at(0);
  try {
    PromptWriter(gsm8k, {}, "").prompt(item, {});
    FAIL();
  } catch (const DataError& e) {
    EXPECT_THAT(e.what(), HasSubstr("test.jsonl:1: "));
    EXPECT_THAT(e.what(), HasSubstr("'qestion' is undefined"));
    EXPECT_THAT(e.what(), HasSubstr("columns: answer, question"));
  }
}

TEST(Prompt, TemplateMayAskWhetherAColumnIsThere) {
  EvalTask gsm8k = find_eval_task("gsm8k", EvalStyle::kLmEval);
  gsm8k.prompt.question = "{% if hint %}x{% endif %}{{ hint | default('y') }}{{ 'z' if hint is defined else 'n' }}";
  EXPECT_EQ(PromptWriter(gsm8k, {}, "").prompt(items_of(gsm8k, kGsm8k).at(0), {}), "yn");
}

TEST(Prompt, LargestUnsignedColumnKeepsItsDigits) {
  EvalTask gsm8k = find_eval_task("gsm8k", EvalStyle::kLmEval);
  gsm8k.prompt.question = "{{ n }}";
  const TaskItem item = items_of(gsm8k, R"({"question":"q","answer":"#### 1","n":18446744073709551615})").at(0);
  EXPECT_EQ(PromptWriter(gsm8k, {}, "").prompt(item, {}), "18446744073709551615");
}

TEST(Prompt, TemplateOfTheUserSeesAllColumns) {
  EvalTask gsm8k = find_eval_task("gsm8k", EvalStyle::kLmEval);
  gsm8k.prompt.question = "{{ answer | length }} {{ question }}";
  const TaskItem item = items_of(gsm8k, kGsm8k).at(0);
  EXPECT_EQ(PromptWriter(gsm8k, {}, "S ").prompt(item, {}), "S 15 1+1?");
  gsm8k.prompt.question = "{{ question";
  EXPECT_THROW(PromptWriter(gsm8k, {}, ""), ConfigError);
}

}  // namespace
}  // namespace qtune
