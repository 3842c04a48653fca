#include "convert_record.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "qtune/base/log.h"

namespace qtune {
namespace {

using nlohmann::json;

BadRecord bad(const JsonRecord& record, const std::string& expected, const std::string& found) {
  return BadRecord(fmt::format("{}: expected {}, found {}{}", record.place, expected, found, kFixLineHint));
}

/// Names of the keys of an object, for messages; not more than a line's worth.
std::string keys_of(const json& object) {
  std::string names;
  for (const auto& item : object.items()) {
    if (names.size() > 100) return names + ", ...";
    // Keys are the file's words: shortened and escaped, so that the message stays one line.
    names += (names.empty() ? "" : ", ") +
             json(item.key().substr(0, 40)).dump(-1, ' ', true, json::error_handler_t::replace);
  }
  return names.empty() ? "no keys" : "keys " + names;
}

std::string shown(const std::string& text) {
  return json(text.substr(0, 40)).dump(-1, ' ', true, json::error_handler_t::replace);
}

const json* find(const json& object, const std::string& key) {
  if (key.empty()) return nullptr;
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

/// The string under a key that must be there.
const std::string& string_at(const JsonRecord& record, const json& object, const std::string& key,
                             const std::string& where) {
  const auto it = object.find(key);
  if (it == object.end()) throw bad(record, fmt::format("key \"{}\"{}", key, where), keys_of(object));
  if (!it->is_string()) throw bad(record, fmt::format("a string under \"{}\"{}", key, where), it->type_name());
  return it->get_ref<const std::string&>();
}

/// The string under a key that may be missing or null; "" then.
std::string optional_string(const JsonRecord& record, const std::string& key) {
  const json* value = find(record.value, key);
  if (value == nullptr) return "";
  if (!value->is_string()) throw bad(record, fmt::format("a string under \"{}\"", key), value->type_name());
  return value->get<std::string>();
}

SampleId sample_id(const DatasetSpec& spec, const JsonRecord& record) {
  SampleId id{.file = spec.file, .line = record.line, .record = ""};
  const json* own = find(record.value, "id");
  if (own != nullptr && own->is_string()) id.record = own->get<std::string>();
  if (own != nullptr && own->is_number()) {
    id.record = own->dump();
    id.is_number = true;
  }
  return id;
}

/// Token ids: whole numbers in int32; `ignore_allowed`: also -100.
std::vector<int32_t> ids_at(const JsonRecord& record, const std::string& key, bool ignore_allowed) {
  const auto it = record.value.find(key);
  if (it == record.value.end()) throw bad(record, fmt::format("key \"{}\"", key), keys_of(record.value));
  if (!it->is_array()) throw bad(record, fmt::format("a list of token ids under \"{}\"", key), it->type_name());
  std::vector<int32_t> ids;
  ids.reserve(it->size());
  for (const json& value : *it) {
    const bool whole = value.is_number_integer();
    const bool fits = whole && (!value.is_number_unsigned() || value.get<uint64_t>() <= INT32_MAX);
    const int64_t id = fits ? value.get<int64_t>() : -1;
    if (!fits || (id < 0 && !(ignore_allowed && id == kIgnoreLabel))) {
      throw bad(record, fmt::format("token ids (whole numbers from 0) under \"{}\"", key),
                fmt::format("{} at index {}", whole ? value.dump() : value.type_name(), ids.size()));
    }
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

void require_assistant_turn(const JsonRecord& record, const Conversation& conversation) {
  for (const Message& message : conversation.messages) {
    if (message.role == Role::kAssistant) return;
  }
  throw bad(record, "at least one assistant turn",
            conversation.messages.empty() ? "no messages" : "only turns of other roles");
}

}  // namespace

RecordConverter::RecordConverter(const DatasetSpec& spec) : spec_(spec), form_(spec.formatting) {}

Record RecordConverter::convert(const JsonRecord& record) {
  if (!settled_) {
    if (form_ == Formatting::kAuto) detect(record);
    settle_columns();
    settle_tags(record);
  }
  SampleId id = sample_id(spec_, record);
  Record result = [&] {
    switch (form_) {
      case Formatting::kPretokenized:
        return convert_pretokenized(record, std::move(id));
      case Formatting::kOpenAi:
      case Formatting::kShareGpt:
        return convert_messages(record, std::move(id));
      default:
        return convert_turns(record, std::move(id));
    }
  }();
  if (!settled_) {
    settled_ = true;
    if (spec_.formatting == Formatting::kAuto) spdlog::info("{}: read as {}", spec_.file, to_string(form_));
    for (const char* key : {"tools", "images", "videos", "audios", "chosen", "rejected"}) {
      if (find(record.value, key) != nullptr) spdlog::warn("{}: key \"{}\" is not used", spec_.file, key);
    }
  }
  return result;
}

void RecordConverter::detect(const JsonRecord& record) {
  const json& object = record.value;
  const auto has = [&](const char* key) { return object.contains(key); };
  const auto named = [&](const char* part) { return spec_.columns.count(part) > 0; };
  const auto set = [&](Formatting form, const char* prompt = nullptr, const char* response = nullptr) {
    form_ = form;
    if (prompt != nullptr) prompt_ = prompt;
    if (response != nullptr) response_ = response;
  };
  prompt_.clear();
  response_.clear();
  if (named("messages")) return set(Formatting::kOpenAi);
  if (named("prompt") || named("response")) return set(Formatting::kAlpaca);
  if (has("input_ids")) return set(Formatting::kPretokenized);
  if (has("instruction") && has("output")) return set(Formatting::kAlpaca);
  if (has("messages")) return set(Formatting::kOpenAi);
  if (has("conversations")) return set(Formatting::kShareGpt);
  if (has("prompt") && has("completion")) return set(Formatting::kPromptCompletion);
  if (has("question") && has("answer")) return set(Formatting::kPromptCompletion, "question", "answer");
  throw BadRecord(fmt::format(
      "{}: expected the keys of a known form (messages | conversations | instruction, output | prompt, completion | "
      "question, answer | input_ids), found {} ---> name the keys with columns: {{prompt: ..., response: ...}}",
      record.place, keys_of(object)));
}

std::string RecordConverter::column(const char* part, const char* fallback, bool required) const {
  const auto it = spec_.columns.find(part);
  if (it != spec_.columns.end()) return it->second;
  return spec_.columns.empty() || required ? fallback : "";
}

void RecordConverter::settle_columns() {
  const bool pair = form_ == Formatting::kPromptCompletion;
  const std::string prompt = prompt_.empty() ? (pair ? "prompt" : "instruction") : prompt_;
  const std::string response = response_.empty() ? (pair ? "completion" : "output") : response_;
  prompt_ = column("prompt", prompt.c_str(), true);
  response_ = column("response", response.c_str(), true);
  query_ = column("query", pair ? "" : "input", false);
  history_ = column("history", pair ? "" : "history", false);
  system_ = column("system", "system", false);
  messages_ = column("messages", form_ == Formatting::kShareGpt ? "conversations" : "messages", true);
}

void RecordConverter::settle_tags(const JsonRecord& record) {
  // Both forms' own names are known in both: files in the wild mix them.
  roles_ = {{"system", Role::kSystem},       {"user", Role::kUser},     {"human", Role::kUser},
            {"assistant", Role::kAssistant}, {"gpt", Role::kAssistant}, {"tool", Role::kTool},
            {"observation", Role::kTool}};
  bool from_value = form_ == Formatting::kShareGpt;
  if (spec_.formatting == Formatting::kAuto) {
    const json* list = find(record.value, messages_);
    if (list != nullptr && list->is_array() && !list->empty() && list->front().is_object()) {
      from_value = list->front().contains("from") && !list->front().contains("role");
      if (form_ == Formatting::kShareGpt || form_ == Formatting::kOpenAi) {
        form_ = from_value ? Formatting::kShareGpt : Formatting::kOpenAi;
      }
    }
  }
  role_tag_ = from_value ? "from" : "role";
  content_tag_ = from_value ? "value" : "content";
  for (const auto& [tag, word] : spec_.tags) {
    if (tag == "role_tag") role_tag_ = word;
    if (tag == "content_tag") content_tag_ = word;
    if (tag == "user_tag") roles_[word] = Role::kUser;
    if (tag == "assistant_tag") roles_[word] = Role::kAssistant;
    if (tag == "system_tag") roles_[word] = Role::kSystem;
    if (tag == "observation_tag") roles_[word] = Role::kTool;
  }
}

Record RecordConverter::convert_turns(const JsonRecord& record, SampleId id) const {
  Conversation conversation{.id = std::move(id), .messages = {}};
  const std::string system = optional_string(record, system_);
  if (!system.empty()) conversation.messages.push_back({.role = Role::kSystem, .content = system});
  add_history(record, conversation);

  const json* prompt = find(record.value, prompt_);
  const json* response = find(record.value, response_);
  if (prompt != nullptr && response != nullptr && prompt->is_array() && response->is_array()) {
    add_messages(record, prompt_, *prompt, conversation);
    for (Message& message : conversation.messages) message.train = false;
    add_messages(record, response_, *response, conversation);
    require_assistant_turn(record, conversation);
    return conversation;
  }
  std::string text = string_at(record, record.value, prompt_, "");
  const std::string query = optional_string(record, query_);
  if (!query.empty()) text += (text.empty() ? "" : "\n") + query;
  conversation.messages.push_back({.role = Role::kUser, .content = std::move(text)});
  conversation.messages.push_back(
      {.role = Role::kAssistant, .content = string_at(record, record.value, response_, "")});
  return conversation;
}

void RecordConverter::add_history(const JsonRecord& record, Conversation& conversation) const {
  const json* history = find(record.value, history_);
  if (history == nullptr) return;
  const auto is_pair = [](const json& turn) {
    return turn.is_array() && turn.size() == 2 && turn[0].is_string() && turn[1].is_string();
  };
  if (!history->is_array()) {
    throw bad(record, fmt::format("a list of [prompt, response] under \"{}\"", history_), history->type_name());
  }
  for (const json& turn : *history) {
    if (!is_pair(turn)) {
      throw bad(record, fmt::format("pairs of strings [prompt, response] under \"{}\"", history_), "another entry");
    }
    conversation.messages.push_back({.role = Role::kUser, .content = turn[0].get<std::string>()});
    conversation.messages.push_back({.role = Role::kAssistant, .content = turn[1].get<std::string>()});
  }
}

Record RecordConverter::convert_messages(const JsonRecord& record, SampleId id) const {
  Conversation conversation{.id = std::move(id), .messages = {}};
  const auto it = record.value.find(messages_);
  if (it == record.value.end()) throw bad(record, fmt::format("key \"{}\"", messages_), keys_of(record.value));
  add_messages(record, messages_, *it, conversation);
  const std::string system = optional_string(record, system_);
  if (!system.empty() && !conversation.messages.empty() && conversation.messages.front().role != Role::kSystem) {
    conversation.messages.insert(conversation.messages.begin(), {.role = Role::kSystem, .content = system});
  }
  require_assistant_turn(record, conversation);
  return conversation;
}

void RecordConverter::add_messages(const JsonRecord& record, const std::string& key, const json& list,
                                   Conversation& conversation) const {
  if (!list.is_array()) throw bad(record, fmt::format("a list of messages under \"{}\"", key), list.type_name());
  if (list.empty()) throw bad(record, fmt::format("at least one message under \"{}\"", key), "none");
  for (size_t i = 0; i < list.size(); ++i) {
    add_message(record, list[i], fmt::format(" in {}[{}]", key, i), conversation);
  }
}

void RecordConverter::add_message(const JsonRecord& record, const json& message, const std::string& where,
                                  Conversation& conversation) const {
  if (!message.is_object()) throw bad(record, "an object" + where, message.type_name());
  const std::string& role_name = string_at(record, message, role_tag_, where);
  const auto role = roles_.find(role_name);
  if (role == roles_.end()) {
    std::string known;
    for (const auto& [name, unused] : roles_) known += (known.empty() ? "" : ", ") + name;
    throw bad(record, fmt::format("a role of {}{}", known, where), shown(role_name));
  }
  if (find(message, "tool_calls") != nullptr && !message["tool_calls"].empty()) {
    throw bad(record, "messages without tool calls (not supported in this version)" + where, "\"tool_calls\"");
  }
  Message result{.role = role->second, .content = string_at(record, message, content_tag_, where)};
  if (const json* train = find(message, "train")) {
    if (!train->is_boolean()) throw bad(record, "true or false under \"train\"" + where, train->type_name());
    result.train = train->get<bool>();
  }
  if (const json* weight = find(message, "weight")) {
    if (!weight->is_number() || (*weight != 0 && *weight != 1)) {
      throw bad(record, "0 or 1 under \"weight\"" + where, weight->is_number() ? weight->dump() : weight->type_name());
    }
    if (*weight == 0) result.train = false;
  }
  conversation.messages.push_back(std::move(result));
}

Record RecordConverter::convert_pretokenized(const JsonRecord& record, SampleId id) const {
  PreTokenized sample{.id = std::move(id), .input_ids = ids_at(record, "input_ids", false), .labels = {}};
  if (sample.input_ids.empty()) throw bad(record, "at least one token id under \"input_ids\"", "none");
  if (const json* mask = find(record.value, "attention_mask")) {
    const bool all_ones = mask->is_array() && mask->size() == sample.input_ids.size() &&
                          std::all_of(mask->begin(), mask->end(), [](const json& m) { return m == 1; });
    if (!all_ones) throw bad(record, "samples without padding (\"attention_mask\" of ones)", "another value");
  }
  if (find(record.value, "labels") == nullptr) {
    sample.labels = sample.input_ids;
    return sample;
  }
  sample.labels = ids_at(record, "labels", true);
  if (sample.labels.size() != sample.input_ids.size()) {
    throw bad(record, fmt::format("as many labels as input_ids ({})", sample.input_ids.size()),
              std::to_string(sample.labels.size()));
  }
  for (size_t k = 0; k < sample.labels.size(); ++k) {
    if (sample.labels[k] == kIgnoreLabel || sample.labels[k] == sample.input_ids[k]) continue;
    throw bad(record,
              fmt::format("labels that are -100 or equal to input_ids ({} at index {})", sample.input_ids[k], k),
              std::to_string(sample.labels[k]));
  }
  return sample;
}

}  // namespace qtune
