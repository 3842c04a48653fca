#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <unordered_map>

#include "arguments.h"
#include "filters.h"
#include "operators.h"
#include "sequences.h"

namespace qtune {
namespace {

JinjaValue empty_iterator(JinjaInterpreter& in) {
  return make_iterator(in, JinjaValue(), [](JinjaValue&) { return false; });
}

/// map('filter', ...) and map(attribute=...).
JinjaValue map(JinjaInterpreter& in, JinjaArguments& arguments) {
  const JinjaValue value = arguments.values[0];
  if (!truth(value)) return empty_iterator(in);
  auto call = std::make_shared<JinjaArguments>(std::move(arguments));
  std::optional<JinjaValue> attribute, otherwise;
  if (call->values.size() == 1) {
    for (const auto& [name, given] : call->named) {
      if (name == "attribute") {
        attribute = given;
      } else if (name == "default") {
        otherwise = given.kind() == JinjaKind::kNone ? std::nullopt : std::optional(given);
      } else {
        in.fail(fmt::format("map has no argument {}", name));
      }
    }
    if (!attribute) in.fail("map expects a filter's name or an attribute");
  }
  return make_iterator(in, value, [&in, call, attribute, otherwise, it = iterate(in, value)](JinjaValue& out) {
    JinjaValue item;
    if (!it->next(in, item)) return false;
    if (attribute) {
      out = path_of(in, item, *attribute, otherwise ? &*otherwise : nullptr);
      return true;
    }
    JinjaArguments each{.values = {item}, .named = call->named};
    each.values.insert(each.values.end(), call->values.begin() + 2, call->values.end());
    out = call_filter(in, call->values[1], each);
    return true;
  });
}

/// select, reject, selectattr, rejectattr.
template <bool kSelect, bool kByAttribute>
JinjaValue choose(JinjaInterpreter& in, JinjaArguments& arguments) {
  const JinjaValue value = arguments.values[0];
  if (!truth(value)) return empty_iterator(in);
  const size_t test_at = kByAttribute ? 2 : 1;
  if (arguments.values.size() < test_at) in.fail("selectattr and rejectattr expect an attribute");
  auto call = std::make_shared<JinjaArguments>(std::move(arguments));
  return make_iterator(in, value, [&in, call, it = iterate(in, value)](JinjaValue& out) {
    while (it->next(in, out)) {
      const JinjaValue tested = kByAttribute ? path_of(in, out, call->values[1]) : out;
      bool passes = truth(tested);
      if (call->values.size() > test_at) {
        JinjaArguments each{.values = {tested}, .named = call->named};
        each.values.insert(each.values.end(), call->values.begin() + static_cast<std::ptrdiff_t>(test_at) + 1,
                           call->values.end());
        passes = call_test(in, call->values[test_at], each);
      }
      if (passes == kSelect) return true;
    }
    return false;
  });
}

constexpr std::string_view kOtherFilters[] = {"attr",      "filesizeformat", "forceescape", "groupby",   "pprint",
                                              "random",    "slice",          "striptags",   "urlencode", "urlize",
                                              "wordcount", "wordwrap",       "xmlattr"};

}  // namespace

const std::vector<JinjaFilterEntry>& selection_filters() {
  static const std::vector<JinjaFilterEntry> filters = {
      {"map", map},
      {"reject", choose<false, false>},
      {"rejectattr", choose<false, true>},
      {"select", choose<true, false>},
      {"selectattr", choose<true, true>},
  };
  return filters;
}

JinjaFilter find_jinja_filter(std::string_view name) {
  static const std::unordered_map<std::string_view, JinjaFilter> table = [] {
    std::unordered_map<std::string_view, JinjaFilter> out;
    for (const auto* filters : {&text_filters(), &number_filters(), &sequence_filters(), &selection_filters()})
      out.insert(filters->begin(), filters->end());
    return out;
  }();
  const auto found = table.find(name);
  return found == table.end() ? nullptr : found->second;
}

JinjaValue call_filter(JinjaInterpreter& in, const JinjaValue& name, JinjaArguments& arguments) {
  if (!name.is_string()) in.fail("expected a filter's name");
  if (const JinjaFilter filter = find_jinja_filter(text_of(name))) return filter(in, arguments);
  const std::string_view known = text_of(name).substr(0, 80);
  if (is_known_to_jinja2(known, JinjaNameKind::kFilter)) in.refuse(fmt::format("the filter {}", known));
  in.fail(fmt::format("unknown filter {}", known));
}

bool call_test(JinjaInterpreter& in, const JinjaValue& name, JinjaArguments& arguments) {
  if (!name.is_string()) in.fail("expected a test's name");
  if (const JinjaTest test = find_jinja_test(text_of(name))) return test(in, arguments);
  const std::string_view known = text_of(name).substr(0, 80);
  if (is_known_to_jinja2(known, JinjaNameKind::kTest)) in.refuse(fmt::format("the test {}", known));
  in.fail(fmt::format("unknown test {}", known));
}

bool is_known_to_jinja2(std::string_view name, JinjaNameKind kind) {
  if (kind == JinjaNameKind::kTest) return find_jinja_test(name) != nullptr;
  return find_jinja_filter(name) != nullptr ||
         std::find(std::begin(kOtherFilters), std::end(kOtherFilters), name) != std::end(kOtherFilters);
}

}  // namespace qtune
