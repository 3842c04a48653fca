// Python's operators on template values.
#pragma once

#include "ast.h"
#include "interpreter.h"

namespace qtune {

bool truth(const JinjaValue& value);
bool equal(JinjaInterpreter& in, const JinjaValue& a, const JinjaValue& b);
/// a < b. Throws: JinjaError for types that have no order.
bool less(JinjaInterpreter& in, const JinjaValue& a, const JinjaValue& b);
bool compare(JinjaInterpreter& in, JinjaOperator op, const JinjaValue& a, const JinjaValue& b);
bool contains(JinjaInterpreter& in, const JinjaValue& container, const JinjaValue& item);
JinjaValue binary(JinjaInterpreter& in, JinjaOperator op, const JinjaValue& a, const JinjaValue& b);
JinjaValue negative(JinjaInterpreter& in, const JinjaValue& value);
JinjaValue positive(JinjaInterpreter& in, const JinjaValue& value);

/// Throws for what can't be a dict's key.
void check_hashable(JinjaInterpreter& in, const JinjaValue& key);
bool is_hashable(const JinjaValue& key);
/// The entry of a dict; null when there is none.
const JinjaValue* find_entry(JinjaInterpreter& in, const JinjaDict& dict, const JinjaValue& key);

/// str() and repr().
void append_str(JinjaInterpreter& in, JinjaText& out, const JinjaValue& value);
void append_repr(JinjaInterpreter& in, JinjaText& out, const JinjaValue& value);
JinjaValue to_str(JinjaInterpreter& in, const JinjaValue& value);

double to_double(const JinjaValue& number);
/// Fails with the message of an undefined value.
[[noreturn]] void fail_undefined(JinjaInterpreter& in, const JinjaValue& value);

}  // namespace qtune
