#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "inspect.h"
#include "qtune/base/error.h"
#include "qtune/checkpoint/checkpoint.h"
#include "qtune/checkpoint/final_model.h"
#include "streams.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

[[noreturn]] void fail_at(const std::string& place, const std::string& expected) {
  throw DataError(
      fmt::format("{}: expected {}, found a damaged line ---> take the line out to see the others", place, expected));
}

/// One line of a run's log: every key that is asked for must be there.
class LogLine {
 public:
  LogLine(json object, std::string place) : object_(std::move(object)), place_(std::move(place)) {}

  bool has(const char* key) const { return object_.contains(key); }

  /// NaN for null, the log's form of numbers that are not finite.
  double number(const char* key) const {
    const json& value = at(key, "a number", [](const json& v) { return v.is_number() || v.is_null(); });
    return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
  }

  int64_t count(const char* key) const {
    constexpr double kMostExact = 0x1p53;
    const double value = number(key);
    if (!(value >= 0 && value <= kMostExact)) fail_at(place_, fmt::format("a count under \"{}\"", key));
    return static_cast<int64_t>(value);
  }

  std::string id() const {
    const json& value = at("id", "a string or a number", [](const json& v) { return v.is_string() || v.is_number(); });
    return value.is_string() ? value.get<std::string>() : value.dump();
  }

  std::string text(const char* key) const {
    return at(key, "a string", [](const json& v) { return v.is_string(); }).get<std::string>();
  }

  bool flag(const char* key) const {
    return at(key, "true or false", [](const json& v) { return v.is_boolean(); }).get<bool>();
  }

  size_t length(const char* key) const {
    return at(key, "an array", [](const json& v) { return v.is_array(); }).size();
  }

  /// Of the object under `key`.
  double sum_of_numbers(const char* key) const {
    double sum = 0;
    for (const json& value : at(key, "an object", [](const json& v) { return v.is_object(); })) {
      if (value.is_number()) sum += value.get<double>();
    }
    return sum;
  }

 private:
  template <class Fits>
  const json& at(const char* key, const char* expected, const Fits& fits) const {
    const auto it = object_.find(key);
    if (it == object_.end() || !fits(*it)) fail_at(place_, fmt::format("{} under \"{}\"", expected, key));
    return *it;
  }

  json object_;
  std::string place_;
};

/// Calls f(LogLine) for every line of a log. A torn last line, without its end, is passed over: the run was killed.
template <class F>
void for_each_line(const fs::path& path, const F& f) {
  std::ifstream in(path);
  std::string text;
  for (int64_t number = 1; std::getline(in, text); ++number) {
    json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
    const std::string place = fmt::format("{}:{}", path.string(), number);
    if (object.is_object()) {
      f(LogLine(std::move(object), place));
    } else if (!in.eof()) {
      fail_at(place, "a JSON object");
    }
  }
}

std::string shown(double value, const char* format) {
  return std::isnan(value) ? "-" : fmt::format(fmt::runtime(format), value);
}

/// What the lines of metrics.jsonl come to.
struct RunState {
  struct Loss {
    int64_t step = 0;
    double value = 0;
  };
  std::optional<Loss> first_loss, first_eval;
  Loss last_loss, last_eval;
  double epoch = 0, seconds = 0;
  int64_t tokens_seen = 0, tokens_trained = 0;

  void add(const LogLine& line) {
    if (line.has("eval_loss")) {
      last_eval = {.step = line.count("step"), .value = line.number("eval_loss")};
      if (!first_eval) first_eval = last_eval;
      return;
    }
    last_loss = {.step = line.count("step"), .value = line.number("loss")};
    if (!first_loss) first_loss = last_loss;
    epoch = line.number("epoch");
    seconds += line.sum_of_numbers("seconds");
    tokens_seen += line.count("tokens_seen");
    tokens_trained += line.count("tokens_trained");
  }
};

/// `step`: the run's last.
std::string final_model_text(const fs::path& folder, int64_t step) {
  if (!holds_final_model(folder)) return "not yet";
  const std::optional<int64_t> trained = final_model_step(folder);
  if (!trained) return "of an unknown step: its save was cut short, or it is from before this run";
  return *trained == step ? "written" : fmt::format("of step {}; the run is at step {}", *trained, step);
}

void show_state(const fs::path& folder) {
  RunState s;
  for_each_line(folder / "metrics.jsonl", [&](const LogLine& line) { s.add(line); });
  std::string text;
  if (!s.first_loss) {
    text += "no step done yet\n";
  } else {
    text += fmt::format("steps            {} (epoch {})\n", s.last_loss.step, shown(s.epoch, "{:.2f}"));
    text += fmt::format("loss             {} in the first step, {} in the last\n", shown(s.first_loss->value, "{:.4f}"),
                        shown(s.last_loss.value, "{:.4f}"));
    text += fmt::format("tokens           {} seen, {} trained, {:.0f} seen a second\n", s.tokens_seen, s.tokens_trained,
                        s.seconds > 0 ? static_cast<double>(s.tokens_seen) / s.seconds : 0.0);
  }
  if (s.first_eval) {
    text += fmt::format("held-out loss    {} at step {}, {} at step {}\n", shown(s.first_eval->value, "{:.4f}"),
                        s.first_eval->step, shown(s.last_eval.value, "{:.4f}"), s.last_eval.step);
  }
  const auto checkpoint = newest_checkpoint(folder);
  text += fmt::format("checkpoint       {}\n", checkpoint ? checkpoint->string() : "none");
  text += fmt::format("final model      {}\n", final_model_text(folder, s.last_loss.step));
  write_output(text);
}

std::string fate_of(const LogLine& line) {
  if (!line.flag("kept")) return "dropped";
  return fmt::format("{} tokens kept{}", line.length("kept_tokens"), line.flag("supplement") ? ", a supplement" : "");
}

/// decisions.jsonl, decisions.1.jsonl, ...: the samples of one step lie together in one of them.
int64_t show_fates(const fs::path& folder, int64_t step) {
  int64_t num_shown = 0;
  fs::path path = folder / "decisions.jsonl";
  for (int part = 1; num_shown == 0 && fs::exists(path); path = folder / fmt::format("decisions.{}.jsonl", part++)) {
    for_each_line(path, [&](const LogLine& line) {
      if (line.count("step") != step) return;
      if (num_shown++ == 0) {
        write_output(fmt::format("{:<32} {:>10} {:>8} {:>4}  {}\n", "sample", "ppl", "entropy", "quad", "fate"));
      }
      write_output(fmt::format("{:<32} {:>10} {:>8} {:>4}  {}\n", line.id(), shown(line.number("ppl"), "{:.3f}"),
                               shown(line.number("entropy"), "{:.3f}"), line.text("quadrant"), fate_of(line)));
    });
  }
  return num_shown;
}

}  // namespace

int inspect_run(const std::string& folder, int64_t step) {
  if (!fs::exists(fs::path(folder) / "metrics.jsonl")) {
    throw ConfigError(
        fmt::format("{}: expected the output_dir of a run, found no metrics.jsonl in it ---> check the path", folder));
  }
  if (step < 1) {
    show_state(folder);
  } else if (show_fates(folder, step) == 0) {
    throw ConfigError(
        fmt::format("{}: no judged samples of step {} ---> the run has not come so far, or trains without "
                    "pruning",
                    folder, step));
  }
  return kExitOk;
}

}  // namespace qtune
