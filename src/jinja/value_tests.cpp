#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "arguments.h"
#include "filters.h"
#include "methods.h"
#include "operators.h"
#include "sequences.h"

namespace qtune {
namespace {

const JinjaValue& only(JinjaInterpreter& in, JinjaArguments& arguments) {
  if (arguments.values.size() != 1 || !arguments.named.empty()) in.fail("this test takes no arguments");
  return arguments.values[0];
}

template <JinjaKind kKind>
bool is_kind(JinjaInterpreter& in, JinjaArguments& arguments) {
  return only(in, arguments).kind() == kKind;
}

bool defined(JinjaInterpreter& in, JinjaArguments& arguments) { return !only(in, arguments).is_undefined(); }
bool number(JinjaInterpreter& in, JinjaArguments& arguments) { return only(in, arguments).is_number(); }
bool iterable(JinjaInterpreter& in, JinjaArguments& arguments) { return is_iterable(only(in, arguments)); }
bool escaped(JinjaInterpreter& in, JinjaArguments& arguments) { return only(in, arguments).is_markup(); }

template <bool kValue>
bool is_bool(JinjaInterpreter& in, JinjaArguments& arguments) {
  const JinjaValue& value = only(in, arguments);
  return value.kind() == JinjaKind::kBool && (value.as_int() != 0) == kValue;
}

bool sequence(JinjaInterpreter& in, JinjaArguments& arguments) {
  switch (only(in, arguments).kind()) {
    case JinjaKind::kUndefined:
    case JinjaKind::kString:
    case JinjaKind::kList:
    case JinjaKind::kTuple:
    case JinjaKind::kDict:
    case JinjaKind::kRange:
      return true;
    default:
      return false;
  }
}

bool callable(JinjaInterpreter& in, JinjaArguments& arguments) {
  switch (only(in, arguments).kind()) {
    case JinjaKind::kUndefined:
    case JinjaKind::kFunction:
    case JinjaKind::kMethod:
    case JinjaKind::kMacro:
    case JinjaKind::kLoop:
      return true;
    default:
      return false;
  }
}

bool remainder_is(JinjaInterpreter& in, const JinjaValue& value, const JinjaValue& divisor, int64_t wanted) {
  return equal(in, binary(in, JinjaOperator::kModulo, value, divisor), JinjaValue::integer(wanted));
}

template <int kRest>
bool parity(JinjaInterpreter& in, JinjaArguments& arguments) {
  return remainder_is(in, only(in, arguments), JinjaValue::integer(2), kRest);
}

bool divisibleby(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"value", "num"};
  const JinjaBound given = bind_named(in, "divisibleby", arguments, kParameters, 2);
  return remainder_is(in, given[0], given[1], 0);
}

template <JinjaOperator kOperator>
bool compared(JinjaInterpreter& in, JinjaArguments& arguments) {
  const JinjaBound given = bind_positional(in, "a comparing test", arguments, 2, 2);
  return compare(in, kOperator, given[0], given[1]);
}

bool in_container(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"value", "seq"};
  const JinjaBound given = bind_named(in, "in", arguments, kParameters, 2);
  return contains(in, given[1], given[0]);
}

bool sameas(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"value", "other"};
  const JinjaBound given = bind_named(in, "sameas", arguments, kParameters, 2);
  const JinjaValue &a = given[0], &b = given[1];
  const auto is_single = [](const JinjaValue& v) {
    return v.kind() == JinjaKind::kNone || v.kind() == JinjaKind::kBool;
  };
  if (is_single(a) || is_single(b)) return a.kind() == b.kind() && a.as_int() == b.as_int();
  if (a.kind() != b.kind()) return false;
  in.refuse("sameas of values that may be equal without being the same");
}

bool lower(JinjaInterpreter& in, JinjaArguments& arguments) {
  const JinjaValue text = to_str(in, only(in, arguments));
  return is_lowercase(in, text_of(text));
}

bool upper(JinjaInterpreter& in, JinjaArguments& arguments) {
  const JinjaValue text = to_str(in, only(in, arguments));
  return is_uppercase(in, text_of(text));
}

template <JinjaNameKind kNames>
bool is_name_of(JinjaInterpreter& in, JinjaArguments& arguments) {
  const JinjaValue& name = only(in, arguments);
  check_hashable(in, name);
  return name.is_string() && is_known_to_jinja2(text_of(name), kNames);
}

using TestTable = std::unordered_map<std::string_view, JinjaTest>;

TestTable make_table() {
  TestTable table = {
      {"odd", parity<1>},
      {"even", parity<0>},
      {"divisibleby", divisibleby},
      {"defined", defined},
      {"undefined", is_kind<JinjaKind::kUndefined>},
      {"filter", is_name_of<JinjaNameKind::kFilter>},
      {"test", is_name_of<JinjaNameKind::kTest>},
      {"none", is_kind<JinjaKind::kNone>},
      {"boolean", is_kind<JinjaKind::kBool>},
      {"false", is_bool<false>},
      {"true", is_bool<true>},
      {"integer", is_kind<JinjaKind::kInt>},
      {"float", is_kind<JinjaKind::kFloat>},
      {"lower", lower},
      {"upper", upper},
      {"string", is_kind<JinjaKind::kString>},
      {"mapping", is_kind<JinjaKind::kDict>},
      {"number", number},
      {"sequence", sequence},
      {"iterable", iterable},
      {"callable", callable},
      {"sameas", sameas},
      {"escaped", escaped},
      {"in", in_container},
  };
  for (const std::string_view name : {"==", "eq", "equalto"}) table[name] = compared<JinjaOperator::kEqual>;
  for (const std::string_view name : {"!=", "ne"}) table[name] = compared<JinjaOperator::kNotEqual>;
  for (const std::string_view name : {">", "gt", "greaterthan"}) table[name] = compared<JinjaOperator::kGreater>;
  for (const std::string_view name : {">=", "ge"}) table[name] = compared<JinjaOperator::kGreaterEqual>;
  for (const std::string_view name : {"<", "lt", "lessthan"}) table[name] = compared<JinjaOperator::kLess>;
  for (const std::string_view name : {"<=", "le"}) table[name] = compared<JinjaOperator::kLessEqual>;
  return table;
}

}  // namespace

JinjaTest find_jinja_test(std::string_view name) {
  static const TestTable table = make_table();
  const auto found = table.find(name);
  return found == table.end() ? nullptr : found->second;
}

}  // namespace qtune
