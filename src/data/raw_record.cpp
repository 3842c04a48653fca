#include "qtune/data/raw_record.h"

#include <fmt/format.h>

#include <map>

#include "record_source.h"

namespace qtune {
namespace {

/// A line that is too long is passed over: it can't have been a sample.
bool advance_over_bad(RecordSource& source) {
  while (true) {
    try {
      return source.advance();
    } catch (const BadRecord&) {
    }
  }
}

}  // namespace

std::vector<std::string> raw_records(const std::vector<SampleId>& ids) {
  std::map<std::string, std::multimap<int64_t, size_t>> wanted;  // file -> line -> index in ids
  for (size_t i = 0; i < ids.size(); ++i) wanted[ids[i].file].emplace(ids[i].line, i);
  std::vector<std::string> texts(ids.size());
  for (const auto& [file, lines] : wanted) {
    const auto source = open_source(file, {});
    auto next = lines.begin();
    while (next != lines.end() && advance_over_bad(*source)) {
      if (source->line() != next->first) continue;
      const std::string text = source->text();
      const int64_t line = next->first;
      for (; next != lines.end() && next->first == line; ++next) texts[next->second] = text;
    }
    if (next != lines.end()) {
      throw DataError(fmt::format("{}:{}: expected a record there, found none ---> the file was changed: run again",
                                  file, next->first));
    }
  }
  return texts;
}

std::string raw_record(const SampleId& id) { return raw_records({id}).front(); }

}  // namespace qtune
