// Test data of the text module: tokenizers with cases by the reference library, template cases.
#pragma once

#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "qtune/base/file.h"
#include "qtune/data/record.h"
#include "qtune/text/tokenizer.h"
#include "support/temp_dir.h"

namespace qtune {

inline std::filesystem::path test_data(const std::string& name) {
  return std::filesystem::path(QTUNE_TEST_DATA) / name;
}

inline std::filesystem::path tokenizer_folder(const std::string& family) { return test_data("tokenizers") / family; }

inline std::vector<nlohmann::json> read_json_lines(const std::filesystem::path& file) {
  std::vector<nlohmann::json> out;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) out.push_back(nlohmann::json::parse(line));
  return out;
}

inline nlohmann::json read_tokenizer_json(const std::string& family) {
  return nlohmann::json::parse(read_file(tokenizer_folder(family) / "tokenizer.json"));
}

/// Plain writing: no sync, so that tests with thousands of files stay fast.
inline void write_text(const std::filesystem::path& file, const std::string& content) {
  std::ofstream(file, std::ios::binary) << content;
}

/// A tokenizer from JSON made by a test.
inline std::unique_ptr<Tokenizer> tokenizer_of(const nlohmann::json& content) {
  TempDir folder;
  write_text(folder / "tokenizer.json", content.dump());
  return Tokenizer::load_tokenizer(folder.path());
}

inline std::vector<Message> messages_of(const nlohmann::json& list) {
  std::vector<Message> messages;
  for (const auto& m : list) {
    const auto role = m["role"].get<std::string>();
    messages.push_back({.role = role == "system" ? Role::kSystem
                                : role == "user" ? Role::kUser
                                : role == "tool" ? Role::kTool
                                                 : Role::kAssistant,
                        .content = m["content"].get<std::string>()});
  }
  return messages;
}

}  // namespace qtune
