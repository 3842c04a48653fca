// Streaming reader of one data file: JSON lines, or a JSON array of objects.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "qtune/data/dataset_spec.h"
#include "qtune/data/record.h"

namespace qtune {

/// A record (in JSON lines: a line) longer than this is an error, so that a broken file can't take all memory.
inline constexpr int64_t kMaxRecordBytes = int64_t{256} << 20;

/// Reads record by record; memory is bounded by the longest one. Lines may end in LF or CRLF, blank lines are passed
/// over, a byte order mark at the start is ignored. Whether the file is an array or JSON lines is told by its first
/// character.
class RecordReader {
 public:
  virtual ~RecordReader() = default;

  /// The next record, or nullopt at the end of the file (or after spec.num_samples records).
  /// Empty: a file without a single usable record is an error.
  /// Throws: DataError "file:line: ..." for a bad record (with OnBadData::kSkip it is counted and left out instead), or
  /// for a file that can't be read on.
  virtual std::optional<Record> next() = 0;

  /// Records left out so far.
  virtual int64_t num_skipped() const = 0;
};

/// Throws: DataError when the file can't be opened or its format is not supported.
std::unique_ptr<RecordReader> open_records(const DatasetSpec& spec);

}  // namespace qtune
