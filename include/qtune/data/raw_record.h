// The text that a sample was made from, for showing it beside what the model sees.
#pragma once

#include <string>
#include <vector>

#include "qtune/data/record.h"

namespace qtune {

/// The records of these ids, in their order, each in one line: a JSON line as it is written, a record of a .json array
/// or a row of .parquet as JSON without white space. Every file is read once, up to the last line wanted. Throws:
/// DataError when a file can't be read or has no record at such a line (it was changed since).
std::vector<std::string> raw_records(const std::vector<SampleId>& ids);

/// One of them; for many use raw_records.
std::string raw_record(const SampleId& id);

}  // namespace qtune
