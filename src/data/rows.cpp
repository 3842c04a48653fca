#include "qtune/data/rows.h"

#include "record_source.h"

namespace qtune {

std::vector<DataRow> read_rows(const std::string& file) {
  std::vector<DataRow> rows;
  try {
    const auto source = open_source(file, {});
    while (source->advance()) {
      JsonRecord record;
      source->parse(record);
      rows.push_back({.value = std::move(record.value), .id = {.file = file, .line = record.line}});
    }
  } catch (const BadRecord& e) {
    throw DataError(e.fault() + " ---> fix the line");
  }
  if (rows.empty()) throw DataError(file + ": expected rows, found none ---> check the file");
  return rows;
}

}  // namespace qtune
