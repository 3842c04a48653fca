// Chat templates are Jinja; this is the subset of it that they use, as transformers sets it up
// (ImmutableSandboxedEnvironment, trim_blocks, lstrip_blocks, loop controls, generation blocks, its own tojson).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qtune/base/error.h"
#include "qtune/jinja/value.h"

namespace qtune {

enum class JinjaFault {
  kSyntax,       // jinja2 would refuse it, too
  kUnsupported,  // jinja2 knows it, this subset does not
  kRuntime,      // an error while rendering: a missing attribute, wrong types, ...
  kRaised,       // the template called raise_exception; what() is its message
  kLimit,        // too many steps, too much text, too deeply nested
};

/// what() has no file name; `line` is the template's, 1-based.
class JinjaError : public Error {
 public:
  JinjaError(JinjaFault fault, int line, const std::string& message) : Error(message), fault_(fault), line_(line) {}
  JinjaFault fault() const { return fault_; }
  int line() const { return line_; }

 private:
  JinjaFault fault_;
  int line_;
};

/// Bytes [begin, end) of a text that are bytes `offset` and following of the input string with tag `source`. Empty
/// where a string without bytes was written: then it tells where.
struct JinjaSegment {
  size_t begin = 0, end = 0;
  int32_t source = kNoJinjaSource;
  size_t offset = 0;
};

struct JinjaOutput {
  std::string text;
  std::vector<JinjaSegment> segments;                // in the order of the text, not overlapping
  std::vector<std::pair<size_t, size_t>> generated;  // [begin, end) of each {% generation %} block that ran
};

struct JinjaLimits {
  int64_t num_steps = 20'000'000;         // about one a node or 32 bytes
  int64_t num_bytes = int64_t{64} << 20;  // of all strings and lists that one rendering makes
};

/// What writing an undefined value does. Asking whether it is defined, or true, is no fault either way.
enum class JinjaUndefined { kEmpty, kError };

/// Names and values that a template sees.
using JinjaContext = std::vector<std::pair<std::string_view, JinjaValue>>;

/// A parsed template. Immutable, may be shared by threads.
class JinjaTemplate {
 public:
  /// Throws: JinjaError (kSyntax, kUnsupported, kLimit).
  static std::shared_ptr<const JinjaTemplate> parse(const std::string& source);

  virtual ~JinjaTemplate() = default;

  /// Text is UTF-8. Throws: JinjaError.
  virtual JinjaOutput render(const JinjaContext& context, const JinjaLimits& limits = {},
                             JinjaUndefined undefined = JinjaUndefined::kEmpty) const = 0;

  /// The template has a {% generation %} block.
  virtual bool has_generation() const = 0;
  /// The template asks for the date: its text depends on the day.
  virtual bool uses_date() const = 0;
};

}  // namespace qtune
