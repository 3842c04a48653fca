#include "qtune/tasks/few_shot.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdint>
#include <numeric>

#include "qtune/base/error.h"
#include "qtune/tasks/python_random.h"

namespace qtune {
namespace {

using Json = nlohmann::json;

JinjaValue to_jinja(const Json& json) {
  if (json.is_null()) return JinjaValue::none();
  if (json.is_boolean()) return JinjaValue::boolean(json.get<bool>());
  // Larger than a template's integers: its digits, which print as Python's do.
  if (json.is_number_unsigned() && json.get<uint64_t>() > uint64_t{INT64_MAX}) return JinjaValue::text(json.dump());
  if (json.is_number_integer()) return JinjaValue::integer(json.get<int64_t>());
  if (json.is_number()) return JinjaValue::real(json.get<double>());
  if (json.is_string()) return JinjaValue::text(json.get<std::string>());
  if (json.is_array()) {
    std::vector<JinjaValue> items;
    for (const Json& item : json) items.push_back(to_jinja(item));
    return JinjaValue::list(std::move(items));
  }
  std::vector<std::pair<JinjaValue, JinjaValue>> entries;
  for (const auto& [key, value] : json.items()) entries.emplace_back(JinjaValue::text(key), to_jinja(value));
  return JinjaValue::dict(std::move(entries));
}

/// lm-eval's rule where the shots may hold the question: one more is drawn, the question is left out.
std::vector<size_t> draw_others(PythonRandom& random, const TaskItem& item, const std::vector<TaskItem>& pool,
                                size_t count) {
  const auto is_other = [&](size_t i) { return pool[i].columns != item.columns; };
  std::vector<size_t> drawn = random.sample(pool.size(), count + 1);
  std::erase_if(drawn, [&](size_t i) { return !is_other(i); });
  if (drawn.size() < count) {  // the pool has the question several times
    std::vector<size_t> others;
    for (size_t i = 0; i < pool.size(); ++i) {
      if (is_other(i)) others.push_back(i);
    }
    if (others.size() < count) {
      throw DataError(
          fmt::format("{}: expected {} questions other than that of {} to draw shots from, found {} ---> "
                      "lower --num-fewshot",
                      pool[0].id.file, count, item.id.place(), others.size()));
    }
    drawn.clear();
    for (const size_t i : random.sample(others.size(), count)) drawn.push_back(others[i]);
  }
  drawn.resize(count);
  return drawn;
}

}  // namespace

std::vector<std::vector<size_t>> draw_shots(const EvalTask& task, const std::vector<TaskItem>& items,
                                            const std::vector<TaskItem>& pool, size_t num_items) {
  std::vector<std::vector<size_t>> shots(num_items);
  const auto count = static_cast<size_t>(task.num_fewshot);
  if (count == 0) return shots;
  const size_t needed = count + (task.draws_one_more ? 1 : 0);
  if (pool.size() < needed) {
    throw DataError(
        fmt::format("{}: expected at least {} questions to draw {} shots from, found {} ---> lower --num-fewshot",
                    pool.empty() ? task.name : pool[0].id.file, needed, count, pool.size()));
  }
  PythonRandom random(kFewShotSeed);
  for (size_t i = 0; i < num_items; ++i) {
    if (task.first_shots) {
      shots[i].resize(count);
      std::iota(shots[i].begin(), shots[i].end(), size_t{0});
    } else {
      shots[i] = task.draws_one_more ? draw_others(random, items[i], pool, count) : random.sample(pool.size(), count);
    }
  }
  return shots;
}

PromptWriter::PromptWriter(const EvalTask& task, Chat chat, std::string system)
    : text_(task.prompt), chat_(chat), system_(std::move(system)) {
  if (chat_.chat_template == nullptr) before_answer_ = text_.before_answer;
  try {
    template_ = JinjaTemplate::parse(text_.question);
  } catch (const JinjaError& e) {
    throw ConfigError(fmt::format("--prompt {}: expected a Jinja template, found a fault: {}", task.name, e.what()));
  }
}

std::string PromptWriter::question(const TaskItem& item) const {
  JinjaContext context;
  for (const auto& [key, value] : item.columns.items()) context.emplace_back(key, to_jinja(value));
  try {
    return template_->render(context, {}, JinjaUndefined::kError).text;
  } catch (const JinjaError& e) {
    std::vector<std::string> columns;
    for (const auto& [key, value] : item.columns.items()) columns.push_back(key);
    throw DataError(fmt::format(
        "{}: expected what the prompt's template asks for, found: {} ---> the row's columns: {}; see --prompt",
        item.id.place(), e.what(), fmt::join(columns, ", ")));
  }
}

std::string PromptWriter::plain_text(const TaskItem& item, const std::vector<const TaskItem*>& shots) const {
  std::string text;
  for (const TaskItem* shot : shots) text += question(*shot) + text_.before_answer + shot->target + text_.after_answer;
  return text + question(item);
}

std::string PromptWriter::prompt(const TaskItem& item, const std::vector<const TaskItem*>& shots) const {
  if (chat_.chat_template == nullptr) return system_ + plain_text(item, shots);
  std::vector<Message> messages;
  if (!system_.empty()) messages.push_back({Role::kSystem, system_});
  if (chat_.turns == ShotTurns::kOneMessage) {
    messages.push_back({Role::kUser, plain_text(item, shots)});
  } else {
    for (const TaskItem* shot : shots) {
      messages.push_back({Role::kUser, question(*shot)});
      messages.push_back({Role::kAssistant, shot->target});
    }
    messages.push_back({Role::kUser, question(item)});
  }
  try {
    return chat_.chat_template->render_prompt(messages);
  } catch (const DataError& e) {
    throw DataError(fmt::format("{}: {}", item.id.place(), e.what()));
  }
}

}  // namespace qtune
