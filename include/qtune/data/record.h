// What a data file's line becomes: a conversation, or token ids that were made elsewhere.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace qtune {

/// Where a sample comes from; travels with it to the last log line (DESIGN: any sample's fate can be told).
struct SampleId {
  std::string file;        // path as given
  int64_t line = 0;        // from 1: the line of a .jsonl file, the record of a .json array, the row of .parquet
  std::string record;      // the record's own "id" as text, may be empty
  bool is_number = false;  // that id was a JSON number

  /// The record's own id, else "file:line".
  std::string name() const { return record.empty() ? file + ":" + std::to_string(line) : record; }
  /// Always "file:line", for error messages.
  std::string place() const { return file + ":" + std::to_string(line); }
};

enum class Role { kSystem, kUser, kAssistant, kTool };

struct Message {
  Role role;
  std::string content;                   // UTF-8
  bool train = true;                     // only read for kAssistant: its tokens are trainable
  std::vector<std::string> unread = {};  // other keys that the message has: a checkpoint's template may ask for them
};

struct Conversation {
  SampleId id;
  std::vector<Message> messages;  // at least one
};

inline constexpr int32_t kIgnoreLabel = -100;

struct PreTokenized {
  SampleId id;
  std::vector<int32_t> input_ids;
  std::vector<int32_t> labels;  // same length; kIgnoreLabel or equal to input_ids
};

using Record = std::variant<Conversation, PreTokenized>;

inline const SampleId& id_of(const Record& record) {
  return std::visit([](const auto& r) -> const SampleId& { return r.id; }, record);
}

}  // namespace qtune
