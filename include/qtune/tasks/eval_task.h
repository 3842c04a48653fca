// Evaluation tasks: what is asked, which shots stand before it, and how an answer is scored. No model here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "qtune/data/rows.h"

namespace qtune {

/// Whose conventions hold. Numbers of two styles can't be compared.
enum class EvalStyle { kLmEval, kOpenCompass };
const char* eval_style_name(EvalStyle style);

enum class TaskKind {
  kRanking,           // the likeliest of several answers, given the question
  kWholeTextRanking,  // the likeliest of several texts, each question and answer
  kGeneration,        // text up to a stop text
};

/// One question.
struct TaskItem {
  SampleId id;
  nlohmann::json columns;            // what prompt templates see
  std::string target;                // the answer as a shot shows it
  std::vector<std::string> choices;  // of rankings
  size_t gold_choice = 0;            // of rankings
  std::vector<std::string> golds;    // of generations; may be empty (SQuAD's unanswerable questions)
};

/// Named values, in the order in which they are shown. Fractions, 0 to 1.
using MetricValues = std::vector<std::pair<std::string, double>>;

struct AnswerScore {
  MetricValues metrics;
  nlohmann::ordered_json extracted;  // what of the text was compared, by metric
};

/// How the text between a question, its answer and the next question looks without a chat template.
struct PromptText {
  std::string question;  // a Jinja template over a row's columns
  std::string before_answer = " ", after_answer = "\n\n";
};

struct EvalTask {
  std::string name;
  TaskKind kind = TaskKind::kGeneration;
  PromptText prompt;
  std::vector<std::string> splits = {"test"};        // the first that the task's folder has is asked
  std::vector<std::string> shot_splits = {"train"};  // the first that it has gives the shots
  int64_t num_fewshot = 0;
  std::vector<std::string> stop_texts;  // of generations
  int64_t max_new_tokens = 256;         // of generations
  /// lm-eval's rule for tasks without a test split: one shot more is drawn, and the question itself left out.
  bool draws_one_more = false;
  /// Shots are the file's first rows, not drawn.
  bool first_shots = false;
  /// Rows that are passed over (OpenCompass: questions without exactly four choices).
  bool (*skips)(const TaskItem& item) = nullptr;
  /// Throws: DataError with file:line, naming the column that is missing or of another kind.
  TaskItem (*read)(const DataRow& row) = nullptr;
  AnswerScore (*score)(const TaskItem& item, const std::string& answer) = nullptr;  // of generations
};

/// Throws: ConfigError for an unknown name (with the nearest one), or one that `style` does not have.
EvalTask find_eval_task(const std::string& name, EvalStyle style);
std::vector<std::string> eval_task_names();

/// Metrics of a ranking. `logprobs`: of each choice, natural logarithms. Ties: the first. acc_norm divides by the
/// choice's characters.
AnswerScore score_ranking(const TaskItem& item, const std::vector<double>& logprobs);
/// The same of whole texts: the least mean negative log-likelihood.
AnswerScore score_whole_texts(const TaskItem& item, const std::vector<double>& mean_nll);

/// The file of the first of `splits` that `folder` has: <split>.jsonl, .json or .parquet.
/// Throws: DataError naming the folder and what was looked for.
std::filesystem::path task_file(const std::filesystem::path& folder, const std::vector<std::string>& splits);

/// The task's items in `file`, in their order, those it skips left out. SQuAD's own nested JSON is unfolded.
std::vector<TaskItem> read_task_items(const EvalTask& task, const std::filesystem::path& file);

}  // namespace qtune
