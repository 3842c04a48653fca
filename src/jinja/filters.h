// Filters and tests by name.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "ast.h"

namespace qtune {

/// Null when there is none.
JinjaFilter find_jinja_filter(std::string_view name);
JinjaTest find_jinja_test(std::string_view name);

enum class JinjaNameKind { kFilter, kTest };
/// jinja2 has a filter or test of this name.
bool is_known_to_jinja2(std::string_view name, JinjaNameKind kind);

using JinjaFilterEntry = std::pair<std::string_view, JinjaFilter>;
const std::vector<JinjaFilterEntry>& text_filters();
const std::vector<JinjaFilterEntry>& number_filters();
const std::vector<JinjaFilterEntry>& sequence_filters();
const std::vector<JinjaFilterEntry>& selection_filters();

/// Calls a filter or test named by a value. Throws: JinjaError for a name that is not known.
JinjaValue call_filter(JinjaInterpreter& in, const JinjaValue& name, JinjaArguments& arguments);
bool call_test(JinjaInterpreter& in, const JinjaValue& name, JinjaArguments& arguments);

}  // namespace qtune
