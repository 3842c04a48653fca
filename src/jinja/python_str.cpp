#include <fmt/format.h>

#include "operators.h"
#include "qtune/jinja/python_text.h"
#include "sequences.h"

namespace qtune {
namespace {

/// repr() goes as deep as namespaces hold each other, which may be in a circle.
class ReprDepth {
 public:
  explicit ReprDepth(JinjaInterpreter& in) {
    if (++depth_ > kMaxValueDepth) {
      --depth_;
      in.fail(JinjaFault::kLimit, "a value that is too deeply nested to be written");
    }
  }
  ~ReprDepth() { --depth_; }

 private:
  static thread_local int depth_;
};
thread_local int ReprDepth::depth_ = 0;

void append_items(JinjaInterpreter& in, JinjaText& out, const std::vector<JinjaValue>& items) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out.append(", ");
    append_repr(in, out, items[i]);
  }
}

void append_dict(JinjaInterpreter& in, JinjaText& out, const JinjaDict& dict) {
  out.append("{");
  bool first = true;
  for (const auto& [key, value] : dict.entries) {
    if (!first) out.append(", ");
    first = false;
    append_repr(in, out, key);
    out.append(": ");
    append_repr(in, out, value);
  }
  out.append("}");
}

void append_view(JinjaInterpreter& in, JinjaText& out, const JinjaValue& value) {
  const JinjaViewKind view = as<JinjaDictView>(value).view;
  out.append(view == JinjaViewKind::kKeys     ? "dict_keys(["
             : view == JinjaViewKind::kValues ? "dict_values(["
                                              : "dict_items([");
  append_items(in, out, to_items(in, value));
  out.append("])");
}

void append_namespace(JinjaInterpreter& in, JinjaText& out, const JinjaNamespace& space) {
  out.append("<Namespace {");
  bool first = true;
  for (const auto& [name, value] : space.attributes) {
    if (!first) out.append(", ");
    first = false;
    out.append(python_repr(name) + ": ");
    append_repr(in, out, value);
  }
  out.append("}>");
}

}  // namespace

void append_repr(JinjaInterpreter& in, JinjaText& out, const JinjaValue& value) {
  const ReprDepth depth(in);
  in.charge(1);
  switch (value.kind()) {
    case JinjaKind::kUndefined:
      return out.append("Undefined");
    case JinjaKind::kNone:
      return out.append("None");
    case JinjaKind::kBool:
      return out.append(value.as_int() != 0 ? "True" : "False");
    case JinjaKind::kInt:
      return out.append(fmt::format("{}", value.as_int()));
    case JinjaKind::kFloat:
      return out.append(python_repr(value.as_float()));
    case JinjaKind::kString:
      in.charge_bytes(text_of(value).size());
      if (value.is_markup()) out.append("Markup(");
      out.append(python_repr(text_of(value)));
      if (value.is_markup()) out.append(")");
      return;
    case JinjaKind::kList:
      out.append("[");
      append_items(in, out, items_of(value));
      return out.append("]");
    case JinjaKind::kTuple:
      out.append("(");
      append_items(in, out, items_of(value));
      return out.append(items_of(value).size() == 1 ? ",)" : ")");
    case JinjaKind::kDict:
      return append_dict(in, out, as<JinjaDict>(value));
    case JinjaKind::kRange: {
      const JinjaRange& range = as<JinjaRange>(value);
      const int64_t stop = range.stop;
      return out.append(range.step == 1 ? fmt::format("range({}, {})", range.start, stop)
                                        : fmt::format("range({}, {}, {})", range.start, stop, range.step));
    }
    case JinjaKind::kDictView:
      return append_view(in, out, value);
    case JinjaKind::kNamespace:
      return append_namespace(in, out, as<JinjaNamespace>(value));
    case JinjaKind::kLoop:
      return out.append(
          fmt::format("<LoopContext {}/{}>", as<JinjaLoop>(value).index0 + 1, loop_length(in, as<JinjaLoop>(value))));
    default:
      in.refuse(fmt::format("writing a {}", type_name(value)));
  }
}

void append_str(JinjaInterpreter& in, JinjaText& out, const JinjaValue& value) {
  if (value.is_undefined()) {
    if (!in.writes_undefined()) fail_undefined(in, value);
    return;
  }
  if (!value.is_string()) {
    const size_t before = out.text.size();
    append_repr(in, out, value);
    in.charge_bytes(out.text.size() - before);
    return;
  }
  const JinjaString& string = as<JinjaString>(value);
  in.charge_bytes(string.text.size() + string.segments.size() * sizeof(JinjaSegment));
  out.append(string);
}

JinjaValue to_str(JinjaInterpreter& in, const JinjaValue& value) {
  if (value.is_string()) return value.is_markup() ? value.with_markup(false) : value;
  JinjaText out;
  append_str(in, out, value);
  return out.take();
}

}  // namespace qtune
