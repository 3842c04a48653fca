// JSON object -> Record, by the form of the file.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>

#include "qtune/data/dataset_spec.h"
#include "qtune/data/record.h"
#include "record_source.h"

namespace qtune {

class RecordConverter {
 public:
  explicit RecordConverter(const DatasetSpec& spec);

  /// The first record decides what the spec leaves open (form, names of the keys); all later ones must fit it.
  /// `file`: where the record comes from. Throws: BadRecord.
  Record convert(const JsonRecord& record, const std::string& file);

  /// Top-level keys that convert() may look at.
  std::set<std::string> columns() const;

 private:
  void detect(const JsonRecord& record);
  void settle_columns();
  void settle_tags(const JsonRecord& record);
  std::string column(const char* part, const char* fallback, bool required) const;
  void note_unread(const JsonRecord& record) const;

  Record convert_turns(const JsonRecord& record, SampleId id) const;
  Record convert_messages(const JsonRecord& record, SampleId id) const;
  Record convert_pretokenized(const JsonRecord& record, SampleId id) const;
  void refuse_tools(const JsonRecord& record) const;
  void require_alternation(const JsonRecord& record, const Conversation& conversation) const;
  void add_history(const JsonRecord& record, Conversation& conversation) const;
  void add_message(const JsonRecord& record, const nlohmann::json& message, const std::string& where,
                   Conversation& conversation) const;
  void add_messages(const JsonRecord& record, const std::string& key, const nlohmann::json& list,
                    Conversation& conversation) const;

  DatasetSpec spec_;
  bool settled_ = false;
  Formatting form_ = Formatting::kAuto;
  std::string prompt_, query_, response_, history_, system_, tools_, messages_;  // keys; "" = not read
  std::string role_tag_, content_tag_;
  std::map<std::string, Role> roles_;
  std::set<std::string> call_roles_;  // turns that call functions
};

}  // namespace qtune
