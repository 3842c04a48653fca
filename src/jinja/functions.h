// Global functions of a template: range, dict, namespace, raise_exception, strftime_now.
#pragma once

#include <string>

#include "interpreter.h"

namespace qtune {

/// The global of this name; undefined when there is none.
JinjaValue jinja_global(const std::string& name);
JinjaValue call_jinja_function(JinjaInterpreter& in, int id, JinjaArguments& arguments);

}  // namespace qtune
