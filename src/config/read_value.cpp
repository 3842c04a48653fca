#include "read_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <type_traits>

#include "text_form.h"

namespace qtune {
namespace {

using Kind = ConfigEntry::Kind;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return "";
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

bool in_range(double value, const AllowedValues& allowed) {
  const bool above = allowed.min_excluded ? value > allowed.min : value >= allowed.min;
  return above && (allowed.max_excluded ? value < allowed.max : value <= allowed.max);
}

// Each parse_text reads one scalar, or says no.
bool parse_text(const std::string& text, const AllowedValues& allowed, std::string& out) {
  const auto& choices = allowed.choices;
  const auto is_choice = [&](const std::string& value) {
    return choices.empty() || std::find(choices.begin(), choices.end(), value) != choices.end();
  };
  // YAML 1.1 reads a bare `no` as false, and tools that rewrite files write it so: `save_strategy: false`.
  const bool means_no = !is_choice(text) && parse_truth(text) == false && is_choice("no");
  if (!means_no && !is_choice(text)) return false;
  out = means_no ? "no" : text;
  return true;
}

bool parse_text(const std::string& text, const AllowedValues& allowed, int64_t& out) {
  const std::optional<int64_t> value = parse_whole_number(trimmed(text));
  if (!value || !in_range(static_cast<double>(*value), allowed)) return false;
  out = *value;
  return true;
}

bool parse_text(const std::string& text, const AllowedValues& allowed, double& out) {
  const std::optional<double> value = parse_number(trimmed(text));
  if (!value || !in_range(*value, allowed)) return false;
  out = *value;
  return true;
}

bool parse_text(const std::string& text, const AllowedValues&, bool& out) {
  const std::optional<bool> value = parse_truth(trimmed(text));
  if (value) out = *value;
  return value.has_value();
}

// null for a value that means nothing as it is: `tokenized_path: null`, `report_to: null`, `packing: null`.
bool stays_nothing(const ConfigEntry& entry, bool value) { return entry.kind == Kind::kNull && !value; }
bool stays_nothing(const ConfigEntry& entry, const std::string& value) {
  return entry.kind == Kind::kNull && value.empty();
}
template <class T>
bool stays_nothing(const ConfigEntry& entry, const std::vector<T>& values) {
  if constexpr (std::is_same_v<T, std::string>) {
    if (entry.kind == Kind::kNull && values == std::vector<std::string>{"none"}) return true;
  }
  return entry.kind == Kind::kNull && values.empty();
}

// Texts and truths.
template <class T>
requires std::is_same_v<T, std::string> || std::is_same_v<T, bool>
bool read(const ConfigEntry& entry, const AllowedValues& allowed, T& out) {
  return stays_nothing(entry, out) || (entry.kind == Kind::kText && parse_text(entry.values[0], allowed, out));
}

template <class T>
bool read(const ConfigEntry& entry, const AllowedValues& allowed, T& out) {
  return entry.kind == Kind::kText && parse_text(entry.values[0], allowed, out);
}

template <class T>
bool read(const ConfigEntry& entry, const AllowedValues& allowed, std::optional<T>& out) {
  T value{};
  if (entry.kind == Kind::kNull) {
    out.reset();
    return true;
  }
  if (!read(entry, allowed, value)) return false;
  out = std::move(value);
  return true;
}

// A YAML list, or one text with commas as LLaMA-Factory has it.
template <class T>
bool read(const ConfigEntry& entry, const AllowedValues& allowed, std::vector<T>& out) {
  std::vector<std::string> items;
  if (stays_nothing(entry, out)) return true;
  if (entry.kind == Kind::kComplex) return false;
  if (entry.kind == Kind::kList) items = entry.values;
  if (entry.kind == Kind::kText) {
    std::string_view rest = entry.values[0];
    while (true) {
      const size_t comma = rest.find(',');
      items.emplace_back(trimmed(rest.substr(0, comma)));
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  std::vector<T> values;
  for (const std::string& item : items) {
    T value{};
    if (item.empty() || !parse_text(item, allowed, value)) return false;
    values.push_back(std::move(value));
  }
  out = std::move(values);
  return true;
}

}  // namespace

std::string read_value(const ConfigEntry& entry, const ConfigKey& key) {
  const bool done = std::visit([&](auto* field) { return read(entry, key.allowed, *field); }, key.field);
  if (done) return "";
  const std::string limits = describe(key.allowed);
  const std::string type = type_name(key.field);
  const std::string expected = !key.allowed.choices.empty() ? limits : limits.empty() ? type : type + ", " + limits;
  return expected + (is_nullable(key.field) ? " or null" : "");
}

}  // namespace qtune
