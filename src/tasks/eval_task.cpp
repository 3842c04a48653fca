#include "qtune/tasks/eval_task.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "qtune/base/error.h"
#include "qtune/jinja/python_text.h"
#include "qtune/tasks/answer_text.h"
#include "qtune/tasks/math_answer.h"
#include "read_items.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

AnswerScore score_gsm8k(const TaskItem& item, const std::string& answer) {
  const std::string strict = strict_number(answer), flexible = last_number(answer);
  return {.metrics = {{"exact_match,strict-match", same_gsm8k_answer(strict, item.golds[0]) ? 1 : 0},
                      {"exact_match,flexible-extract", same_gsm8k_answer(flexible, item.golds[0]) ? 1 : 0}},
          .extracted = {{"strict-match", strict}, {"flexible-extract", flexible}}};
}

AnswerScore score_opencompass_gsm8k(const TaskItem& item, const std::string& answer) {
  const std::string number = opencompass_number(answer);
  return {.metrics = {{"accuracy", same_opencompass_number(number, item.golds[0]) ? 1 : 0}},
          .extracted = {{"accuracy", number}}};
}

AnswerScore score_squad(const TaskItem& item, const std::string& answer) {
  const SquadScore score = squad_score(item.golds, answer);
  const std::string kind = item.golds.empty() ? "NoAns" : "HasAns";
  return {
      .metrics = {{"exact", score.exact}, {"f1", score.f1}, {kind + "_exact", score.exact}, {kind + "_f1", score.f1}},
      .extracted = {{"exact", normalize_squad_answer(answer)}}};
}

AnswerScore score_triviaqa(const TaskItem& item, const std::string& answer) {
  const std::string stripped(python_strip(answer));
  return {.metrics = {{"exact_match", matches_alias(item.golds, stripped) ? 1 : 0}},
          .extracted = {{"exact_match", stripped}}};
}

AnswerScore score_math(const TaskItem& item, const std::string& answer) {
  const std::string between(dollar_answer(answer));
  const auto boxed = last_boxed_answer(answer);
  return {.metrics = {{"exact_match", same_math_answer(between, item.golds[0]) ? 1 : 0},
                      {"boxed_match", boxed && same_math_answer(*boxed, item.golds[0]) ? 1 : 0}},
          .extracted = {{"exact_match", between}, {"boxed_match", boxed ? nlohmann::ordered_json(*boxed) : nullptr}}};
}

/// Prompts, shots, stop texts and rules of lm-evaluation-harness 0.4.13, lm_eval/tasks/.
std::vector<EvalTask> lm_eval_tasks() {
  EvalTask arc{.name = "arc_easy",
               .kind = TaskKind::kRanking,
               .prompt = {.question = "Question: {{question}}\nAnswer:"},
               .splits = {"test", "validation"},
               .shot_splits = {"train", "validation", "test"},
               .read = read_arc};
  EvalTask arc_challenge = arc;
  arc_challenge.name = "arc_challenge";
  return {arc,
          arc_challenge,
          {.name = "gsm8k",
           .prompt = {.question = "Question: {{question}}\nAnswer:"},
           .num_fewshot = 5,
           .stop_texts = {"Question:", "</s>", "<|im_end|>"},
           .read = read_gsm8k,
           .score = score_gsm8k},
          {.name = "squad",
           .prompt = {.question = "Title: {{title}}\n\nBackground: {{context}}\n\nQuestion: {{question}}\n\nAnswer:"},
           .splits = {"validation"},
           .shot_splits = {"train", "validation"},
           .stop_texts = {"\n"},
           .draws_one_more = true,
           .read = read_squad,
           .score = score_squad},
          {.name = "triviaqa",
           .prompt = {.question = "Question: {{question}}?\nAnswer:"},
           .splits = {"validation"},
           .shot_splits = {"train", "validation"},
           .stop_texts = {"\n", ".", ","},
           .draws_one_more = true,
           .read = read_triviaqa,
           .score = score_triviaqa},
          {.name = "math",
           .prompt = {.question = "Problem: {{problem}}\nAnswer:"},
           .shot_splits = {"train", "test"},
           .stop_texts = {"Problem:"},
           .read = read_math,
           .score = score_math}};
}

/// ARC_{e,c}_ppl_a450bd and gsm8k_gen_1d7fe4 of OpenCompass. Parts of a round are joined by a newline where a model has
/// no template of its own (LMTemplateParser).
std::vector<EvalTask> opencompass_tasks() {
  EvalTask arc{.name = "arc_easy",
               .kind = TaskKind::kWholeTextRanking,
               .prompt = {.question = "Question: {{question}}\nAnswer: ", .before_answer = "\n", .after_answer = "\n"},
               .splits = {"validation"},
               .skips = [](const TaskItem& item) { return item.choices.size() != 4; },
               .read = read_arc};
  EvalTask arc_challenge = arc;
  arc_challenge.name = "arc_challenge";
  // All behind the next "Question:" is not looked at, so nothing is lost by stopping there.
  return {arc,
          arc_challenge,
          {.name = "gsm8k",
           .prompt = {.question = "Question: {{question}}\nLet's think step by step\nAnswer:",
                      .before_answer = "\n",
                      .after_answer = "\n"},
           .shot_splits = {"opencompass_shots", "train"},
           .num_fewshot = 4,
           .stop_texts = {"Question:"},
           .max_new_tokens = 512,
           .first_shots = true,
           .read = read_opencompass_gsm8k,
           .score = score_opencompass_gsm8k}};
}

size_t first_largest(const std::vector<double>& values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

}  // namespace

const char* eval_style_name(EvalStyle style) { return style == EvalStyle::kLmEval ? "lm-eval" : "opencompass"; }

std::vector<std::string> eval_task_names() {
  std::vector<std::string> names;
  for (const EvalTask& task : lm_eval_tasks()) names.push_back(task.name);
  return names;
}

EvalTask find_eval_task(const std::string& name, EvalStyle style) {
  std::vector<std::string> names;
  for (EvalTask& task : style == EvalStyle::kLmEval ? lm_eval_tasks() : opencompass_tasks()) {
    if (task.name == name) return std::move(task);
    names.push_back(task.name);
  }
  const std::vector<std::string> all = eval_task_names();
  if (std::find(all.begin(), all.end(), name) != all.end()) {
    throw ConfigError(fmt::format("--tasks: expected one of {} in the style opencompass, found {} ---> --style lm-eval",
                                  fmt::join(names, ", "), name));
  }
  names.emplace_back("loss");
  const std::string near = nearest_name(name, names);
  throw ConfigError(fmt::format("--tasks: expected some of {}, found \"{}\"{}", fmt::join(names, ", "), name,
                                near.empty() ? "" : " ---> did you mean " + near + "?"));
}

AnswerScore score_ranking(const TaskItem& item, const std::vector<double>& logprobs) {
  std::vector<double> normalized;
  for (size_t i = 0; i < logprobs.size(); ++i) {
    // Without a character: -inf, as lm-eval's division gives it.
    normalized.push_back(logprobs[i] / static_cast<double>(num_characters(item.choices[i])));
  }
  const size_t best = first_largest(logprobs), best_normalized = first_largest(normalized);
  return {
      .metrics = {{"acc", best == item.gold_choice ? 1 : 0}, {"acc_norm", best_normalized == item.gold_choice ? 1 : 0}},
      .extracted = {{"acc", best}, {"acc_norm", best_normalized}}};
}

AnswerScore score_whole_texts(const TaskItem& item, const std::vector<double>& mean_nll) {
  const auto best = static_cast<size_t>(std::min_element(mean_nll.begin(), mean_nll.end()) - mean_nll.begin());
  return {.metrics = {{"accuracy", best == item.gold_choice ? 1 : 0}}, .extracted = {{"accuracy", best}}};
}

fs::path task_file(const fs::path& folder, const std::vector<std::string>& splits) {
  for (const std::string& split : splits) {
    for (const char* kind : {".jsonl", ".json", ".parquet"}) {
      const fs::path file = folder / (split + kind);
      if (fs::is_regular_file(file)) return file;
    }
  }
  throw DataError(
      fmt::format("{}: expected a file {}.jsonl, .json or .parquet, found none ---> put the data there, or name "
                  "another --data-dir",
                  folder.string(), fmt::join(splits, " or ")));
}

std::vector<TaskItem> read_task_items(const EvalTask& task, const fs::path& file) {
  std::vector<DataRow> rows = read_rows(file.string());
  const bool nested = task.read == read_squad && rows.size() == 1 && rows[0].value.contains("data");
  if (nested) rows = unfold_squad(rows[0]);
  std::vector<TaskItem> items;
  for (const DataRow& row : rows) {
    TaskItem item = task.read(row);
    if (task.skips == nullptr || !task.skips(item)) items.push_back(std::move(item));
  }
  if (items.empty())
    throw DataError(
        fmt::format("{}: expected questions for {}, found none ---> check the file", file.string(), task.name));
  return items;
}

}  // namespace qtune
