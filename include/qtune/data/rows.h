// A data file's rows as they are: JSON objects with any columns, for evaluation tasks.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "qtune/data/record.h"

namespace qtune {

struct DataRow {
  nlohmann::json value;  // an object
  SampleId id;
};

/// All rows of a .jsonl, .json or .parquet file, in their order.
/// Empty: a file without rows is an error. Throws: DataError naming the file, and the line where one is at fault.
std::vector<DataRow> read_rows(const std::string& file);

}  // namespace qtune
