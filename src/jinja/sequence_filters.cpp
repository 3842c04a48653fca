#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "arguments.h"
#include "filters.h"
#include "methods.h"
#include "operators.h"
#include "sequences.h"

namespace qtune {
namespace {

JinjaValue length(JinjaInterpreter& in, JinjaArguments& arguments) {
  const JinjaBound given = bind_positional(in, "length", arguments, 1, 1);
  const auto size = length_of(in, given[0]);
  if (!size) in.fail(fmt::format("a {} has no length", type_name(given[0])));
  return JinjaValue::integer(*size);
}

JinjaValue default_value(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"value", "default_value", "boolean"};
  const JinjaBound given = bind_named(in, "default", arguments, kParameters, 1);
  if (!given[0].is_undefined() && !(given.flag(2) && !truth(given[0]))) return given[0];
  return given.has(1) ? given[1] : make_text("");
}

JinjaValue first(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"seq"};
  const JinjaBound given = bind_named(in, "first", arguments, kParameters, 1);
  JinjaValue item;
  return iterate(in, given[0])->next(in, item) ? item : in.make_undefined("no first item, the sequence is empty");
}

JinjaValue last(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"seq"};
  const JinjaBound given = bind_named(in, "last", arguments, kParameters, 1);
  if (given[0].kind() == JinjaKind::kIterator) in.fail("last of a generator");
  const std::vector<JinjaValue> items = to_items(in, given[0]);
  return items.empty() ? in.make_undefined("no last item, the sequence is empty") : items.back();
}

JinjaValue list(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"value"};
  return in.make_list(to_items(in, bind_named(in, "list", arguments, kParameters, 1)[0]));
}

JinjaValue items(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"value"};
  const JinjaValue value = bind_named(in, "items", arguments, kParameters, 1)[0];
  if (!value.is_undefined() && value.kind() != JinjaKind::kDict) in.fail("items expects a mapping");
  size_t at = 0;
  return make_iterator(in, value, [&in, value, at](JinjaValue& out) mutable {
    if (value.is_undefined() || at >= as<JinjaDict>(value).entries.size()) return false;
    const auto& [key, item] = as<JinjaDict>(value).entries[at++];
    out = in.make_tuple({key, item});
    return true;
  });
}

JinjaValue reverse(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"value"};
  const JinjaValue value = bind_named(in, "reverse", arguments, kParameters, 1)[0];
  if (value.is_string()) return slice_of(in, value, JinjaValue::none(), JinjaValue::none(), JinjaValue::integer(-1));
  if (value.kind() != JinjaKind::kIterator) return reversed(in, value);
  std::vector<JinjaValue> all = to_items(in, value);
  std::reverse(all.begin(), all.end());
  return in.make_list(std::move(all));
}

/// Sort keys: paths with commas give several.
std::vector<JinjaValue> key_of(JinjaInterpreter& in, const JinjaValue& item, const JinjaValue& attribute,
                               bool case_sensitive) {
  std::vector<JinjaValue> keys;
  const auto add = [&](const JinjaValue& path) {
    JinjaValue key = path_of(in, item, path);
    keys.push_back(!case_sensitive && key.is_string() ? lowercased(in, key) : key);
  };
  if (!attribute.is_string()) {
    add(attribute);
    return keys;
  }
  std::string_view rest = text_of(attribute);
  while (true) {
    const size_t comma = rest.find(',');
    add(make_text(rest.substr(0, comma)));
    if (comma == std::string_view::npos) return keys;
    rest.remove_prefix(comma + 1);
  }
}

struct Keyed {
  std::vector<JinjaValue> keys;
  JinjaValue item;
};

/// Stable; by the first key that differs.
JinjaValue sorted(JinjaInterpreter& in, std::vector<Keyed> keyed, bool backwards) {
  const auto before = [&](const Keyed& a, const Keyed& b) {
    for (size_t i = 0; i < a.keys.size(); ++i) {
      if (!equal(in, a.keys[i], b.keys[i])) return less(in, a.keys[i], b.keys[i]);
    }
    return false;
  };
  if (backwards) std::reverse(keyed.begin(), keyed.end());
  std::stable_sort(keyed.begin(), keyed.end(), before);
  if (backwards) std::reverse(keyed.begin(), keyed.end());
  std::vector<JinjaValue> out;
  for (Keyed& entry : keyed) out.push_back(std::move(entry.item));
  return in.make_list(std::move(out));
}

JinjaValue sort(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"value", "reverse", "case_sensitive", "attribute"};
  const JinjaBound given = bind_named(in, "sort", arguments, kParameters, 1);
  const JinjaValue attribute = given.has(3) ? given[3] : JinjaValue::none();
  std::vector<Keyed> keyed;
  for (JinjaValue& item : to_items(in, given[0])) {
    std::vector<JinjaValue> keys = key_of(in, item, attribute, given.flag(2));
    keyed.push_back({std::move(keys), std::move(item)});
  }
  return sorted(in, std::move(keyed), given.flag(1));
}

JinjaValue dictsort(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"value", "case_sensitive", "by", "reverse"};
  const JinjaBound given = bind_named(in, "dictsort", arguments, kParameters, 1);
  if (given[0].is_undefined()) fail_undefined(in, given[0]);
  if (given[0].kind() != JinjaKind::kDict) in.fail("dictsort expects a mapping");
  const std::string_view by = given.has(2) ? text_of(given.string(in, 2)) : "key";
  if (by != "key" && by != "value") in.fail("dictsort sorts by key or value");
  std::vector<Keyed> keyed;
  for (const auto& [key, value] : as<JinjaDict>(given[0]).entries) {
    keyed.push_back(
        {key_of(in, by == "key" ? key : value, JinjaValue::none(), given.flag(1)), in.make_tuple({key, value})});
  }
  return sorted(in, std::move(keyed), given.flag(3));
}

JinjaValue unique(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"value", "case_sensitive", "attribute"};
  const JinjaBound given = bind_named(in, "unique", arguments, kParameters, 1);
  const JinjaValue attribute = given.has(2) ? given[2] : JinjaValue::none();
  const bool case_sensitive = given.flag(1);
  auto seen = std::make_shared<std::vector<JinjaValue>>();
  return make_iterator(
      in, given[0], [&in, attribute, case_sensitive, seen, it = iterate(in, given[0])](JinjaValue& out) {
        while (it->next(in, out)) {
          JinjaValue key = path_of(in, out, attribute);
          if (!case_sensitive && key.is_string()) key = lowercased(in, key);
          check_hashable(in, key);
          if (std::any_of(seen->begin(), seen->end(), [&](const JinjaValue& other) { return equal(in, key, other); }))
            continue;
          in.charge_bytes(sizeof(JinjaValue));
          seen->push_back(key);
          return true;
        }
        return false;
      });
}

template <bool kMaximum>
JinjaValue extreme(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"value", "case_sensitive", "attribute"};
  const JinjaBound given = bind_named(in, "min, max", arguments, kParameters, 1);
  const JinjaValue attribute = given.has(2) ? given[2] : JinjaValue::none();
  JinjaValue best, best_key;
  bool any = false;
  for (const JinjaValue& item : to_items(in, given[0])) {
    JinjaValue key = path_of(in, item, attribute);
    if (!given.flag(1) && key.is_string()) key = lowercased(in, key);
    if (any && !(kMaximum ? compare(in, JinjaOperator::kGreater, key, best_key) : less(in, key, best_key))) continue;
    best = item;
    best_key = key;
    any = true;
  }
  return any ? best : in.make_undefined("no smallest or largest item, the sequence is empty");
}

JinjaValue batch(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"value", "linecount", "fill_with"};
  const JinjaBound given = bind_named(in, "batch", arguments, kParameters, 2);
  const int64_t size = given.integer(in, 1, 1);
  const JinjaValue fill = given.has(2) ? given[2] : JinjaValue::none();
  if (size < 1) in.refuse("batch of less than 1");
  std::vector<JinjaValue> lists, row;
  const auto close = [&] { lists.push_back(in.make_list(std::exchange(row, {}))); };
  for (JinjaValue& item : to_items(in, given[0])) {
    if (static_cast<int64_t>(row.size()) == size) close();
    row.push_back(std::move(item));
  }
  if (!row.empty()) {
    if (fill.kind() != JinjaKind::kNone) {
      in.charge_bytes(static_cast<size_t>(std::min<int64_t>(size, int64_t{1} << 40)) * sizeof(JinjaValue));
      row.resize(static_cast<size_t>(size), fill);
    }
    close();
  }
  JinjaArguments all{.values = {in.make_list(std::move(lists))}};
  return make_iterator(in, all.values[0],
                       [&in, it = iterate(in, all.values[0])](JinjaValue& out) { return it->next(in, out); });
}

}  // namespace

const std::vector<JinjaFilterEntry>& sequence_filters() {
  static const std::vector<JinjaFilterEntry> filters = {
      {"batch", batch},       {"count", length}, {"d", default_value},   {"default", default_value},
      {"dictsort", dictsort}, {"first", first},  {"items", items},       {"last", last},
      {"length", length},     {"list", list},    {"max", extreme<true>}, {"min", extreme<false>},
      {"reverse", reverse},   {"sort", sort},    {"unique", unique},
  };
  return filters;
}

}  // namespace qtune
