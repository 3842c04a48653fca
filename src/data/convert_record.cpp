#include "convert_record.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "qtune/base/log.h"
#include "record_fields.h"

namespace qtune {
namespace {

using nlohmann::json;

SampleId sample_id(const std::string& file, const JsonRecord& record) {
  SampleId id{.file = file, .line = record.line, .record = ""};
  const json* own = find_value(record.value, "id");
  if (own != nullptr && own->is_string()) id.record = own->get<std::string>();
  if (own != nullptr && own->is_number()) {
    id.record = own->dump();
    id.is_number = true;
  }
  return id;
}

void require_assistant_turn(const JsonRecord& record, const Conversation& conversation) {
  for (const Message& message : conversation.messages) {
    if (message.role == Role::kAssistant) return;
  }
  throw bad_record(record, "at least one assistant turn",
                   conversation.messages.empty() ? "no messages" : "only turns of other roles");
}

}  // namespace

RecordConverter::RecordConverter(const DatasetSpec& spec) : spec_(spec), form_(spec.formatting) {}

std::set<std::string> RecordConverter::columns() const {
  std::set<std::string> keys{"id",     "input_ids", "labels", "attention_mask", "instruction",   "input",
                             "output", "history",   "system", "tools",          "functions",     "messages",
                             "prompt", "question",  "answer", "completion",     "conversations", "images",
                             "videos", "audios",    "chosen", "rejected"};
  for (const auto& [part, key] : spec_.columns) keys.insert(key);
  return keys;
}

Record RecordConverter::convert(const JsonRecord& record, const std::string& file) {
  if (!settled_) {
    if (form_ == Formatting::kAuto) detect(record);
    settle_columns();
    settle_tags(record);
  }
  SampleId id = sample_id(file, record);
  refuse_tools(record);
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
    note_unread(record);
  }
  return result;
}

void RecordConverter::note_unread(const JsonRecord& record) const {
  const auto warn = [&](const std::string& key, const std::string& read_as) {
    const json* value = find_value(record.value, key);
    if (value == nullptr || value->empty() || key == read_as || *value == "") return;
    spdlog::warn("{}: key \"{}\" is not read{}", spec_.file, key,
                 spec_.unnamed == UnnamedParts::kIgnore ? ": no column of dataset_info.json names it" : "");
  };
  for (const char* key : {"images", "videos", "audios", "chosen", "rejected"}) warn(key, "");
  warn("system", system_);
  warn("tools", tools_);
  if (form_ == Formatting::kAlpaca) warn("history", history_);
}

void RecordConverter::detect(const JsonRecord& record) {
  const json& object = record.value;
  // Not contains(): every row of .parquet has every key.
  const auto has = [&](const char* key) { return find_value(object, key) != nullptr; };
  const auto has_pair = [&](const char* a, const char* b) {
    return object.contains(a) && object.contains(b) && (has(a) || has(b));
  };
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
  if (has_pair("instruction", "output")) return set(Formatting::kAlpaca);
  if (has("messages")) return set(Formatting::kOpenAi);
  if (has("conversations")) return set(Formatting::kShareGpt);
  if (has_pair("prompt", "completion")) return set(Formatting::kPromptCompletion);
  if (has_pair("question", "answer")) return set(Formatting::kPromptCompletion, "question", "answer");
  throw BadRecord(
      fmt::format("{}: expected the keys of a known form (messages | conversations | instruction, output | prompt, "
                  "completion | question, answer | input_ids), found {}",
                  record.place, keys_of(object)),
      " ---> name the keys with columns: {prompt: ..., response: ...}");
}

std::string RecordConverter::column(const char* part, const char* fallback, bool required) const {
  const auto it = spec_.columns.find(part);
  if (it != spec_.columns.end()) return it->second;
  const bool usual = spec_.columns.empty() && spec_.unnamed == UnnamedParts::kRead;
  return usual || required ? fallback : "";
}

void RecordConverter::settle_columns() {
  const bool pair = form_ == Formatting::kPromptCompletion;
  const std::string prompt = prompt_.empty() ? (pair ? "prompt" : "instruction") : prompt_;
  const std::string response = response_.empty() ? (pair ? "completion" : "output") : response_;
  prompt_ = column("prompt", prompt.c_str(), true);
  response_ = column("response", response.c_str(), true);
  query_ = column("query", pair ? "" : "input", spec_.columns.empty());
  history_ = column("history", pair ? "" : "history", false);
  system_ = column("system", "system", false);
  tools_ = column("tools", "tools", false);
  messages_ = column("messages", form_ == Formatting::kShareGpt ? "conversations" : "messages", true);
}

void RecordConverter::settle_tags(const JsonRecord& record) {
  // Both forms' own names are known in both: files in the wild mix them.
  roles_ = {{"system", Role::kSystem},       {"user", Role::kUser},     {"human", Role::kUser},
            {"assistant", Role::kAssistant}, {"gpt", Role::kAssistant}, {"tool", Role::kTool},
            {"observation", Role::kTool}};
  call_roles_ = {"function_call"};
  bool from_value = form_ == Formatting::kShareGpt;
  if (spec_.formatting == Formatting::kAuto) {
    const json* list = find_value(record.value, messages_);
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
    if (tag == "function_tag") call_roles_.insert(word);
  }
}

void RecordConverter::refuse_tools(const JsonRecord& record) const {
  static const std::string kOldName = "functions";
  if (tools_.empty()) return;
  for (const std::string* key : {&tools_, &kOldName}) {
    const json* tools = find_value(record.value, *key);
    if (tools == nullptr) continue;
    // Some writers keep the list as text.
    const bool none = tools->empty() || *tools == "" || *tools == "[]" || *tools == "{}" || *tools == "null";
    if (!none) {
      throw bad_record(record,
                       fmt::format("a record without tools (function calling is not supported) under \"{}\"", *key),
                       quoted_start(tools->is_string() ? tools->get<std::string>() : tools->dump(-1, ' ', true)));
    }
  }
}

void RecordConverter::require_alternation(const JsonRecord& record, const Conversation& conversation) const {
  bool answer = false;
  size_t turn = 0;
  for (const Message& message : conversation.messages) {
    if (turn++ == 0 && message.role == Role::kSystem) continue;
    if (message.role == Role::kSystem || (message.role == Role::kAssistant) != answer) {
      const char* names[] = {"system", "user", "assistant", "observation"};
      throw bad_record(
          record, fmt::format("user and assistant turns in turn, {} as turn {}", answer ? "assistant" : "user", turn),
          names[static_cast<size_t>(message.role)]);
    }
    answer = !answer;
  }
  if (answer) throw bad_record(record, "an assistant turn at the end of the conversation", "a turn without an answer");
}

Record RecordConverter::convert_turns(const JsonRecord& record, SampleId id) const {
  Conversation conversation{.id = std::move(id), .messages = {}};
  const std::string system = optional_string(record, system_);
  if (!system.empty()) conversation.messages.push_back({.role = Role::kSystem, .content = system});
  add_history(record, conversation);

  const json* prompt = find_value(record.value, prompt_);
  const json* response = find_value(record.value, response_);
  if (prompt != nullptr && response != nullptr && prompt->is_array() && response->is_array()) {
    add_messages(record, prompt_, *prompt, conversation);
    for (Message& message : conversation.messages) message.train = false;
    add_messages(record, response_, *response, conversation);
    require_assistant_turn(record, conversation);
    return conversation;
  }
  const std::string query = optional_string(record, query_);
  // LLaMA-Factory takes the query alone where the prompt is null.
  const bool no_prompt = prompt == nullptr && !query.empty() && record.value.contains(prompt_);
  std::string text = no_prompt ? "" : string_at(record, record.value, prompt_, "");
  if (!query.empty()) text += (text.empty() ? "" : "\n") + query;
  conversation.messages.push_back({.role = Role::kUser, .content = std::move(text)});
  conversation.messages.push_back(
      {.role = Role::kAssistant, .content = string_at(record, record.value, response_, "")});
  return conversation;
}

void RecordConverter::add_history(const JsonRecord& record, Conversation& conversation) const {
  const json* history = find_value(record.value, history_);
  if (history == nullptr) return;
  const auto is_pair = [](const json& turn) {
    return turn.is_array() && turn.size() == 2 && turn[0].is_string() && turn[1].is_string();
  };
  if (!history->is_array()) {
    throw bad_record(record, fmt::format("a list of [prompt, response] under \"{}\"", history_), history->type_name());
  }
  for (const json& turn : *history) {
    if (!is_pair(turn)) {
      throw bad_record(record, fmt::format("pairs of strings [prompt, response] under \"{}\"", history_),
                       "another entry");
    }
    conversation.messages.push_back({.role = Role::kUser, .content = turn[0].get<std::string>()});
    conversation.messages.push_back({.role = Role::kAssistant, .content = turn[1].get<std::string>()});
  }
}

Record RecordConverter::convert_messages(const JsonRecord& record, SampleId id) const {
  Conversation conversation{.id = std::move(id), .messages = {}};
  const auto it = record.value.find(messages_);
  if (it == record.value.end()) throw bad_record(record, fmt::format("key \"{}\"", messages_), keys_of(record.value));
  add_messages(record, messages_, *it, conversation);
  const std::string system = optional_string(record, system_);
  if (!system.empty() && !conversation.messages.empty() && conversation.messages.front().role != Role::kSystem) {
    conversation.messages.insert(conversation.messages.begin(), {.role = Role::kSystem, .content = system});
  }
  if (form_ == Formatting::kShareGpt) require_alternation(record, conversation);
  require_assistant_turn(record, conversation);
  return conversation;
}

void RecordConverter::add_messages(const JsonRecord& record, const std::string& key, const json& list,
                                   Conversation& conversation) const {
  if (!list.is_array()) throw bad_record(record, fmt::format("a list of messages under \"{}\"", key), list.type_name());
  if (list.empty()) throw bad_record(record, fmt::format("at least one message under \"{}\"", key), "none");
  for (size_t i = 0; i < list.size(); ++i) {
    add_message(record, list[i], fmt::format(" in {}[{}]", key, i), conversation);
  }
}

void RecordConverter::add_message(const JsonRecord& record, const json& message, const std::string& where,
                                  Conversation& conversation) const {
  if (!message.is_object()) throw bad_record(record, "an object" + where, message.type_name());
  const std::string& role_name = string_at(record, message, role_tag_, where);
  for (const char* key : {"tool_calls", "function_call"}) {
    const json* calls = find_value(message, key);
    if (calls == nullptr || calls->empty()) continue;
    throw bad_record(record, "messages without tool calls (not supported)" + where, fmt::format("\"{}\"", key));
  }
  if (call_roles_.count(role_name) > 0) {
    throw bad_record(record, "turns without function calls (not supported)" + where, quoted_start(role_name));
  }
  const auto role = roles_.find(role_name);
  if (role == roles_.end()) {
    std::string known;
    for (const auto& [name, unused] : roles_) known += (known.empty() ? "" : ", ") + name;
    throw bad_record(record, fmt::format("a role of {}{}", known, where), quoted_start(role_name));
  }
  Message result{.role = role->second, .content = content_of(record, message, content_tag_, where)};
  result.train = is_trained(record, message, where);
  for (const auto& [key, value] : message.items()) {
    constexpr std::string_view kRead[] = {"train", "weight", "loss", "tool_calls", "function_call"};
    const bool read =
        key == role_tag_ || key == content_tag_ || std::find(kRead, std::end(kRead), key) != std::end(kRead);
    if (!read && !value.is_null() && value != "") result.unread.push_back(key);
  }
  conversation.messages.push_back(std::move(result));
}

Record RecordConverter::convert_pretokenized(const JsonRecord& record, SampleId id) const {
  PreTokenized sample{
      .id = std::move(id), .input_ids = ids_at(record, "input_ids", IgnoreLabels::kRefused), .labels = {}};
  if (sample.input_ids.empty()) throw bad_record(record, "at least one token id under \"input_ids\"", "none");
  if (const json* mask = find_value(record.value, "attention_mask")) {
    const bool all_ones = mask->is_array() && mask->size() == sample.input_ids.size() &&
                          std::all_of(mask->begin(), mask->end(), [](const json& m) { return m == 1; });
    if (!all_ones) throw bad_record(record, "samples without padding (\"attention_mask\" of ones)", "another value");
  }
  if (find_value(record.value, "labels") == nullptr) {
    sample.labels = sample.input_ids;
    return sample;
  }
  sample.labels = ids_at(record, "labels", IgnoreLabels::kAllowed);
  if (sample.labels.size() != sample.input_ids.size()) {
    throw bad_record(record, fmt::format("as many labels as input_ids ({})", sample.input_ids.size()),
                     std::to_string(sample.labels.size()));
  }
  for (size_t k = 0; k < sample.labels.size(); ++k) {
    if (sample.labels[k] == kIgnoreLabel || sample.labels[k] == sample.input_ids[k]) continue;
    throw bad_record(record,
                     fmt::format("labels that are -100 or equal to input_ids ({} at index {})", sample.input_ids[k], k),
                     std::to_string(sample.labels[k]));
  }
  return sample;
}

}  // namespace qtune
