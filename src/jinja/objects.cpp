#include "objects.h"

#include <algorithm>

namespace qtune {

JinjaValue JinjaValue::real(double value) {
  JinjaValue out(JinjaKind::kFloat, 0);
  out.data_.real = value;
  return out;
}

JinjaValue JinjaValue::text(std::string value) { return make_text(std::move(value)); }

JinjaValue JinjaValue::view(std::string_view value, int32_t source) {
  auto* string = new JinjaString;
  JinjaValue out = of(JinjaKind::kString, string);
  string->text = value;
  if (source != kNoJinjaSource) string->segments.push_back({0, value.size(), source, 0});
  return out;
}

JinjaValue JinjaValue::list(std::vector<JinjaValue> items) {
  auto* list = new JinjaList;
  JinjaValue out = of(JinjaKind::kList, list);
  list->items = std::move(items);
  for (const JinjaValue& item : list->items) list->depth = std::max(list->depth, 1 + depth_of(item));
  return out;
}

JinjaValue JinjaValue::dict(std::vector<std::pair<JinjaValue, JinjaValue>> entries) {
  auto* dict = new JinjaDict;
  JinjaValue out = of(JinjaKind::kDict, dict);
  dict->entries = std::move(entries);
  for (const auto& [key, value] : dict->entries) {
    dict->depth = std::max({dict->depth, 1 + depth_of(key), 1 + depth_of(value)});
  }
  return out;
}

JinjaValue JinjaValue::of(JinjaKind kind, JinjaObject* object) {
  JinjaValue out;
  out.kind_ = kind;
  out.data_.object = object;
  out.retain();
  return out;
}

const JinjaValue* JinjaDict::find(std::string_view key) const {
  for (const auto& entry : entries) {
    if (entry.first.is_string() && text_of(entry.first) == key) return &entry.second;
  }
  return nullptr;
}

JinjaConstant::JinjaConstant(std::string text) : value_(make_text(std::move(text))) {
  value_.object()->num_owners_ = JinjaObject::kImmortal;
}

JinjaConstant::~JinjaConstant() {
  if (value_.is_string()) value_.object()->num_owners_ = 1;  // value_ is the one owner left
}

void JinjaText::append(const JinjaString& string, size_t begin, size_t end) {
  const size_t at = text.size();
  text += string.text.substr(begin, end - begin);
  for (const JinjaSegment& part : string.segments) {
    const size_t low = std::max(part.begin, begin), high = std::min(part.end, end);
    if (low > high || (low == high && part.begin != part.end && begin != end)) continue;
    add_segment({at + low - begin, at + high - begin, part.source, part.offset + low - part.begin});
  }
}

void JinjaText::add_segment(const JinjaSegment& segment) {
  if (!segments.empty()) {
    JinjaSegment& last = segments.back();
    const bool touches = last.source == segment.source && last.end == segment.begin;
    if (touches && last.offset + (last.end - last.begin) == segment.offset) {
      last.end = segment.end;
      return;
    }
    if (touches && segment.begin == segment.end) return;
    if (touches && last.begin == last.end) {
      last = segment;
      return;
    }
  }
  segments.push_back(segment);
}

JinjaValue JinjaText::take() {
  return JinjaValue::of(JinjaKind::kString, new JinjaString(std::move(text), std::move(segments)));
}

int depth_of(const JinjaValue& value) {
  switch (value.kind()) {
    case JinjaKind::kList:
    case JinjaKind::kTuple:
    case JinjaKind::kDict:
    case JinjaKind::kDictView:
    case JinjaKind::kIterator:
    case JinjaKind::kLoop:
    case JinjaKind::kMethod:
      return static_cast<JinjaContainer*>(value.object())->depth;
    default:
      return 0;
  }
}

JinjaValue make_text(std::string text) { return JinjaValue::of(JinjaKind::kString, new JinjaString(std::move(text))); }

JinjaValue make_slice(const JinjaValue& string, size_t begin, size_t end) {
  const JinjaString& whole = as<JinjaString>(string);
  if (begin == 0 && end == whole.text.size()) return string.is_markup() ? string.with_markup(false) : string;
  JinjaText out;
  out.append(whole, begin, end);
  return out.take();
}

const char* type_name(const JinjaValue& value) {
  switch (value.kind()) {
    case JinjaKind::kUndefined:
      return "Undefined";
    case JinjaKind::kNone:
      return "None";
    case JinjaKind::kBool:
      return "bool";
    case JinjaKind::kInt:
      return "int";
    case JinjaKind::kFloat:
      return "float";
    case JinjaKind::kFunction:
    case JinjaKind::kMethod:
      return "function";
    case JinjaKind::kString:
      return "str";
    case JinjaKind::kList:
      return "list";
    case JinjaKind::kTuple:
      return "tuple";
    case JinjaKind::kDict:
      return "dict";
    case JinjaKind::kRange:
      return "range";
    case JinjaKind::kDictView:
      return "dict view";
    case JinjaKind::kIterator:
      return "generator";
    case JinjaKind::kNamespace:
      return "namespace";
    case JinjaKind::kLoop:
      return "loop";
    case JinjaKind::kMacro:
      return "macro";
  }
  return "?";
}

}  // namespace qtune
