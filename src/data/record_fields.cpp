#include "record_fields.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace qtune {

using nlohmann::json;

BadRecord bad_record(const JsonRecord& record, const std::string& expected, const std::string& found) {
  return BadRecord(fmt::format("{}: expected {}, found {}", record.place, expected, found));
}

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

std::string quoted_start(const std::string& text) {
  return json(text.substr(0, 40)).dump(-1, ' ', true, json::error_handler_t::replace);
}

const json* find_value(const json& object, const std::string& key) {
  if (key.empty()) return nullptr;
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

const std::string& string_at(const JsonRecord& record, const json& object, const std::string& key,
                             const std::string& where) {
  const auto it = object.find(key);
  if (it == object.end()) throw bad_record(record, fmt::format("key \"{}\"{}", key, where), keys_of(object));
  if (!it->is_string()) throw bad_record(record, fmt::format("a string under \"{}\"{}", key, where), it->type_name());
  return it->get_ref<const std::string&>();
}

std::string optional_string(const JsonRecord& record, const std::string& key) {
  const json* value = find_value(record.value, key);
  if (value == nullptr) return "";
  if (!value->is_string()) throw bad_record(record, fmt::format("a string under \"{}\"", key), value->type_name());
  return value->get<std::string>();
}

std::string content_of(const JsonRecord& record, const json& message, const std::string& key,
                       const std::string& where) {
  const auto it = message.find(key);
  if (it == message.end() || !it->is_array()) return string_at(record, message, key, where);
  std::string text;
  for (const json& part : *it) {
    const json* type = part.is_object() ? find_value(part, "type") : nullptr;
    if (type == nullptr || *type != "text") {
      const std::string found = type == nullptr ? part.type_name() : type->dump(-1, ' ', true);
      throw bad_record(record, fmt::format("parts of type \"text\" under \"{}\"{}", key, where), found.substr(0, 40));
    }
    text += string_at(record, part, "text", where);
  }
  return text;
}

bool is_trained(const JsonRecord& record, const json& message, const std::string& where) {
  bool trained = true;
  for (const char* key : {"train", "loss"}) {
    const json* flag = find_value(message, key);
    if (flag == nullptr) continue;
    if (!flag->is_boolean())
      throw bad_record(record, fmt::format("true or false under \"{}\"{}", key, where), flag->type_name());
    trained = trained && flag->get<bool>();
  }
  if (const json* weight = find_value(message, "weight")) {
    if (!weight->is_number() || (*weight != 0 && *weight != 1)) {
      throw bad_record(record, "0 or 1 under \"weight\"" + where,
                       weight->is_number() ? weight->dump() : weight->type_name());
    }
    trained = trained && *weight != 0;
  }
  return trained;
}

std::vector<int32_t> ids_at(const JsonRecord& record, const std::string& key, IgnoreLabels ignore) {
  const auto it = record.value.find(key);
  if (it == record.value.end()) throw bad_record(record, fmt::format("key \"{}\"", key), keys_of(record.value));
  if (!it->is_array()) throw bad_record(record, fmt::format("a list of token ids under \"{}\"", key), it->type_name());
  std::vector<int32_t> ids;
  ids.reserve(it->size());
  for (const json& value : *it) {
    const bool whole = value.is_number_integer();
    const bool fits = whole && (!value.is_number_unsigned() || value.get<uint64_t>() <= INT32_MAX);
    const int64_t id = fits ? value.get<int64_t>() : -1;
    if (!fits || (id < 0 && !(ignore == IgnoreLabels::kAllowed && id == kIgnoreLabel))) {
      throw bad_record(record, fmt::format("token ids (whole numbers from 0) under \"{}\"", key),
                       fmt::format("{} at index {}", whole ? value.dump() : value.type_name(), ids.size()));
    }
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

}  // namespace qtune
