// Splits a file into JSON values, one a record, without holding more than one of them.
#pragma once

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "qtune/base/error.h"

namespace qtune {

/// A fault of one record: reading can go on behind it (any other DataError ends the file).
class BadRecord : public DataError {
 public:
  using DataError::DataError;
};

inline constexpr const char* kFixLineHint = " ---> fix the line or set on_bad_data: skip";

struct JsonRecord {
  nlohmann::json value;
  int64_t line = 0;   // see SampleId::line
  std::string place;  // for messages: "file:line", and for an array also where the record's text starts
};

class JsonSource {
 public:
  virtual ~JsonSource() = default;
  /// False at the end of the file. Throws: BadRecord, DataError.
  virtual bool next(JsonRecord& record) = 0;
};

/// Throws: DataError.
std::unique_ptr<JsonSource> open_json(const std::string& file);

}  // namespace qtune
