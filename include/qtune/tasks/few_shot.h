// Prompts: shots drawn as the harnesses draw them, and the text that a question becomes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "qtune/jinja/template.h"
#include "qtune/tasks/eval_task.h"
#include "qtune/text/chat_template.h"

namespace qtune {

inline constexpr uint64_t kFewShotSeed = 1234;  // lm-eval's

/// Indices into `pool` of the shots of each of the first `num_items` items. One stream of draws for all, so an item's
/// shots don't depend on how many are asked.
/// Empty: without shots the lists are empty. Throws: DataError for a pool that is too small.
std::vector<std::vector<size_t>> draw_shots(const EvalTask& task, const std::vector<TaskItem>& items,
                                            const std::vector<TaskItem>& pool, size_t num_items);

/// How shots go into a chat template.
enum class ShotTurns {
  kMultiTurn,   // each is a turn of the user and one of the assistant (lm-eval's default)
  kOneMessage,  // all in the user's one message
};

/// From an item and its shots to the text that a model sees.
class PromptWriter {
 public:
  struct Chat {
    const ChatTemplate* chat_template = nullptr;  // null: plain text
    ShotTurns turns = ShotTurns::kMultiTurn;
  };

  /// `system` stands before all, "" for none. Throws: ConfigError naming the task for a template that can't be parsed.
  PromptWriter(const EvalTask& task, Chat chat, std::string system);

  /// Throws: DataError with file:line for a column that the template misses.
  std::string prompt(const TaskItem& item, const std::vector<const TaskItem*>& shots) const;

  /// What stands between the prompt and an answer: nothing behind a chat template.
  const std::string& before_answer() const { return before_answer_; }

 private:
  std::string question(const TaskItem& item) const;
  std::string plain_text(const TaskItem& item, const std::vector<const TaskItem*>& shots) const;

  PromptText text_;
  Chat chat_;
  std::string system_, before_answer_;
  std::shared_ptr<const JinjaTemplate> template_;
};

}  // namespace qtune
