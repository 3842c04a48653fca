// Stands in for parquet_source.cpp where Arrow was not found.
#ifndef QTUNE_HAVE_ARROW

#include <fmt/format.h>

#include "qtune/data/record_reader.h"
#include "record_source.h"

namespace qtune {

bool parquet_supported() { return false; }

std::unique_ptr<RecordSource> open_parquet(const std::string& file, const std::set<std::string>&) {
  throw DataError(
      fmt::format("{}: this qtune was built without Arrow, which reads .parquet ---> run tools/setup.sh, or build with "
                  "-DQTUNE_ARROW=/path/to/arrow, or convert the file to .jsonl",
                  file));
}

}  // namespace qtune

#endif  // QTUNE_HAVE_ARROW
