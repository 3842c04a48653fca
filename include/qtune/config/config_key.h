// One configuration key: its name, where its value lies, what values it may have and what it means.
// Reading, overriding, printing, the docs page, the saved copy and the hash all walk the list of keys of a TrainConfig
// (TrainConfig::for_each in train_config.h), so that no key is written down twice.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace qtune {

/// What a value may be. Numbers lie between min and max; texts are among choices, where there are any.
struct AllowedValues {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool min_excluded = false;
  bool max_excluded = false;
  std::vector<std::string> choices;
};

inline AllowedValues any_value() { return {}; }
inline AllowedValues at_least(double min) { return {.min = min}; }
inline AllowedValues between(double min, double max) { return {.min = min, .max = max}; }
inline AllowedValues above_up_to(double min, double max) { return {.min = min, .max = max, .min_excluded = true}; }
inline AllowedValues from_below(double min, double max) { return {.min = min, .max = max, .max_excluded = true}; }
inline AllowedValues one_of(std::vector<std::string> choices) { return {.choices = std::move(choices)}; }

/// Whether a run that goes on with another value of the key would train differently.
enum class KeyEffect {
  kTraining,  // changes the trained weights
  kRunOnly,   // where things lie, what is written and shown, how long to wait
};

/// The kinds of values. An optional value may be null in YAML.
using FieldRef =
    std::variant<std::string*, int64_t*, double*, bool*, std::optional<std::string>*, std::optional<int64_t>*,
                 std::optional<double>*, std::optional<bool>*, std::vector<std::string>*, std::vector<double>*>;

struct ConfigKey {
  std::string name;  // dotted: "pruning.sample.keep"
  FieldRef field;
  AllowedValues allowed;
  std::string meaning;
  std::string group;  // heading on the docs page
  KeyEffect effect = KeyEffect::kTraining;
};

/// The visitor that turns for_each of a config struct into a list of keys.
class KeyCollector {
 public:
  /// Heading and effect of the keys that follow.
  void group(const char* heading, KeyEffect effect) {
    group_ = heading;
    effect_ = effect;
  }

  template <class T>
  void operator()(const char* name, T& field, AllowedValues allowed, const char* meaning) {
    keys_.push_back({prefix_ + name, &field, std::move(allowed), meaning, group_, effect_});
  }

  /// A nested struct with a for_each of its own; its keys get "name." in front.
  template <class Section>
  void section(const char* name, Section& section) {
    const size_t outer_length = prefix_.size();
    prefix_ += std::string(name) + ".";
    section.for_each(*this);
    prefix_.resize(outer_length);
  }

  std::vector<ConfigKey> take() { return std::move(keys_); }

 private:
  std::vector<ConfigKey> keys_;
  std::string prefix_, group_;
  KeyEffect effect_ = KeyEffect::kTraining;
};

/// "text", "whole number", "number", "true or false", "list", "list of numbers".
std::string type_name(const FieldRef& field);

/// True for the kinds that may be null.
bool is_nullable(const FieldRef& field);

/// The value as YAML that reads back as the same value: text quoted where it must be, "null" for none.
std::string format_value(const FieldRef& field);

/// "> 0", "0 to 1", "one of full, lora"; "" when anything goes.
std::string describe(const AllowedValues& allowed);

}  // namespace qtune
