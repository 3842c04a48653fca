#include "operators.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "qtune/jinja/python_text.h"
#include "sequences.h"

namespace qtune {

bool truth(const JinjaValue& value) {
  switch (value.kind()) {
    case JinjaKind::kUndefined:
    case JinjaKind::kNone:
      return false;
    case JinjaKind::kBool:
    case JinjaKind::kInt:
      return value.as_int() != 0;
    case JinjaKind::kFloat:
      return value.as_float() != 0;
    case JinjaKind::kString:
      return !text_of(value).empty();
    case JinjaKind::kList:
    case JinjaKind::kTuple:
      return !items_of(value).empty();
    case JinjaKind::kDict:
      return !as<JinjaDict>(value).entries.empty();
    case JinjaKind::kRange:
      return as<JinjaRange>(value).size > 0;
    case JinjaKind::kDictView:
      return !as<JinjaDictView>(value).dict->entries.empty();
    default:
      return true;
  }
}

double to_double(const JinjaValue& number) {
  return number.kind() == JinjaKind::kFloat ? number.as_float() : static_cast<double>(number.as_int());
}

void fail_undefined(JinjaInterpreter& in, const JinjaValue& value) {
  in.fail(value.object() ? as<JinjaUndefinedObject>(value).message : "a value is undefined");
}

namespace {

/// Wide enough for both int64 and double.
long double wide(const JinjaValue& number) {
  return number.kind() == JinjaKind::kFloat ? static_cast<long double>(number.as_float())
                                            : static_cast<long double>(number.as_int());
}

bool equal_lists(JinjaInterpreter& in, const JinjaValue& a, const JinjaValue& b) {
  const auto &left = items_of(a), &right = items_of(b);
  if (left.size() != right.size()) return false;
  for (size_t i = 0; i < left.size(); ++i) {
    if (!equal(in, left[i], right[i])) return false;
  }
  return true;
}

bool equal_dicts(JinjaInterpreter& in, const JinjaDict& a, const JinjaDict& b) {
  if (a.entries.size() != b.entries.size()) return false;
  return std::all_of(a.entries.begin(), a.entries.end(), [&](const auto& entry) {
    const JinjaValue* other = find_entry(in, b, entry.first);
    return other && equal(in, entry.second, *other);
  });
}

bool equal_ranges(const JinjaRange& a, const JinjaRange& b) {
  return a.size == b.size && (a.size == 0 || (a.start == b.start && (a.size == 1 || a.step == b.step)));
}

}  // namespace

bool equal(JinjaInterpreter& in, const JinjaValue& a, const JinjaValue& b) {
  in.charge(1);
  if (a.is_number() && b.is_number()) return wide(a) == wide(b);
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case JinjaKind::kUndefined:
    case JinjaKind::kNone:
      return true;
    case JinjaKind::kString:
      in.charge(static_cast<int64_t>(text_of(a).size() / 32));
      return text_of(a) == text_of(b);
    case JinjaKind::kList:
    case JinjaKind::kTuple:
      return a.object() == b.object() || equal_lists(in, a, b);
    case JinjaKind::kDict:
      return a.object() == b.object() || equal_dicts(in, as<JinjaDict>(a), as<JinjaDict>(b));
    case JinjaKind::kRange:
      return equal_ranges(as<JinjaRange>(a), as<JinjaRange>(b));
    case JinjaKind::kDictView:
    case JinjaKind::kMethod:
      in.refuse(fmt::format("comparing a {}", type_name(a)));
    case JinjaKind::kFunction:
      return a.as_int() == b.as_int();
    default:
      return a.object() == b.object();
  }
}

bool less(JinjaInterpreter& in, const JinjaValue& a, const JinjaValue& b) {
  return compare(in, JinjaOperator::kLess, a, b);
}

namespace {

/// -1, 0, 1; 2 where an operand is not a number.
int order_of_numbers(const JinjaValue& a, const JinjaValue& b) {
  const long double left = wide(a), right = wide(b);
  return left < right ? -1 : left > right ? 1 : left == right ? 0 : 2;
}

bool fits(JinjaOperator op, int order) {
  switch (op) {
    case JinjaOperator::kLess:
      return order == -1;
    case JinjaOperator::kLessEqual:
      return order == -1 || order == 0;
    case JinjaOperator::kGreater:
      return order == 1;
    default:
      return order == 1 || order == 0;
  }
}

bool compare_lists(JinjaInterpreter& in, JinjaOperator op, const JinjaValue& a, const JinjaValue& b) {
  const auto &left = items_of(a), &right = items_of(b);
  size_t i = 0;
  while (i < left.size() && i < right.size() && equal(in, left[i], right[i])) ++i;
  if (i < left.size() && i < right.size()) return compare(in, op, left[i], right[i]);
  return fits(op, left.size() < right.size() ? -1 : left.size() > right.size() ? 1 : 0);
}

}  // namespace

bool compare(JinjaInterpreter& in, JinjaOperator op, const JinjaValue& a, const JinjaValue& b) {
  if (op == JinjaOperator::kEqual) return equal(in, a, b);
  if (op == JinjaOperator::kNotEqual) return !equal(in, a, b);
  if (op == JinjaOperator::kIn) return contains(in, b, a);
  if (op == JinjaOperator::kNotIn) return !contains(in, b, a);
  in.charge(1);
  if (a.is_number() && b.is_number()) return fits(op, order_of_numbers(a, b));
  if (a.is_string() && b.is_string()) {  // the order of UTF-8 is that of code points
    in.charge(static_cast<int64_t>(text_of(a).size() / 32));
    const int order = text_of(a).compare(text_of(b));
    return fits(op, order < 0 ? -1 : order > 0 ? 1 : 0);
  }
  if (a.kind() == b.kind() && (a.kind() == JinjaKind::kList || a.kind() == JinjaKind::kTuple))
    return compare_lists(in, op, a, b);
  if (a.is_undefined()) fail_undefined(in, a);
  if (b.is_undefined()) fail_undefined(in, b);
  if (a.kind() == JinjaKind::kDictView && b.kind() == JinjaKind::kDictView) in.refuse("comparing dict views");
  in.fail(fmt::format("{} and {} have no order", type_name(a), type_name(b)));
}

bool contains(JinjaInterpreter& in, const JinjaValue& container, const JinjaValue& item) {
  in.charge(1);
  switch (container.kind()) {
    case JinjaKind::kString:
      if (!item.is_string()) in.fail(fmt::format("'in' a string expects a string, found {}", type_name(item)));
      in.charge(static_cast<int64_t>(text_of(container).size() / 32));
      return find_text(text_of(container), text_of(item)) != std::string_view::npos;
    case JinjaKind::kList:
    case JinjaKind::kTuple:
      return std::any_of(items_of(container).begin(), items_of(container).end(),
                         [&](const JinjaValue& other) { return equal(in, item, other); });
    case JinjaKind::kDict:
      check_hashable(in, item);
      return find_entry(in, as<JinjaDict>(container), item) != nullptr;
    case JinjaKind::kDictView:
      if (as<JinjaDictView>(container).view == JinjaViewKind::kKeys) {
        check_hashable(in, item);
        return find_entry(in, *as<JinjaDictView>(container).dict, item) != nullptr;
      }
      break;
    default:
      break;
  }
  const auto iterator = iterate(in, container);
  JinjaValue other;
  while (iterator->next(in, other)) {
    if (equal(in, item, other)) return true;
  }
  return false;
}

bool is_hashable(const JinjaValue& key) {
  if (key.kind() == JinjaKind::kList || key.kind() == JinjaKind::kDict) return false;
  if (key.kind() == JinjaKind::kDictView) return false;
  if (key.kind() != JinjaKind::kTuple) return true;
  return std::all_of(items_of(key).begin(), items_of(key).end(), is_hashable);
}

void check_hashable(JinjaInterpreter& in, const JinjaValue& key) {
  if (!is_hashable(key)) in.fail(fmt::format("a {} can't be a key", type_name(key)));
}

const JinjaValue* find_entry(JinjaInterpreter& in, const JinjaDict& dict, const JinjaValue& key) {
  in.charge(static_cast<int64_t>(dict.entries.size()) / 4);
  if (key.is_string()) return dict.find(text_of(key));
  for (const auto& entry : dict.entries) {
    if (equal(in, entry.first, key)) return &entry.second;
  }
  return nullptr;
}

}  // namespace qtune
