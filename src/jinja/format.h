// Formatting of values: "%s" % x, "{}".format(x), tojson.
#pragma once

#include "interpreter.h"

namespace qtune {

/// string % values. Throws: JinjaError (kUnsupported) for what goes beyond %s, %r, %d, %i, %u, %f with flags, width and
/// precision.
JinjaValue percent_format(JinjaInterpreter& in, const JinjaValue& format, const JinjaValue& values);
/// string.format(...). Throws: JinjaError (kUnsupported) for format specifications.
JinjaValue brace_format(JinjaInterpreter& in, const JinjaValue& format, const JinjaArguments& arguments);

struct JsonStyle {
  bool ascii_only = false;
  bool sort_keys = false;
  bool has_indent = false;
  std::string indent;
  std::string item_separator = ", ", key_separator = ": ";
};
/// json.dumps.
JinjaValue to_json(JinjaInterpreter& in, const JinjaValue& value, const JsonStyle& style);

}  // namespace qtune
