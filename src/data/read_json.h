// Text of one record -> JSON object, with reasons that a person understands.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace qtune {

struct JsonPlace {
  const std::string& file;
  int64_t first_line = 1;   // the file's line in which the text starts
  std::string suffix = {};  // said behind the column
  bool last = false;        // the text ends with the file, without a line end
};

/// Nesting deeper than this is an error.
inline constexpr int kMaxJsonDepth = 256;

/// Reads exactly one object. A key that is there twice is an error: libraries differ in which one they take.
/// NaN, Infinity and -Infinity, which Python's json writes, are null: numbers of columns that are not read.
/// Throws: BadRecord.
void read_json_object(const std::string& text, const JsonPlace& place, nlohmann::json& result);

}  // namespace qtune
