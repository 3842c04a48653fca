#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "arguments.h"
#include "methods.h"
#include "operators.h"
#include "sequences.h"

namespace qtune {
namespace {

JinjaValue dict_view(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments, JinjaViewKind view) {
  bind_positional(in, "items, keys, values", arguments, 0, 0);
  auto* made = new JinjaDictView;
  JinjaValue out = JinjaValue::of(JinjaKind::kDictView, made);
  in.charge_bytes(sizeof(JinjaDictView));
  made->view = view;
  made->dict = JinjaPointer<JinjaDict>(&as<JinjaDict>(self));
  made->depth = in.checked_depth(self);
  return out;
}

JinjaValue dict_items(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  return dict_view(in, self, arguments, JinjaViewKind::kItems);
}
JinjaValue dict_keys(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  return dict_view(in, self, arguments, JinjaViewKind::kKeys);
}
JinjaValue dict_values(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  return dict_view(in, self, arguments, JinjaViewKind::kValues);
}

JinjaValue dict_get(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  const JinjaBound given = bind_positional(in, "get", arguments, 1, 2);
  check_hashable(in, given[0]);
  if (const JinjaValue* value = find_entry(in, as<JinjaDict>(self), given[0])) return *value;
  return given.has(1) ? given[1] : JinjaValue::none();
}

JinjaValue same(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  bind_positional(in, "copy", arguments, 0, 0);
  return self;
}

JinjaValue list_count(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  const JinjaBound given = bind_positional(in, "count", arguments, 1, 1);
  int64_t count = 0;
  for (const JinjaValue& item : items_of(self)) count += equal(in, item, given[0]) ? 1 : 0;
  return JinjaValue::integer(count);
}

JinjaValue list_index(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  const JinjaBound given = bind_positional(in, "index", arguments, 1, 1);
  const auto& items = items_of(self);
  for (size_t i = 0; i < items.size(); ++i) {
    if (equal(in, items[i], given[0])) return JinjaValue::integer(static_cast<int64_t>(i));
  }
  in.fail("index: the list has no such item");
}

JinjaValue loop_cycle(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  if (!arguments.named.empty() || arguments.values.empty()) in.fail("loop.cycle expects values");
  const auto index = static_cast<size_t>(as<JinjaLoop>(self).index0);
  return arguments.values[index % arguments.values.size()];
}

JinjaValue loop_changed(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  JinjaLoop& loop = as<JinjaLoop>(self);
  if (!arguments.named.empty()) in.fail("loop.changed takes no named arguments");
  for (const JinjaValue& value : arguments.values) {
    if (value.kind() > JinjaKind::kString || value.kind() == JinjaKind::kFunction)
      in.refuse(fmt::format("loop.changed of a {}", type_name(value)));
  }
  if (loop.last_changed && loop.last_changed->size() == arguments.values.size()) {
    bool same_values = true;
    for (size_t i = 0; i < arguments.values.size(); ++i)
      same_values = same_values && equal(in, (*loop.last_changed)[i], arguments.values[i]);
    if (same_values) return JinjaValue::boolean(false);
  }
  loop.last_changed = arguments.values;
  return JinjaValue::boolean(true);
}

using NameTable = std::unordered_map<std::string_view, JinjaMethodFound>;

const std::vector<JinjaMethodEntry>& all_methods() {
  static const std::vector<JinjaMethodEntry> all = [] {
    std::vector<JinjaMethodEntry> out = string_methods();
    const auto &search = string_search_methods(), &containers = container_methods();
    out.insert(out.end(), search.begin(), search.end());
    out.insert(out.end(), containers.begin(), containers.end());
    return out;
  }();
  return all;
}

NameTable names_of(JinjaKind kind) {
  struct Other {
    JinjaKind kind;
    JinjaMethodStatus status;
    std::vector<std::string_view> names;
  };
  static const std::vector<Other> others = {
      {JinjaKind::kString,
       JinjaMethodStatus::kRefused,
       {"casefold", "encode", "expandtabs", "format_map", "isidentifier", "istitle", "maketrans", "translate"}},
      {JinjaKind::kList,
       JinjaMethodStatus::kUnsafe,
       {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"}},
      {JinjaKind::kDict, JinjaMethodStatus::kUnsafe, {"clear", "pop", "popitem", "setdefault", "update"}},
      {JinjaKind::kDict, JinjaMethodStatus::kRefused, {"fromkeys"}},
      {JinjaKind::kRange, JinjaMethodStatus::kRefused, {"start", "stop", "step", "count", "index"}},
      {JinjaKind::kDictView, JinjaMethodStatus::kRefused, {"mapping", "isdisjoint"}},
      {JinjaKind::kIterator, JinjaMethodStatus::kRefused, {"send", "throw", "close"}},
      {JinjaKind::kMacro,
       JinjaMethodStatus::kRefused,
       {"name", "arguments", "catch_kwargs", "catch_varargs", "caller", "explicit_caller"}},
      {JinjaKind::kFunction, JinjaMethodStatus::kRefused, {"fromkeys", "count", "index", "start", "stop", "step"}},
      {JinjaKind::kInt,
       JinjaMethodStatus::kRefused,
       {"real", "imag", "numerator", "denominator", "bit_length", "bit_count", "conjugate", "as_integer_ratio",
        "to_bytes", "from_bytes"}},
      {JinjaKind::kFloat,
       JinjaMethodStatus::kRefused,
       {"real", "imag", "conjugate", "as_integer_ratio", "is_integer", "hex", "fromhex"}},
  };
  NameTable table;
  const JinjaKind like = kind == JinjaKind::kBool ? JinjaKind::kInt : kind;
  for (const Other& other : others) {
    if (other.kind != like) continue;
    for (const std::string_view name : other.names) table[name] = {.status = other.status};
  }
  const auto& all = all_methods();
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].kind == kind) table[all[i].name] = {.status = JinjaMethodStatus::kKnown, .id = static_cast<int>(i)};
  }
  return table;
}

const NameTable& name_table(JinjaKind kind) {
  static const std::vector<NameTable> tables = [] {
    std::vector<NameTable> out;
    for (int k = 0; k <= static_cast<int>(JinjaKind::kMacro); ++k) out.push_back(names_of(static_cast<JinjaKind>(k)));
    return out;
  }();
  return tables[static_cast<size_t>(kind)];
}

}  // namespace

const std::vector<JinjaMethodEntry>& container_methods() {
  static const std::vector<JinjaMethodEntry> methods = {
      {JinjaKind::kDict, "items", dict_items},   {JinjaKind::kDict, "keys", dict_keys},
      {JinjaKind::kDict, "values", dict_values}, {JinjaKind::kDict, "get", dict_get},
      {JinjaKind::kDict, "copy", same},          {JinjaKind::kList, "copy", same},
      {JinjaKind::kList, "count", list_count},   {JinjaKind::kList, "index", list_index},
      {JinjaKind::kTuple, "count", list_count},  {JinjaKind::kTuple, "index", list_index},
      {JinjaKind::kLoop, "cycle", loop_cycle},   {JinjaKind::kLoop, "changed", loop_changed},
  };
  return methods;
}

JinjaMethodFound find_method(JinjaKind kind, std::string_view name) {
  const NameTable& table = name_table(kind);
  const auto found = table.find(name);
  if (found != table.end()) return found->second;
  const bool is_dunder = name.starts_with("__") && name.ends_with("__");
  return {.status = is_dunder && kind != JinjaKind::kDict ? JinjaMethodStatus::kUnsafe : JinjaMethodStatus::kNone};
}

bool is_refused_method(std::string_view name) {
  return find_method(JinjaKind::kString, name).status == JinjaMethodStatus::kRefused ||
         find_method(JinjaKind::kDict, name).status == JinjaMethodStatus::kRefused;
}

JinjaValue call_method(JinjaInterpreter& in, const JinjaMethod& method, JinjaArguments& arguments) {
  if (method.self.is_markup()) in.refuse("a method of the result of safe or escape");
  in.charge(1);
  return all_methods()[static_cast<size_t>(method.id)].function(in, method.self, arguments);
}

}  // namespace qtune
