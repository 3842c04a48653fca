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
  kShareGpt,          // conversations: [{from, value}]
  kOpenAi,            // messages: [{role, content}]
  kPromptCompletion,  // prompt, completion: strings or lists of messages
  kPretokenized,      // input_ids, labels
};

/// "auto", "alpaca", "sharegpt", "openai", "prompt_completion", "pretokenized".
/// Throws: DataError with the known names; `where` starts the message.
Formatting parse_formatting(const std::string& name, const std::string& where);
std::string to_string(Formatting formatting);

/// What happens to a record that can't be read: it stops the run, or it is counted, logged and left out.
enum class OnBadData { kRaise, kSkip };

struct DatasetSpec {
  std::string file;
  Formatting formatting = Formatting::kAuto;
  /// Which key of a record plays which part, named as in LLaMA-Factory's dataset_info.json: prompt, query, response,
  /// history, system, messages. Empty: the names of the form. Not empty: optional parts that it doesn't name are not
  /// read.
  std::map<std::string, std::string> columns;
  /// Words used inside messages: role_tag, content_tag, user_tag, assistant_tag, system_tag, observation_tag.
  std::map<std::string, std::string> tags;
  int64_t num_samples = -1;  // only the first so many records; -1: all
  OnBadData on_bad_data = OnBadData::kRaise;
};

/// Finds the datasets named in a config. A name is a file's path when that file exists or the name ends like a data
/// file's (then also looked for in `dataset_dir`); any other name is looked up in `dataset_dir`/dataset_info.json.
/// `columns` and `tags` given here win over those of dataset_info.json.
/// Throws: DataError for a missing file, an unknown name (with the known ones), a form or source that is not supported.
std::vector<DatasetSpec> resolve_datasets(const std::vector<std::string>& names, const std::string& dataset_dir,
                                          const std::map<std::string, std::string>& columns = {},
                                          const std::map<std::string, std::string>& tags = {});

}  // namespace qtune
