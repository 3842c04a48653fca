#include "qtune/config/config_key.h"

#include <fmt/format.h>

#include <cmath>

#include "qtune/config/train_config.h"
#include "text_form.h"

namespace qtune {
namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

std::string format_one(const std::string& value) { return quoted_for_yaml(value); }
std::string format_one(int64_t value) { return fmt::format("{}", value); }
std::string format_one(double value) { return fmt::format("{}", value); }
std::string format_one(bool value) { return value ? "true" : "false"; }

template <class T>
std::string format_one(const std::optional<T>& value) {
  return value ? format_one(*value) : "null";
}

template <class T>
std::string format_one(const std::vector<T>& values) {
  std::vector<std::string> parts;
  for (const T& value : values) parts.push_back(format_one(value));
  return fmt::format("[{}]", fmt::join(parts, ", "));
}

}  // namespace

std::string type_name(const FieldRef& field) {
  return std::visit(Overloaded{
                        [](const std::string*) { return "text"; },
                        [](const int64_t*) { return "whole number"; },
                        [](const double*) { return "number"; },
                        [](const bool*) { return "true or false"; },
                        [](const std::optional<std::string>*) { return "text"; },
                        [](const std::optional<int64_t>*) { return "whole number"; },
                        [](const std::optional<double>*) { return "number"; },
                        [](const std::optional<bool>*) { return "true or false"; },
                        [](const std::vector<std::string>*) { return "list"; },
                        [](const std::vector<double>*) { return "list of numbers"; },
                    },
                    field);
}

bool is_nullable(const FieldRef& field) {
  return std::visit(Overloaded{
                        []<class T>(const std::optional<T>*) { return true; },
                        [](const auto*) { return false; },
                    },
                    field);
}

std::string format_value(const FieldRef& field) {
  return std::visit([](const auto* value) { return format_one(*value); }, field);
}

std::string describe(const AllowedValues& allowed) {
  if (!allowed.choices.empty()) return fmt::format("one of {}", fmt::join(allowed.choices, ", "));
  const bool has_min = std::isfinite(allowed.min), has_max = std::isfinite(allowed.max);
  const char* from = allowed.min_excluded ? "above" : "at least";
  if (has_min && has_max) {
    if (!allowed.min_excluded && !allowed.max_excluded) return fmt::format("{} to {}", allowed.min, allowed.max);
    return fmt::format("{} {}, {} {}", from, allowed.min, allowed.max_excluded ? "below" : "at most", allowed.max);
  }
  if (has_min) return fmt::format("{} {}", from, allowed.min);
  return "";
}

std::map<std::string, std::string> named_columns(const ColumnsConfig& columns) {
  ColumnsConfig copy = columns;
  KeyCollector collector;
  copy.for_each(collector);
  std::map<std::string, std::string> named;
  for (const ConfigKey& key : collector.take()) {
    const auto& column = *std::get<std::optional<std::string>*>(key.field);
    if (column) named[key.name] = *column;
  }
  return named;
}

std::vector<ConfigKey> config_keys(TrainConfig& config) {
  KeyCollector collector;
  config.for_each(collector);
  return collector.take();
}

}  // namespace qtune
