// JSON object -> Record, by the form of the file.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "json_source.h"
#include "qtune/data/dataset_spec.h"
#include "qtune/data/record.h"

namespace qtune {

class RecordConverter {
 public:
  explicit RecordConverter(const DatasetSpec& spec);

  /// The first record decides what the spec leaves open (form, names of the keys); all later ones must fit it.
  /// Throws: BadRecord.
  Record convert(const JsonRecord& record);

 private:
  void detect(const JsonRecord& record);
  void settle_columns();
  void settle_tags(const JsonRecord& record);
  std::string column(const char* part, const char* fallback, bool required) const;

  Record convert_turns(const JsonRecord& record, SampleId id) const;
  Record convert_messages(const JsonRecord& record, SampleId id) const;
  Record convert_pretokenized(const JsonRecord& record, SampleId id) const;
  void add_history(const JsonRecord& record, Conversation& conversation) const;
  void add_message(const JsonRecord& record, const nlohmann::json& message, const std::string& where,
                   Conversation& conversation) const;
  void add_messages(const JsonRecord& record, const std::string& key, const nlohmann::json& list,
                    Conversation& conversation) const;

  DatasetSpec spec_;
  bool settled_ = false;
  Formatting form_ = Formatting::kAuto;
  std::string prompt_, query_, response_, history_, system_, messages_;  // keys; "" = not read
  std::string role_tag_, content_tag_;
  std::map<std::string, Role> roles_;
};

}  // namespace qtune
