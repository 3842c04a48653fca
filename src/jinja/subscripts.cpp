#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "methods.h"
#include "operators.h"
#include "qtune/jinja/python_text.h"
#include "sequences.h"

namespace qtune {
namespace {

JinjaValue undefined_item(JinjaInterpreter& in, const JinjaValue& object, const JinjaValue& key) {
  if (key.is_string()) {
    return in.make_undefined(
        fmt::format("a {} has no attribute {}", type_name(object), python_repr(text_of(key).substr(0, 80))));
  }
  return in.make_undefined(fmt::format("a {} has no such element", type_name(object)));
}

/// Python's index: from the end where negative. -1 where there is no such item.
int64_t wrapped(int64_t index, int64_t size) {
  if (index < 0) index += size;
  return index < 0 || index >= size ? -1 : index;
}

JinjaValue character(JinjaInterpreter& in, const JinjaValue& string, int64_t index) {
  const std::string_view text = text_of(string);
  in.charge(static_cast<int64_t>(text.size() / 32));
  const int64_t at = wrapped(index, static_cast<int64_t>(num_characters(text)));
  if (at < 0) return {};
  const size_t begin = is_ascii(text) ? static_cast<size_t>(at) : byte_offset(text, static_cast<size_t>(at));
  return make_slice(string, begin, begin + utf8_size(text, begin));
}

/// The item at an integer index; undefined without message where there is none.
JinjaValue indexed(JinjaInterpreter& in, const JinjaValue& object, int64_t index) {
  switch (object.kind()) {
    case JinjaKind::kString:
      return character(in, object, index).with_markup(object.is_markup());
    case JinjaKind::kList:
    case JinjaKind::kTuple: {
      const int64_t at = wrapped(index, static_cast<int64_t>(items_of(object).size()));
      return at < 0 ? JinjaValue() : items_of(object)[static_cast<size_t>(at)];
    }
    case JinjaKind::kRange: {
      const int64_t at = wrapped(index, as<JinjaRange>(object).size);
      return at < 0 ? JinjaValue() : JinjaValue::integer(range_item(as<JinjaRange>(object), at));
    }
    default:
      return {};
  }
}

JinjaValue loop_attribute(JinjaInterpreter& in, JinjaLoop& loop, const std::string& name, bool& found) {
  const auto peek = [&] {
    JinjaValue item;
    if (!loop.after && loop.iterator->next(in, item)) loop.after = std::move(item);
    return loop.after.has_value();
  };
  found = true;
  if (name == "index0") return JinjaValue::integer(loop.index0);
  if (name == "index") return JinjaValue::integer(loop.index0 + 1);
  if (name == "first") return JinjaValue::boolean(loop.index0 == 0);
  if (name == "last") return JinjaValue::boolean(!peek());
  if (name == "length") return JinjaValue::integer(loop_length(in, loop));
  if (name == "revindex") return JinjaValue::integer(loop_length(in, loop) - loop.index0);
  if (name == "revindex0") return JinjaValue::integer(loop_length(in, loop) - loop.index0 - 1);
  if (name == "depth") return JinjaValue::integer(1);
  if (name == "depth0") return JinjaValue::integer(0);
  if (name == "previtem") return loop.index0 == 0 ? in.make_undefined("there is no previous item") : loop.before;
  if (name == "nextitem") return peek() ? *loop.after : in.make_undefined("there is no next item");
  found = false;
  return {};
}

JinjaValue namespace_attribute(JinjaInterpreter& in, const JinjaValue& object, const std::string& name,
                               const JinjaValue& key) {
  for (const auto& [attribute, value] : as<JinjaNamespace>(object).attributes) {
    if (attribute == name) return value;
  }
  return undefined_item(in, object, key);
}

/// What getattr() finds; `found` tells whether it did.
JinjaValue python_attribute(JinjaInterpreter& in, const JinjaValue& object, const std::string& name, bool& found) {
  found = true;
  if (object.kind() == JinjaKind::kLoop) {
    JinjaValue value = loop_attribute(in, as<JinjaLoop>(object), name, found);
    if (found) return value;
  }
  const JinjaMethodFound method = find_method(object.kind(), name);
  switch (method.status) {
    case JinjaMethodStatus::kKnown: {
      auto* made = new JinjaMethod;
      JinjaValue out = JinjaValue::of(JinjaKind::kMethod, made);
      made->self = object;
      made->id = method.id;
      made->depth = in.checked_depth(object);
      found = true;
      return out;
    }
    case JinjaMethodStatus::kUnsafe:
      found = true;
      return in.make_undefined(fmt::format("the attribute {} of a {} is not safe", name, type_name(object)));
    case JinjaMethodStatus::kRefused:
      in.refuse(fmt::format("the attribute {} of a {}", name, type_name(object)));
    case JinjaMethodStatus::kNone:
      break;
  }
  found = false;
  return {};
}

}  // namespace

JinjaValue item_of(JinjaInterpreter& in, const JinjaValue& object, const JinjaValue& key) {
  in.charge(1);
  if (object.is_undefined()) fail_undefined(in, object);
  if (object.kind() == JinjaKind::kDict) {
    if (const JinjaValue* value = is_hashable(key) ? find_entry(in, as<JinjaDict>(object), key) : nullptr)
      return *value;
  } else if (key.is_integral()) {
    JinjaValue value = indexed(in, object, key.as_int());
    if (!value.is_undefined() || value.object()) return value;
  }
  if (key.is_string()) {
    bool found = false;
    const std::string name(text_of(key).substr(0, 256));
    if (object.kind() == JinjaKind::kNamespace) return namespace_attribute(in, object, name, key);
    JinjaValue value = python_attribute(in, object, name, found);
    if (found) return value;
  }
  return undefined_item(in, object, key);
}

JinjaValue attribute_of(JinjaInterpreter& in, const JinjaValue& object, const std::string& name,
                        const JinjaValue& key) {
  in.charge(1);
  if (object.is_undefined()) fail_undefined(in, object);
  if (object.kind() == JinjaKind::kNamespace) return namespace_attribute(in, object, name, key);
  bool found = false;
  JinjaValue value = python_attribute(in, object, name, found);
  if (found) return value;
  if (object.kind() == JinjaKind::kDict) {
    if (const JinjaValue* entry = find_entry(in, as<JinjaDict>(object), key)) return *entry;
  }
  return undefined_item(in, object, key);
}

namespace {

struct SliceBounds {
  int64_t start = 0, stop = 0, step = 1;
  int64_t size() const {
    if (step > 0) return start < stop ? (stop - start - 1) / step + 1 : 0;
    return stop < start ? (start - stop - 1) / -step + 1 : 0;
  }
};

/// Python's slice.indices.
SliceBounds slice_bounds(JinjaInterpreter& in, const JinjaValue& start, const JinjaValue& stop, const JinjaValue& step,
                         int64_t length) {
  const auto check = [&](const JinjaValue& part) {
    if (part.kind() != JinjaKind::kNone && !part.is_integral()) in.fail("slice indices must be integers or None");
  };
  check(start);
  check(stop);
  check(step);
  SliceBounds out;
  if (step.kind() != JinjaKind::kNone) out.step = step.as_int();
  if (out.step == 0) in.fail("a slice's step can't be 0");
  out.step = std::max(out.step, -INT64_MAX);
  const bool down = out.step < 0;
  const int64_t low = down ? -1 : 0, high = down ? length - 1 : length;
  const auto bound = [&](const JinjaValue& part, int64_t otherwise) {
    if (part.kind() == JinjaKind::kNone) return otherwise;
    int64_t at = part.as_int();
    if (at < 0) at += length;
    return std::clamp(at, low, high);
  };
  out.start = bound(start, down ? high : low);
  out.stop = bound(stop, down ? low : high);
  return out;
}

JinjaValue string_slice(JinjaInterpreter& in, const JinjaValue& string, const SliceBounds& bounds) {
  const std::string_view text = text_of(string);
  in.charge_bytes(text.size());
  if (bounds.size() == 0) return make_slice(string, 0, 0);
  const bool ascii = is_ascii(text);
  if (bounds.step == 1) {
    const auto begin = static_cast<size_t>(bounds.start), count = static_cast<size_t>(bounds.size());
    if (ascii) return make_slice(string, begin, begin + count);
    const size_t from = byte_offset(text, begin);
    return make_slice(string, from, from + byte_offset(text.substr(from), count));
  }
  std::vector<size_t> starts;
  in.charge_bytes(text.size() * sizeof(size_t));
  for (size_t i = 0; i < text.size(); i += utf8_size(text, i)) starts.push_back(i);
  JinjaText out;
  const JinjaString& whole = as<JinjaString>(string);
  for (int64_t i = 0, at = bounds.start; i < bounds.size(); ++i, at += bounds.step) {
    in.charge(1 + static_cast<int64_t>(whole.segments.size()));
    const size_t from = starts[static_cast<size_t>(at)];
    out.append(whole, from, from + utf8_size(text, from));
  }
  in.charge_bytes(out.segments.size() * sizeof(JinjaSegment));
  return out.take();
}

}  // namespace

JinjaValue slice_of(JinjaInterpreter& in, const JinjaValue& object, const JinjaValue& start, const JinjaValue& stop,
                    const JinjaValue& step) {
  in.charge(1);
  if (object.is_undefined()) fail_undefined(in, object);
  const bool can = object.is_string() || object.kind() == JinjaKind::kList || object.kind() == JinjaKind::kTuple ||
                   object.kind() == JinjaKind::kRange;
  if (!can) in.fail(fmt::format("a {} can't be sliced", type_name(object)));
  const SliceBounds bounds = slice_bounds(in, start, stop, step, *length_of(in, object));
  if (object.is_string()) return string_slice(in, object, bounds).with_markup(object.is_markup());
  if (object.kind() == JinjaKind::kRange) {
    const JinjaRange& range = as<JinjaRange>(object);
    int64_t width = 0;
    if (__builtin_mul_overflow(range.step, bounds.step, &width)) in.refuse("an integer beyond 64 bits");
    const auto edge = [&](int64_t index) {
      const __int128 at = static_cast<__int128>(range.start) + static_cast<__int128>(index) * range.step;
      if (at > INT64_MAX || at < INT64_MIN) in.refuse("an integer beyond 64 bits");
      return static_cast<int64_t>(at);
    };
    return make_range(in, edge(bounds.start), edge(bounds.stop), width);
  }
  std::vector<JinjaValue> items;
  in.charge_bytes(static_cast<size_t>(bounds.size()) * sizeof(JinjaValue));
  items.reserve(static_cast<size_t>(bounds.size()));
  for (int64_t i = 0, at = bounds.start; i < bounds.size(); ++i, at += bounds.step)
    items.push_back(items_of(object)[static_cast<size_t>(at)]);
  return object.kind() == JinjaKind::kList ? in.make_list(std::move(items)) : in.make_tuple(std::move(items));
}

JinjaValue path_of(JinjaInterpreter& in, const JinjaValue& object, const JinjaValue& path,
                   const JinjaValue* default_value) {
  if (path.kind() == JinjaKind::kNone) return object;
  const auto step = [&](const JinjaValue& from, const JinjaValue& key) {
    JinjaValue value = item_of(in, from, key);
    return value.is_undefined() && default_value ? *default_value : value;
  };
  if (!path.is_string()) return step(object, path);
  JinjaValue value = object;
  std::string_view rest = text_of(path);
  while (true) {
    const size_t dot = rest.find('.');
    const std::string_view part = rest.substr(0, dot);
    const bool number =
        !part.empty() && std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
    int64_t index = 0;
    if (number && std::from_chars(part.data(), part.data() + part.size(), index).ec != std::errc())
      in.refuse("an integer beyond 64 bits");
    value = step(value, number ? JinjaValue::integer(index) : make_text(part));
    if (dot == std::string_view::npos) return value;
    rest.remove_prefix(dot + 1);
  }
}

}  // namespace qtune
