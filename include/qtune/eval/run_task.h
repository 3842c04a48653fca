// One evaluation task on one model: prompts, answers, scores, and the files that tell of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "qtune/eval/text_stream.h"
#include "qtune/model/model.h"
#include "qtune/tasks/eval_task.h"
#include "qtune/tasks/few_shot.h"
#include "qtune/text/tokenizer.h"

namespace qtune {

/// What of a model's folder is needed besides the weights.
struct EvalTexts {
  const Tokenizer* tokenizer = nullptr;
  const ChatTemplate* chat_template = nullptr;  // null: prompts are plain text
  std::optional<int32_t> text_start;            // stands before a text that does not begin with it
  std::vector<int32_t> stop_ids;                // end an answer
  TextStream::Options stream;                   // its stop texts are the task's
  int64_t max_positions = 0;
};

struct EvalSettings {
  EvalStyle style = EvalStyle::kLmEval;
  std::filesystem::path data_dir, out;
  size_t limit = 0;  // only the first so many items; 0: all
  int64_t batch_size = 16;
  ShotTurns turns = ShotTurns::kMultiTurn;
  std::string system;
  /// What decides on answers besides the task: model, adapter, dtype. Evaluations that differ in it don't continue each
  /// other.
  nlohmann::ordered_json identity;
};

/// A task with its items and prompts; no weights were needed.
struct PreparedTask {
  EvalTask task;
  std::vector<TaskItem> items;        // the first `limit`
  std::vector<std::string> prompts;   // of each item
  std::string before_answer;          // between a prompt and a choice
  nlohmann::ordered_json convention;  // style, prompt, shots, ...: its hash names a way of asking
  nlohmann::ordered_json settings;    // that, the data's files and the identity
};

/// Mean of one metric over a task's items.
struct MetricResult {
  std::string task, metric;
  double value = 0;
  double stderr_value = 0;  // sample standard deviation / sqrt(n); NaN for one item
  size_t n = 0;
  int64_t shots = 0;
  std::string style, config_hash;
};

/// Reads the task's files under data_dir/<task name> and writes its prompts.
/// Throws: DataError, ConfigError as the readers.
PreparedTask prepare_task(const EvalTask& task, const EvalTexts& texts, const EvalSettings& settings);

/// Answers the items that settings.out/<task>.jsonl does not have yet, a line each as it comes, and scores all.
/// Prompts too long for the model lose their start: a warning tells of how many, their lines have "cut" and
/// "uncut_tokens".
/// Throws: ConfigError where that file was made with other settings; DataError with file:line for an empty prompt or a
/// choice longer than the positions; NonFiniteError; Error when it can't be written, or a StopSignals was told to stop.
std::vector<MetricResult> run_task(Model& model, const EvalTexts& texts, const PreparedTask& task,
                                   const EvalSettings& settings);

/// Tokens of a continuation of `context`: those of both together behind as many as the context alone has. White space
/// at the context's end belongs to the continuation (lm-eval's rule).
/// Throws: DataError where nothing is left for the continuation.
struct EncodedPair {
  std::vector<int32_t> context, continuation;
};
EncodedPair encode_pair(const EvalTexts& texts, const std::string& context, const std::string& continuation);

/// What results.json and the table show.
nlohmann::ordered_json results_json(const std::vector<MetricResult>& results);
std::string results_table(const std::vector<MetricResult>& results);

}  // namespace qtune
