// Which files a dataset's path stands for: a file, a folder, a pattern; and which of them belong to a split.
#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/data/dataset_spec.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

// Words by which the file names of published datasets tell their splits.
const std::map<std::string, std::string> kSplitWords = {
    {"train", "train"},      {"training", "train"}, {"validation", "validation"},
    {"valid", "validation"}, {"val", "validation"}, {"dev", "validation"},
    {"test", "test"},        {"testing", "test"},   {"eval", "test"},
    {"evaluation", "test"}};
const std::set<std::string> kKinds = {".json", ".jsonl", ".parquet"};
const std::set<std::string> kOtherKinds = {".csv", ".tsv", ".arrow", ".txt", ".gz", ".zst", ".bz2", ".xz", ".zip"};
// Lie beside the data of published datasets.
const std::set<std::string> kNotData = {"dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json"};

/// Text files of both names are read by their content.
std::string kind_of(const std::string& extension) { return extension == ".jsonl" ? ".json" : extension; }

/// "train" for train-00000-of-00003, gsm8k_train, ...; "" when the name says nothing.
std::string split_of(const fs::path& file) {
  std::string word;
  for (const char c : file.stem().string() + "-") {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      word.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
      continue;
    }
    const auto found = kSplitWords.find(word);
    if (found != kSplitWords.end()) return found->second;
    word.clear();
  }
  return "";
}

bool is_in_split(const fs::path& file, const std::string& split) {
  const std::string stem = file.stem().string();
  if (stem == split || stem.rfind(split + "-", 0) == 0) return true;  // any word: train_sft-00000-of-00002
  const auto known = kSplitWords.find(split);
  return known != kSplitWords.end() && split_of(file) == known->second;
}

void refuse_other_kind(const fs::path& file) {
  const std::string extension = file.extension().string();
  if (kOtherKinds.count(extension) == 0) return;
  throw DataError(
      fmt::format("{}: expected .jsonl, .json or .parquet, found {}, which is not supported ---> convert it to "
                  ".jsonl",
                  file.string(), extension));
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  if (error) throw DataError(fmt::format("{}: {} ---> check the folder", folder.string(), error.message()));
  for (; entry != fs::directory_iterator(); entry.increment(error)) {
    if (error) throw DataError(fmt::format("{}: {} ---> check the folder", folder.string(), error.message()));
    if (!entry->is_directory(error)) files.push_back(entry->path());
  }
  return files;
}

std::vector<fs::path> files_matching(const std::string& pattern) {
  glob_t found{};
  std::vector<fs::path> files;
  if (::glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found) == 0) {
    std::error_code ignored;
    for (size_t i = 0; i < found.gl_pathc; ++i) {
      if (!fs::is_directory(found.gl_pathv[i], ignored)) files.emplace_back(found.gl_pathv[i]);
    }
  }
  ::globfree(&found);
  return files;
}

/// Keeps data files, sorted; refuses a mix of kinds.
std::vector<fs::path> data_files_among(std::vector<fs::path> files, const std::string& where) {
  std::erase_if(files, [](const fs::path& file) {
    const std::string name = file.filename().string();
    return name.front() == '.' || kNotData.count(name) > 0;
  });
  for (const fs::path& file : files) refuse_other_kind(file);
  std::erase_if(files, [](const fs::path& file) { return kKinds.count(file.extension().string()) == 0; });
  if (files.empty()) {
    throw DataError(
        fmt::format("{}: expected .jsonl, .json or .parquet files there, found none ---> check the path", where));
  }
  std::sort(files.begin(), files.end());
  const std::string kind = kind_of(files.front().extension().string());
  for (const fs::path& file : files) {
    if (kind_of(file.extension().string()) == kind) continue;
    throw DataError(
        fmt::format("{}: expected files of one kind, found {} and {} ---> move one kind elsewhere, or name the "
                    "files with a pattern",
                    where, files.front().filename().string(), file.filename().string()));
  }
  return files;
}

std::vector<fs::path> files_of_split(const std::vector<fs::path>& files, const DatasetSpec& spec) {
  std::vector<fs::path> chosen;
  std::set<std::string> splits;
  for (const fs::path& file : files) {
    splits.insert(split_of(file));
    if (is_in_split(file, spec.split.empty() ? "train" : spec.split)) chosen.push_back(file);
  }
  // Names that tell no splits apart: LLaMA-Factory calls all of them train.
  const bool no_splits = splits.size() == 1 && (spec.split.empty() || spec.split == "train");
  if (no_splits || (spec.split.empty() && splits.count("train") == 0)) return files;
  if (chosen.empty()) {
    throw DataError(
        fmt::format("{}: expected files of split \"{}\" (train-*, validation-*, test-*, ...), found {} others, the "
                    "first {} ---> check split",
                    spec.file, spec.split, files.size(), files.front().filename().string()));
  }
  if (spec.split.empty() && chosen.size() < files.size()) {
    spdlog::info("{}: read split train, {} of {} files", spec.file, chosen.size(), files.size());
  }
  return chosen;
}

}  // namespace

std::vector<std::string> data_files(const DatasetSpec& spec) {
  std::error_code ignored;
  const bool is_folder = fs::is_directory(spec.file, ignored);
  const bool is_pattern = !fs::exists(spec.file, ignored) && spec.file.find_first_of("*?[") != std::string::npos;
  if (!is_folder && !is_pattern) {
    refuse_other_kind(spec.file);
    return {spec.file};
  }
  const auto files = data_files_among(is_folder ? files_in(spec.file) : files_matching(spec.file), spec.file);
  // A pattern says itself which files are meant.
  const auto chosen = is_pattern && spec.split.empty() ? files : files_of_split(files, spec);
  std::vector<std::string> names;
  for (const fs::path& file : chosen) names.push_back(file.string());
  return names;
}

}  // namespace qtune
