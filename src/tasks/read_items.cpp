// From rows in the columns that were published to the items of a task.
#include "read_items.h"

#include <fmt/format.h>

#include <algorithm>

#include "qtune/base/error.h"
#include "qtune/tasks/answer_text.h"
#include "qtune/tasks/math_answer.h"

namespace qtune {
namespace {

using Json = nlohmann::json;

[[noreturn]] void refuse(const DataRow& row, const std::string& expected, const std::string& found) {
  throw DataError(fmt::format("{}: expected {}, found {} ---> see docs/evaluation.md for the columns of each task",
                              row.id.place(), expected, found));
}

std::string keys_of(const Json& object) {
  std::string keys;
  for (const auto& [key, value] : object.items()) keys += (keys.empty() ? "" : ", ") + key;
  return keys.empty() ? "none" : keys;
}

/// A column, or a part of one: "answers.text".
const Json& part_of(const DataRow& row, const std::string& path) {
  const Json* at = &row.value;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    const std::string key = path.substr(begin, end - begin);
    if (!at->is_object() || !at->contains(key)) {
      refuse(row, fmt::format("a column {}", path), at->is_object() ? "the columns " + keys_of(*at) : at->type_name());
    }
    at = &(*at)[key];
    begin = end + 1;
  }
  return *at;
}

std::string text_of(const DataRow& row, const std::string& path) {
  const Json& value = part_of(row, path);
  if (!value.is_string()) refuse(row, fmt::format("text in {}", path), value.type_name());
  return value.get<std::string>();
}

const Json& list_of(const DataRow& row, const std::string& path) {
  const Json& list = part_of(row, path);
  if (!list.is_array()) refuse(row, fmt::format("a list in {}", path), list.type_name());
  return list;
}

std::vector<std::string> texts_of(const DataRow& row, const std::string& path) {
  std::vector<std::string> texts;
  for (const Json& text : list_of(row, path)) {
    if (!text.is_string())
      refuse(row, fmt::format("a list of texts in {}", path), fmt::format("{} in it", text.type_name()));
    texts.push_back(text);
  }
  return texts;
}

DataRow squad_row(const DataRow& article, const DataRow& paragraph, const DataRow& question) {
  Json texts = Json::array();
  for (const Json& answer : list_of(question, "answers")) {
    texts.push_back(text_of(DataRow{.value = answer, .id = question.id}, "text"));
  }
  return {.value = {{"title", text_of(article, "title")},
                    {"context", text_of(paragraph, "context")},
                    {"question", text_of(question, "question")},
                    {"answers", {{"text", texts}}}},
          .id = question.id};
}

TaskItem start(const DataRow& row) { return {.id = row.id, .columns = row.value}; }

/// AI2's own form of ARC has the choices inside `question`; this is the hub's.
DataRow in_hub_form(const DataRow& row) {
  if (!row.value.contains("question") || !row.value["question"].is_object()) return row;
  DataRow flat = row;
  flat.value["question"] = text_of(row, "question.stem");
  Json texts = Json::array(), labels = Json::array();
  for (const Json& choice : list_of(row, "question.choices")) {
    const DataRow one{.value = choice, .id = row.id};
    texts.push_back(text_of(one, "text"));
    labels.push_back(text_of(one, "label"));
  }
  flat.value["choices"] = {{"text", texts}, {"label", labels}};
  return flat;
}

}  // namespace

TaskItem read_arc(const DataRow& published) {
  const DataRow row = in_hub_form(published);
  TaskItem item = start(row);
  text_of(row, "question");
  item.choices = texts_of(row, "choices.text");
  const std::vector<std::string> labels = texts_of(row, "choices.label");
  if (item.choices.empty() || labels.size() != item.choices.size()) {
    refuse(row, "a label for each of at least one choice",
           fmt::format("{} choices, {} labels", item.choices.size(), labels.size()));
  }
  const std::string key = text_of(row, "answerKey");
  const auto gold = std::find(labels.begin(), labels.end(), key);
  if (gold == labels.end()) refuse(row, "answerKey to be one of choices.label", '"' + key + '"');
  item.gold_choice = static_cast<size_t>(gold - labels.begin());
  item.target = item.choices[item.gold_choice];
  return item;
}

TaskItem read_gsm8k(const DataRow& row) {
  TaskItem item = start(row);
  text_of(row, "question");
  item.target = text_of(row, "answer");
  item.golds = {item.target};
  return item;
}

TaskItem read_opencompass_gsm8k(const DataRow& row) {
  TaskItem item = read_gsm8k(row);
  item.golds = {opencompass_gold(item.target)};
  return item;
}

TaskItem read_squad(const DataRow& row) {
  TaskItem item = start(row);
  for (const char* column : {"title", "context", "question"}) text_of(row, column);
  item.golds = texts_of(row, "answers.text");
  item.target = " " + (item.golds.empty() ? "unanswerable" : item.golds[0]);
  return item;
}

TaskItem read_triviaqa(const DataRow& row) {
  TaskItem item = start(row);
  text_of(row, "question");
  item.golds = texts_of(row, "answer.aliases");
  if (item.golds.empty()) refuse(row, "at least one text in answer.aliases", "none");
  item.target = item.golds[0];
  return item;
}

TaskItem read_math(const DataRow& row) {
  TaskItem item = start(row);
  text_of(row, "problem");
  const auto answer = last_boxed_answer(text_of(row, "solution"));
  if (!answer) refuse(row, "a \\boxed{...} in solution", "none");
  item.golds = {*answer};
  item.target = *answer;
  return item;
}

std::vector<DataRow> unfold_squad(const DataRow& file) {
  std::vector<DataRow> rows;
  const auto inside = [&](const Json& value) { return DataRow{.value = value, .id = file.id}; };
  for (const Json& article_value : list_of(file, "data")) {
    const DataRow article = inside(article_value);
    for (const Json& paragraph_value : list_of(article, "paragraphs")) {
      const DataRow paragraph = inside(paragraph_value);
      for (const Json& question : list_of(paragraph, "qas"))
        rows.push_back(squad_row(article, paragraph, inside(question)));
    }
  }
  return rows;
}

}  // namespace qtune
