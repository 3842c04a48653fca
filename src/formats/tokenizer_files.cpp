#include "qtune/formats/tokenizer_files.h"

#include <fmt/format.h>

#include <algorithm>

#include "qtune/base/error.h"
#include "qtune/base/file.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kNames[] = {
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt",     "tokenizer.model",       "chat_template.jinja",     "chat_template.json"};
constexpr const char* kTemplateFolder = "additional_chat_templates";

}  // namespace

std::vector<fs::path> tokenizer_files(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    const bool known = std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
    if (entry.is_regular_file() && (known || name.starts_with("tokenizer.model.v"))) files.emplace_back(name);
  }
  for (const auto& entry : fs::directory_iterator(folder / kTemplateFolder, ignored)) {
    if (!entry.is_regular_file() || entry.path().extension() != ".jinja") continue;
    files.push_back(fs::path(kTemplateFolder) / entry.path().filename());
  }
  std::sort(files.begin(), files.end());
  return files;
}

void carry_over(const fs::path& name, const fs::path& source, const fs::path& target) {
  std::error_code reason;
  if (fs::equivalent(source, target, reason)) return;
  fs::create_directories((target / name).parent_path(), reason);
  if (reason) throw Error(fmt::format("{}: cannot create its folder: {}", (target / name).string(), reason.message()));
  write_file_atomic(target / name, read_file(source / name));
}

}  // namespace qtune
