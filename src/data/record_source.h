// Splits a file into records (JSON values), without holding more than one of them (of .parquet: one batch of rows).
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "qtune/base/error.h"

namespace qtune {

inline constexpr const char* kFixLineHint = " ---> fix the line or set on_bad_data: skip";

/// A fault of one record: reading can go on behind it (any other DataError ends the file).
class BadRecord : public DataError {
 public:
  /// `fault`: "file:line: expected ..., found ...".
  explicit BadRecord(const std::string& fault, const char* hint = kFixLineHint)
      : DataError(fault + hint), fault_(fault) {}
  const std::string& fault() const { return fault_; }

 private:
  std::string fault_;
};

struct JsonRecord {
  nlohmann::json value;  // an object
  int64_t line = 0;      // see SampleId::line
  std::string place;     // for messages: "file:line", and for an array also where the record's text starts
};

class RecordSource {
 public:
  virtual ~RecordSource() = default;
  /// Moves to the next record, without looking into it. False at the end of the file. Throws: BadRecord, DataError.
  virtual bool advance() = 0;
  /// The current record's line, see SampleId::line.
  virtual int64_t line() const = 0;
  /// Throws: BadRecord.
  virtual void parse(JsonRecord& record) = 0;
  /// The record in one line: a JSON line as it is written, any other as JSON without white space.
  virtual std::string text() = 0;
};

/// Throws: DataError.
std::unique_ptr<RecordSource> open_json(const std::string& file);

/// `columns`: the top-level columns to read; none of them there, or empty: all.
/// Throws: DataError, also where qtune was built without Arrow.
std::unique_ptr<RecordSource> open_parquet(const std::string& file, const std::set<std::string>& columns);

/// By the file's extension. Throws: DataError.
std::unique_ptr<RecordSource> open_source(const std::string& file, const std::set<std::string>& columns);

/// The index of the first byte that is not part of well-formed UTF-8; text.size() when there is none.
size_t find_bad_utf8(std::string_view text);

}  // namespace qtune
