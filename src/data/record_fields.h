// Reading the parts of a JSON record, with the errors they can have. All throw BadRecord.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "qtune/data/record.h"
#include "record_source.h"

namespace qtune {

BadRecord bad_record(const JsonRecord& record, const std::string& expected, const std::string& found);

/// Names of the keys of an object, for messages; not more than a line's worth.
std::string keys_of(const nlohmann::json& object);

/// The start of a text, quoted, in one line.
std::string quoted_start(const std::string& text);

/// The value under a key; null when it is missing or null.
const nlohmann::json* find_value(const nlohmann::json& object, const std::string& key);

/// The string under a key that must be there. `where`: said behind the key.
const std::string& string_at(const JsonRecord& record, const nlohmann::json& object, const std::string& key,
                             const std::string& where);

/// The string under a key that may be missing or null; "" then.
std::string optional_string(const JsonRecord& record, const std::string& key);

/// A message's text: a string, or a list of {"type": "text", "text": "..."} parts, which are joined.
std::string content_of(const JsonRecord& record, const nlohmann::json& message, const std::string& key,
                       const std::string& where);

/// What a message itself says about being trained: "train" or "loss" (true, false), "weight" (1, 0).
bool is_trained(const JsonRecord& record, const nlohmann::json& message, const std::string& where);

enum class IgnoreLabels { kRefused, kAllowed };

/// Token ids: whole numbers in int32; where allowed also -100.
std::vector<int32_t> ids_at(const JsonRecord& record, const std::string& key, IgnoreLabels ignore);

}  // namespace qtune
