// Which file to read, and how its records are laid out.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace qtune {

enum class Formatting {
  kAuto,              // told by the keys of the first record
  kAlpaca,            // instruction, input, output, system, history
  kShareGpt,          // conversations: [{from, value}], turns in strict alternation
  kOpenAi,            // messages: [{role, content}], turns in any order
  kPromptCompletion,  // prompt, completion: strings or lists of messages
  kPretokenized,      // input_ids, labels
};

/// "auto", "alpaca", "sharegpt", "openai", "prompt_completion", "pretokenized".
/// Throws: DataError with the known names; `where` starts the message.
Formatting parse_formatting(const std::string& name, const std::string& where);
std::string to_string(Formatting formatting);

/// What happens to records that can't be read: they stop the run, or they are left out. Both name every one in the log.
enum class OnBadData { kRaise, kSkip };

/// What becomes of the optional parts (system, history, tools) under their usual names when `columns` is empty.
enum class UnnamedParts {
  kRead,
  kIgnore,  // what LLaMA-Factory does for an entry of dataset_info.json
};

/// What num_samples means for a dataset that has fewer.
enum class SampleCount {
  kAtMost,
  kExactly,  // it is read again from its start until there are so many
};

struct DatasetSpec {
  /// A file, a folder of files, or a pattern with * ? [...]; data_files() lists what it stands for.
  std::string file;
  /// Which files of a folder or pattern: train, validation, test or another word in their names. Empty: train where the
  /// names tell splits apart, else all.
  std::string split;
  Formatting formatting = Formatting::kAuto;
  /// Which key of a record plays which part, named as in LLaMA-Factory's dataset_info.json: prompt, query, response,
  /// history, system, tools, messages. Empty: the names of the form. Not empty: optional parts that it doesn't name are
  /// not read.
  std::map<std::string, std::string> columns;
  UnnamedParts unnamed = UnnamedParts::kRead;
  /// Words used inside messages: role_tag, content_tag, user_tag, assistant_tag, system_tag, observation_tag,
  /// function_tag.
  std::map<std::string, std::string> tags;
  int64_t num_samples = -1;  // only the first so many records; -1: all
  SampleCount count = SampleCount::kAtMost;
  OnBadData on_bad_data = OnBadData::kRaise;
};

/// Finds the datasets named in a config. A name is a path when that file exists; else it is looked up in
/// `dataset_dir`/dataset_info.json; else it is a folder's path or a pattern, or looked for inside `dataset_dir`.
/// `columns` and `tags` given here win over those of dataset_info.json.
/// Throws: DataError for a missing file, an unknown name (with the known ones), a form or source that is not supported.
std::vector<DatasetSpec> resolve_datasets(const std::vector<std::string>& names, const std::string& dataset_dir,
                                          const std::map<std::string, std::string>& columns = {},
                                          const std::map<std::string, std::string>& tags = {});

/// The files of a dataset in the order they are read: sorted by name, all of one kind (.json and .jsonl count as one).
/// Files of other kinds, hidden ones and dataset_info.json are passed over.
/// Throws: DataError when there are none, when .parquet and .json are mixed, or for a kind that can't be read.
std::vector<std::string> data_files(const DatasetSpec& spec);

}  // namespace qtune
