#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "format.h"
#include "operators.h"
#include "qtune/jinja/python_text.h"

namespace qtune {
namespace {

class JsonWriter {
 public:
  JsonWriter(JinjaInterpreter& in, const JsonStyle& style) : in_(in), style_(style) {}

  void write(const JinjaValue& value, int level) {
    in_.charge(1);
    switch (value.kind()) {
      case JinjaKind::kNone:
        return plain("null");
      case JinjaKind::kBool:
        return plain(value.as_int() != 0 ? "true" : "false");
      case JinjaKind::kInt:
        return plain(fmt::format("{}", value.as_int()));
      case JinjaKind::kFloat:
        return plain(number(value.as_float()));
      case JinjaKind::kString:
        return string(as<JinjaString>(value));
      case JinjaKind::kList:
      case JinjaKind::kTuple:
        return list(items_of(value), level);
      case JinjaKind::kDict:
        return dict(as<JinjaDict>(value), level);
      default:
        in_.fail(fmt::format("tojson: a {} can't be written as JSON", type_name(value)));
    }
  }

  JinjaValue take() { return out_.take(); }

 private:
  void plain(std::string_view text) {
    in_.charge_bytes(text.size());
    out_.append(text);
  }

  static std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return python_repr(value);
  }

  void line(int level) {
    if (!style_.has_indent) return;
    plain("\n");
    for (int i = 0; i < level; ++i) plain(style_.indent);
  }

  void list(const std::vector<JinjaValue>& items, int level) {
    if (items.empty()) return plain("[]");
    plain("[");
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) plain(style_.item_separator);
      line(level + 1);
      write(items[i], level + 1);
    }
    line(level);
    plain("]");
  }

  void key(const JinjaValue& name) {
    switch (name.kind()) {
      case JinjaKind::kString:
        return string(as<JinjaString>(name));
      case JinjaKind::kNone:
      case JinjaKind::kBool:
      case JinjaKind::kInt:
      case JinjaKind::kFloat:
        plain("\"");
        write(name, 0);
        return plain("\"");
      default:
        in_.fail(fmt::format("tojson: a {} can't be a key", type_name(name)));
    }
  }

  void dict(const JinjaDict& dict, int level) {
    if (dict.entries.empty()) return plain("{}");
    std::vector<const std::pair<JinjaValue, JinjaValue>*> order;
    for (const auto& entry : dict.entries) order.push_back(&entry);
    if (style_.sort_keys) {
      std::stable_sort(order.begin(), order.end(),
                       [&](const auto* a, const auto* b) { return less(in_, a->first, b->first); });
    }
    plain("{");
    for (size_t i = 0; i < order.size(); ++i) {
      if (i > 0) plain(style_.item_separator);
      line(level + 1);
      key(order[i]->first);
      plain(style_.key_separator);
      write(order[i]->second, level + 1);
    }
    line(level);
    plain("}");
  }

  std::string escaped(uint32_t c) const {
    switch (c) {
      case '"':
        return "\\\"";
      case '\\':
        return "\\\\";
      case '\n':
        return "\\n";
      case '\r':
        return "\\r";
      case '\t':
        return "\\t";
      case '\f':
        return "\\f";
      case '\b':
        return "\\b";
      default:
        break;
    }
    if (c < 0x20) return fmt::format("\\u{:04x}", c);
    if (!style_.ascii_only || c < 0x7F) return "";
    if (c < 0x10000) return fmt::format("\\u{:04x}", c);
    return fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((c - 0x10000) >> 10), 0xDC00 + ((c - 0x10000) & 0x3FF));
  }

  /// What needs no escape keeps its provenance.
  void string(const JinjaString& text) {
    in_.charge_bytes(text.text.size() + 2);
    out_.append("\"");
    size_t begin = 0;
    const auto copy = [&](size_t end) {
      if (end == begin) return;
      in_.charge(1 + static_cast<int64_t>(text.segments.size()));
      out_.append(text, begin, end);
    };
    for (size_t i = 0; i < text.text.size();) {
      const size_t size = utf8_size(text.text, i);
      const std::string escape = escaped(code_point_at(text.text, i));
      if (!escape.empty()) {
        copy(i);
        plain(escape);
        begin = i + size;
      }
      i += size;
    }
    copy(text.text.size());
    out_.append("\"");
  }

  JinjaInterpreter& in_;
  const JsonStyle& style_;
  JinjaText out_;
};

}  // namespace

JinjaValue to_json(JinjaInterpreter& in, const JinjaValue& value, const JsonStyle& style) {
  JsonWriter writer(in, style);
  writer.write(value, 0);
  return writer.take();
}

}  // namespace qtune
