// Reading a dataset whole, and showing its records in one line each.
#pragma once

#include <fmt/format.h>

#include <string>
#include <vector>

#include "qtune/data/record_reader.h"

namespace qtune {

inline std::vector<Record> read_all(const DatasetSpec& spec) {
  std::vector<Record> records;
  const auto reader = open_records(spec);
  while (auto record = reader->next()) records.push_back(std::move(*record));
  return records;
}

/// "system:...|user:...|assistant:...", with "-" before what is not trained.
inline std::string shown(const Record& record) {
  std::string text;
  for (const Message& m : std::get<Conversation>(record).messages) {
    const char* names[] = {"system", "user", "assistant", "tool"};
    text += fmt::format("{}{}{}:{}", text.empty() ? "" : "|", m.train ? "" : "-", names[static_cast<int>(m.role)],
                        m.content);
  }
  return text;
}

inline std::vector<std::string> all_shown(const DatasetSpec& spec) {
  std::vector<std::string> texts;
  for (const Record& record : read_all(spec)) texts.push_back(shown(record));
  return texts;
}

}  // namespace qtune
