// Streaming reader of a dataset: JSON lines, JSON arrays of objects, .parquet, one file or many.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "qtune/data/dataset_spec.h"
#include "qtune/data/record.h"

namespace qtune {

/// A record (in JSON lines: a line) longer than this is an error, so that a broken file can't take all memory.
inline constexpr int64_t kMaxRecordBytes = int64_t{256} << 20;

/// Bad records named in the log, at most; the rest is counted.
inline constexpr int64_t kMaxNamedBadRecords = 1000;

/// Reads record by record; memory is bounded by the longest one (.parquet: by a batch of rows and its pages). Lines may
/// end in LF or CRLF, blank lines are passed over, a byte order mark at the start is ignored. Whether a file is an
/// array or JSON lines is told by its first character; .parquet goes by its name.
class RecordReader {
 public:
  virtual ~RecordReader() = default;

  /// The next record, or nullopt at the end of the file (or after spec.num_samples records).
  /// Empty: a dataset without a single usable record is an error.
  /// Throws: at the end, DataError "file:line: ..." where there were bad records, all named in the log by then: the
  /// good ones behind them are still given, since what follows may find more to name (with OnBadData::kSkip bad ones
  /// are named, counted and left out instead). At once, DataError for a file that can't be read on.
  virtual std::optional<Record> next() = 0;

  /// Records left out so far.
  virtual int64_t num_skipped() const = 0;
};

/// Throws: DataError when a file can't be opened or its kind is not supported.
std::unique_ptr<RecordReader> open_records(const DatasetSpec& spec);

/// Whether .parquet can be read: qtune was built with Arrow.
bool parquet_supported();

}  // namespace qtune
