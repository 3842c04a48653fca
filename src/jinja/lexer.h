// Template text -> tokens, with jinja2's rules for white space around tags (trim_blocks and lstrip_blocks on).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace qtune {

enum class JinjaTokenKind {
  kText,         // outside of tags
  kOutputBegin,  // {{
  kOutputEnd,
  kTagBegin,  // {%
  kTagEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct JinjaToken {
  JinjaTokenKind kind = JinjaTokenKind::kEnd;
  int line = 1;
  std::string text = {};  // name, operator, text, or the string's value
  int64_t integer = 0;
  double real = 0;
};

/// Throws: JinjaError (kSyntax, kUnsupported).
std::vector<JinjaToken> jinja_tokens(std::string_view source);

}  // namespace qtune
