#include <fmt/format.h>

#include <algorithm>

#include "qtune/base/error.h"
#include "qtune/base/hash.h"
#include "qtune/base/log.h"
#include "qtune/eval/run_task.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

const char* kind_name(TaskKind kind) {
  switch (kind) {
    case TaskKind::kRanking:
      return "log-likelihood of each choice";
    case TaskKind::kWholeTextRanking:
      return "mean loss of question and choice together";
    case TaskKind::kGeneration:
      break;
  }
  return "greedy text";
}

Json convention_of(const EvalTask& task, const EvalTexts& texts, const EvalSettings& settings) {
  Json c = {{"task", task.name},
            {"style", eval_style_name(settings.style)},
            {"answered_by", kind_name(task.kind)},
            {"prompt", task.prompt.question},
            {"before_answer", task.prompt.before_answer},
            {"after_answer", task.prompt.after_answer},
            {"num_fewshot", task.num_fewshot},
            {"fewshot", task.first_shots ? "first" : "drawn, seed " + std::to_string(kFewShotSeed)},
            {"system", settings.system},
            {"chat_template", texts.chat_template ? Json(texts.chat_template->name()) : Json()}};
  if (texts.chat_template) c["fewshot_turns"] = settings.turns == ShotTurns::kMultiTurn ? "multi" : "one";
  if (task.kind == TaskKind::kGeneration) {
    c["stop_texts"] = task.stop_texts;
    c["max_new_tokens"] = task.max_new_tokens;
  }
  return c;
}

void check_combination(const EvalTask& task, const EvalTexts& texts) {
  if (task.kind == TaskKind::kWholeTextRanking && texts.chat_template) {
    throw ConfigError(
        fmt::format("--tasks {}: expected a plain prompt, found --apply-chat-template: OpenCompass ranks texts "
                    "of base models only ---> --style lm-eval",
                    task.name));
  }
}

}  // namespace

PreparedTask prepare_task(const EvalTask& task, const EvalTexts& texts, const EvalSettings& settings) {
  check_combination(task, texts);
  const fs::path folder = settings.data_dir / task.name;
  const fs::path file = task_file(folder, task.splits);
  PreparedTask prepared{.task = task, .items = read_task_items(task, file)};
  prepared.convention = convention_of(task, texts, settings);
  prepared.settings = prepared.convention;
  prepared.settings["data"] = {{"file", fs::weakly_canonical(file).string()}, {"hash", hex64(hash_file(file))}};
  std::vector<TaskItem> pool;
  if (task.num_fewshot > 0) {
    const fs::path shots = task_file(folder, task.shot_splits);
    if (task.first_shots && shots.stem() != task.shot_splits[0]) {
      spdlog::warn("{}: the shots are {}'s first rows, not OpenCompass' own ---> see docs/evaluation.md", task.name,
                   shots.string());
    }
    if (shots == file && !task.draws_one_more && !task.first_shots) {
      prepared.task.draws_one_more = true;  // else a question's own answer could stand before it
      prepared.convention["fewshot"] = prepared.convention["fewshot"].get<std::string>() + ", the question left out";
      prepared.settings["fewshot"] = prepared.convention["fewshot"];
    }
    pool = shots == file ? prepared.items : read_task_items(task, shots);
    prepared.settings["shots"] = {{"file", fs::weakly_canonical(shots).string()}, {"hash", hex64(hash_file(shots))}};
    prepared.convention["shots"] = prepared.settings["shots"]["hash"];
  }
  prepared.settings.update(settings.identity);
  if (settings.limit > 0) prepared.items.resize(std::min(prepared.items.size(), settings.limit));
  const auto shots = draw_shots(prepared.task, prepared.items, pool, prepared.items.size());
  const PromptWriter writer(task, {.chat_template = texts.chat_template, .turns = settings.turns}, settings.system);
  prepared.before_answer = writer.before_answer();
  for (size_t i = 0; i < prepared.items.size(); ++i) {
    std::vector<const TaskItem*> before;
    for (const size_t shot : shots[i]) before.push_back(&pool[shot]);
    prepared.prompts.push_back(writer.prompt(prepared.items[i], before));
  }
  return prepared;
}

}  // namespace qtune
