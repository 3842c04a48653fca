#include "read_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

#include "record_source.h"

namespace qtune {
namespace {

using nlohmann::json;

/// Builds the value as the parser goes, and stops at the first fault.
class JsonBuilder {
 public:
  explicit JsonBuilder(json& root) : root_(root) { root_ = nullptr; }

  size_t fault_at() const { return fault_at_; }
  const std::string& fault() const { return fault_; }

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(int64_t value) { return add(value); }
  bool number_unsigned(uint64_t value) { return add(value); }
  bool number_float(double value, const std::string&) { return add(value); }
  bool string(std::string& value) { return add(std::move(value)); }
  bool binary(json::binary_t&) { return false; }
  bool start_object(size_t) { return open(json::value_t::object); }
  bool start_array(size_t) { return open(json::value_t::array); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    const auto [it, fresh] = open_.back()->get_ref<json::object_t&>().emplace(std::move(name), nullptr);
    member_ = &it->second;
    if (fresh) return true;
    const std::string shown = json(it->first.substr(0, 40)).dump(-1, ' ', true, json::error_handler_t::replace);
    fault_ = fmt::format("key {} twice in one object", shown);
    return false;
  }

  bool parse_error(size_t position, const std::string&, const json::exception& error) {
    fault_at_ = position;
    fault_ = error.what();
    return false;
  }

 private:
  template <class Value>
  bool add(Value&& value) {
    place() = std::forward<Value>(value);
    return true;
  }

  bool open(json::value_t type) {
    if (open_.size() >= kMaxJsonDepth) {
      fault_ = fmt::format("objects or arrays nested more than {} deep", kMaxJsonDepth);
      return false;
    }
    json& value = place();
    value = type;
    open_.push_back(&value);
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  /// Where the next value goes.
  json& place() {
    if (open_.empty()) return root_;
    if (open_.back()->is_object()) return *member_;
    auto& array = open_.back()->get_ref<json::array_t&>();
    array.emplace_back(nullptr);
    return array.back();
  }

  json& root_;
  std::vector<json*> open_;
  json* member_ = nullptr;
  std::string fault_;
  size_t fault_at_ = 0;
};

/// nlohmann's reason without its own error number, position and the file's raw bytes.
std::string readable(const std::string& what) {
  const char* before = what.find("syntax error") == std::string::npos ? "] " : " - ";
  const size_t found = what.find(before);
  const size_t start = found == std::string::npos ? 0 : found + std::strlen(before);
  std::string reason = what.substr(start, what.find("; last read:") - start);
  std::replace_if(
      reason.begin(), reason.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return reason.substr(0, 160);
}

std::string fault_message(const std::string& text, const JsonPlace& place, const JsonBuilder& builder) {
  const bool cut_off = builder.fault_at() > text.size();
  std::string reason = readable(builder.fault());
  if (cut_off && place.last) reason += "; the file ends here, without a line end: it seems cut off";
  if (builder.fault_at() == 0) {
    return fmt::format("{}:{}: expected a JSON object{}, found {}", place.file, place.first_line, place.suffix, reason);
  }
  const size_t end = std::min(builder.fault_at() - 1, text.size());
  const int64_t line = place.first_line + std::count(text.begin(), text.begin() + static_cast<int64_t>(end), '\n');
  const size_t break_before = end == 0 ? std::string::npos : text.rfind('\n', end - 1);
  const size_t column = end - (break_before == std::string::npos ? 0 : break_before + 1) + 1;
  return fmt::format("{}:{}: expected a JSON object, found at column {}{}: {}", place.file, line, column, place.suffix,
                     reason);
}

/// Where `word` stands in `text` from `at` on.
bool has_at(const std::string& text, size_t at, std::string_view word) {
  return text.compare(at, word.size(), word) == 0;
}

/// The text with null for the words that Python writes where JSON has no number; strings stay. With a space before it
/// (Python's default) every other byte keeps its place, so that a column in a message is right.
std::string without_non_finite(const std::string& text) {
  std::string out;
  out.reserve(text.size());
  bool in_string = false;
  for (size_t i = 0; i < text.size();) {
    size_t length = 1;
    if (in_string && text[i] == '\\') {
      length = std::min<size_t>(2, text.size() - i);
    } else if (text[i] == '"') {
      in_string = !in_string;
    } else if (!in_string) {
      length = has_at(text, i, "NaN") ? 3 : has_at(text, i, "Infinity") ? 8 : has_at(text, i, "-Infinity") ? 9 : 1;
    }
    if (length < 3) {
      out.append(text, i, length);
    } else {
      if (length == 3 && out.ends_with(' ')) out.pop_back();
      out += "null";
      if (length > 4) out.append(length - 4, ' ');
    }
    i += length;
  }
  return out;
}

void parse(const std::string& text, const JsonPlace& place, json& result) {
  JsonBuilder builder(result);
  if (!json::sax_parse(text, &builder)) throw BadRecord(fault_message(text, place, builder));
}

}  // namespace

void read_json_object(const std::string& text, const JsonPlace& place, json& result) {
  JsonBuilder builder(result);
  if (!json::sax_parse(text, &builder)) parse(without_non_finite(text), place, result);
  if (result.is_object()) return;
  throw BadRecord(fmt::format("{}:{}: expected a JSON object{}, found {}", place.file, place.first_line, place.suffix,
                              result.type_name()));
}

size_t find_bad_utf8(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto follows = [&](size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  size_t i = 0;
  while (i < text.size()) {
    const unsigned first = byte(i), second = byte(i + 1);
    size_t length = 0;
    if (first < 0x80) {
      length = 1;
    } else if (first >= 0xC2 && first <= 0xDF) {
      length = 2;
    } else if (first >= 0xE0 && first <= 0xEF) {
      // Neither overlong nor a surrogate.
      const bool fits = (first != 0xE0 || second >= 0xA0) && (first != 0xED || second <= 0x9F);
      length = fits && follows(i + 2) ? 3 : 0;
    } else if (first >= 0xF0 && first <= 0xF4) {
      const bool fits = (first != 0xF0 || second >= 0x90) && (first != 0xF4 || second <= 0x8F);
      length = fits && follows(i + 2) && follows(i + 3) ? 4 : 0;
    }
    if (length == 0 || (length > 1 && !follows(i + 1))) return i;
    i += length;
  }
  return text.size();
}

}  // namespace qtune
