#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/log.h"
#include "qtune/data/dataset_spec.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::vector<std::pair<std::string, Formatting>> kFormattings = {
    {"auto", Formatting::kAuto},
    {"alpaca", Formatting::kAlpaca},
    {"sharegpt", Formatting::kShareGpt},
    {"openai", Formatting::kOpenAi},
    {"prompt_completion", Formatting::kPromptCompletion},
    {"pretokenized", Formatting::kPretokenized},
};
const std::vector<std::string> kColumns = {"prompt", "query", "response", "history", "system", "tools", "messages"};
const std::vector<std::string> kTags = {"role_tag",   "content_tag",     "user_tag",    "assistant_tag",
                                        "system_tag", "observation_tag", "function_tag"};
// Known to LLaMA-Factory, but without a meaning here: a mapping of these would be silently lost.
const std::vector<std::string> kUnsupportedColumns = {"images", "videos", "audios", "chosen", "rejected", "kto_tag"};
// Sources other than files, and how to get a file from them.
const std::vector<std::pair<std::string, std::string>> kSources = {
    {"hf_hub_url", "huggingface-cli download NAME --repo-type dataset --local-dir DIR"},
    {"ms_hub_url", "modelscope download --dataset NAME --local_dir DIR"},
    {"om_hub_url", "download the dataset from the openMind hub"},
    {"script_url", "run the script with Python's datasets library and write the result with to_json(FILE)"},
    {"cloud_file_name", "copy the file from the cloud storage"},
};

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::string did_you_mean(const std::string& name, const std::vector<std::string>& known) {
  const std::string nearest = nearest_name(name, known);
  return nearest.empty() ? "" : fmt::format("; did you mean {}?", nearest);
}

void check_names(const std::map<std::string, std::string>& names, const std::vector<std::string>& known,
                 const std::string& where, const std::string& what) {
  for (const auto& [name, unused] : names) {
    if (contains(known, name)) continue;
    if (contains(kUnsupportedColumns, name)) {
      throw DataError(fmt::format("{}: {} \"{}\" is not supported in this version ---> remove it", where, what, name));
    }
    throw DataError(fmt::format("{}: expected a name of {}: {}, found \"{}\"{} ---> rename it", where, what,
                                joined(known), name, did_you_mean(name, known)));
  }
}

std::map<std::string, std::string> string_map(const json& entry, const char* key, const std::string& where) {
  std::map<std::string, std::string> result;
  const auto it = entry.find(key);
  if (it == entry.end() || it->is_null()) return result;
  const auto is_word = [](const json& value) { return value.is_string() || value.is_null(); };
  if (!it->is_object() || !std::all_of(it->begin(), it->end(), is_word)) {
    throw DataError(
        fmt::format("{}: expected an object of strings under \"{}\", found another value ---> fix it", where, key));
  }
  for (const auto& item : it->items()) {
    if (item.value().is_string()) result[item.key()] = item.value().get<std::string>();
  }
  return result;
}

json read_dataset_info(const fs::path& path) {
  try {
    json info = json::parse(read_file(path));
    if (!info.is_object()) throw DataError(fmt::format("{}: expected a JSON object ---> fix the file", path.string()));
    return info;
  } catch (const json::exception& e) {
    throw DataError(fmt::format("{}: expected valid JSON, found: {} ---> fix the file", path.string(), e.what()));
  }
}

bool is_file(const fs::path& path) {
  std::error_code ignored;
  // Not is_regular_file: a pipe such as /dev/stdin is fine.
  return fs::exists(path, ignored) && !fs::is_directory(path, ignored);
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

bool is_pattern(const std::string& path) { return path.find_first_of("*?[") != std::string::npos; }

/// The string under a key of an entry; "" when it is missing or null.
std::string word_of(const json& entry, const std::string& key, const std::string& where) {
  const auto it = entry.find(key);
  if (it == entry.end() || it->is_null()) return "";
  if (!it->is_string()) {
    throw DataError(
        fmt::format("{}: expected a string under \"{}\", found {} ---> fix it", where, key, it->type_name()));
  }
  return it->get<std::string>();
}

/// The folder of a dataset that was downloaded whole: hf_hub_url may name it, as for Python's load_dataset.
fs::path path_of_copy(const json& entry, const std::string& url, const std::string& where) {
  fs::path path = url;
  for (const char* key : {"folder", "subset"}) {
    const std::string part = word_of(entry, key, where);
    if (part.empty()) continue;
    if (!is_folder(path / part)) {
      throw DataError(fmt::format("{}: expected a folder {} for {}, found none ---> check the copy of the dataset",
                                  where, (path / part).string(), key));
    }
    path /= part;
  }
  return path;
}

/// file_name wins over a hub: the data was fetched already.
fs::path path_of_entry(const json& entry, const std::string& where, const fs::path& folder) {
  for (const auto& [key, remedy] : kSources) {
    const std::string url = word_of(entry, key, where);
    if (url.empty()) continue;
    if (key == "hf_hub_url" && is_folder(url)) return path_of_copy(entry, url, where);
    if (entry.contains("file_name")) continue;
    throw DataError(
        fmt::format("{}: expected file_name, found {} \"{}\", which qtune does not download ---> get the data "
                    "({}), then set file_name to the file or folder",
                    where, key, url, remedy));
  }
  const std::string name = word_of(entry, "file_name", where);
  if (name.empty()) {
    throw DataError(fmt::format("{}: expected file_name, found none ---> name the file or folder there", where));
  }
  for (const char* key : {"subset", "folder"}) {
    if (!word_of(entry, key, where).empty()) spdlog::warn("{}: {} has no meaning with file_name, ignored", where, key);
  }
  return folder / name;
}

/// A single file has only one split, whatever it is called there; a slice is not supported.
void check_split(const DatasetSpec& spec, const std::string& where) {
  if (spec.split.empty()) return;
  if (spec.split.find_first_of("[]%:+") != std::string::npos) {
    throw DataError(
        fmt::format("{}: expected the name of a split, found \"{}\" ---> use num_samples for a part of the data", where,
                    spec.split));
  }
  if (is_folder(spec.file) || is_pattern(spec.file) || spec.split == "train") return;
  const std::string stem = fs::path(spec.file).stem().string();
  if (stem.find(spec.split) != std::string::npos) return;
  throw DataError(
      fmt::format("{}: expected split: train (a file has no other), found \"{}\" ---> name the file or folder of "
                  "that split",
                  where, spec.split));
}

/// LLaMA-Factory passes over keys that it does not know; a mistyped one would be lost with them.
void check_entry_keys(const json& entry, const std::string& where) {
  static const std::vector<std::string> kKnown = {
      "file_name", "hf_hub_url", "ms_hub_url", "om_hub_url", "script_url",  "cloud_file_name", "formatting",
      "ranking",   "subset",     "split",      "folder",     "num_samples", "columns",         "tags"};
  for (const auto& item : entry.items()) {
    const std::string& key = item.key();
    if (std::find(kKnown.begin(), kKnown.end(), key) != kKnown.end()) continue;
    if (const std::string near = nearest_name(key, kKnown); !near.empty()) {
      throw DataError(
          fmt::format("{}: expected a key of dataset_info.json, found \"{}\" ---> did you mean {}?", where, key, near));
    }
    spdlog::warn("{}: key \"{}\" is not known, ignored", where, key);
  }
}

DatasetSpec spec_of_entry(const std::string& name, const json& entry, const fs::path& folder) {
  const std::string where = fmt::format("{}: {}", (folder / "dataset_info.json").string(), name);
  if (!entry.is_object())
    throw DataError(fmt::format("{}: expected an object, found {} ---> fix it", where, entry.type_name()));
  check_entry_keys(entry, where);
  if (entry.value("ranking", json(false)) == json(true)) {
    throw DataError(fmt::format("{}: expected a dataset for SFT, found ranking: true ---> choose another one", where));
  }
  DatasetSpec spec{.file = path_of_entry(entry, where, folder).string(), .split = word_of(entry, "split", where)};
  check_split(spec, where);
  const auto formatting = entry.find("formatting");
  if (formatting != entry.end() && !formatting->is_null()) {
    const std::string word = formatting->is_string() ? formatting->get<std::string>() : formatting->dump();
    spec.formatting = parse_formatting(word, where);
  }
  spec.columns = string_map(entry, "columns", where);
  spec.tags = string_map(entry, "tags", where);
  check_names(spec.columns, kColumns, where, "columns");
  check_names(spec.tags, kTags, where, "tags");
  spec.unnamed = UnnamedParts::kIgnore;
  const auto count = entry.find("num_samples");
  if (count != entry.end() && !count->is_null()) {
    if (!count->is_number_unsigned() || count->get<uint64_t>() > INT64_MAX) {
      throw DataError(fmt::format("{}: expected a whole number under \"num_samples\", found {} ---> fix it", where,
                                  count->is_number() ? count->dump() : count->type_name()));
    }
    spec.num_samples = count->get<int64_t>();
    spec.count = SampleCount::kExactly;
  }
  return spec;
}

bool has_data_extension(const std::string& name) {
  const std::string extension = fs::path(name).extension().string();
  return extension == ".json" || extension == ".jsonl" || extension == ".parquet";
}

DatasetSpec find_dataset(const std::string& name, const fs::path& folder) {
  if (is_file(name)) return {.file = name};
  const fs::path info_path = folder / "dataset_info.json";
  const bool has_info = is_file(info_path);
  const json info = has_info ? read_dataset_info(info_path) : json::object();
  if (info.contains(name)) return spec_of_entry(name, info[name], folder);
  if (is_folder(name)) return {.file = name};
  const fs::path inside = folder / name;
  if (is_file(inside) || (!name.empty() && is_folder(inside))) return {.file = inside.string()};
  if (is_pattern(name)) {
    DatasetSpec here{.file = name}, there{.file = inside.string()};
    try {
      data_files(here);
      return here;
    } catch (const DataError&) {
      data_files(there);
      return there;
    }
  }
  if (has_data_extension(name)) {
    throw DataError(fmt::format("dataset {}: expected a file there or at {}, found none ---> check the path", name,
                                inside.string()));
  }
  if (!has_info) {
    throw DataError(
        fmt::format("dataset {}: expected a data file, or its name in {}, found neither ---> check dataset and "
                    "dataset_dir",
                    name, info_path.string()));
  }
  std::vector<std::string> known;
  for (const auto& item : info.items()) known.push_back(item.key());
  std::vector<std::string> listed(known.begin(),
                                  known.begin() + static_cast<int64_t>(std::min<size_t>(20, known.size())));
  if (listed.size() < known.size()) listed.push_back("...");
  throw DataError(
      fmt::format("dataset {}: expected a file or a name in {} ({}), found neither{} ---> check dataset and "
                  "dataset_dir",
                  name, info_path.string(), joined(listed), did_you_mean(name, known)));
}

}  // namespace

Formatting parse_formatting(const std::string& name, const std::string& where) {
  std::vector<std::string> known;
  for (const auto& [word, formatting] : kFormattings) {
    if (word == name) return formatting;
    known.push_back(word);
  }
  throw DataError(fmt::format("{}: expected a formatting of {}, found \"{}\"{} ---> rename it", where, joined(known),
                              name, did_you_mean(name, known)));
}

std::string to_string(Formatting formatting) {
  for (const auto& [word, known] : kFormattings) {
    if (known == formatting) return word;
  }
  return "?";
}

std::vector<DatasetSpec> resolve_datasets(const std::vector<std::string>& names, const std::string& dataset_dir,
                                          const std::map<std::string, std::string>& columns,
                                          const std::map<std::string, std::string>& tags) {
  check_names(columns, kColumns, "columns", "columns");
  check_names(tags, kTags, "tags", "tags");
  std::vector<DatasetSpec> specs;
  for (const std::string& name : names) {
    DatasetSpec spec = find_dataset(name, dataset_dir);
    if (!columns.empty()) spec.columns = columns;
    for (const auto& [tag, word] : tags) spec.tags[tag] = word;
    specs.push_back(std::move(spec));
  }
  if (specs.empty()) throw DataError("dataset: expected at least one name, found none ---> set dataset");
  return specs;
}

}  // namespace qtune
