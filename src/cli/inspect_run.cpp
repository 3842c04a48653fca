#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "inspect.h"
#include "qtune/base/error.h"
#include "qtune/checkpoint/checkpoint.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// Calls f(object) for every line of a file of JSON lines; a torn last line (the run was killed) is passed over.
template <class F>
void for_each_line(const fs::path& path, const F& f) {
  std::ifstream in(path);
  std::string line;
  while (std::getline(in, line)) {
    const json object = json::parse(line, nullptr, false);
    if (object.is_object()) f(object);
  }
}

std::string number(const json& value, const char* format) {
  return value.is_number() ? fmt::format(fmt::runtime(format), value.get<double>()) : "-";
}

void show_state(const fs::path& folder) {
  json first_step, last_step, first_eval, last_eval;
  int64_t seen = 0, trained = 0;
  double seconds = 0;
  for_each_line(folder / "metrics.jsonl", [&](const json& line) {
    json& first = line.contains("eval_loss") ? first_eval : first_step;
    json& last = line.contains("eval_loss") ? last_eval : last_step;
    if (first.is_null()) first = line;
    last = line;
    if (line.contains("eval_loss")) return;
    seen += line.value("tokens_seen", int64_t{0});
    trained += line.value("tokens_trained", int64_t{0});
    for (const auto& [phase, value] : line["seconds"].items()) seconds += value.is_number() ? value.get<double>() : 0;
  });
  if (last_step.is_null()) {
    fmt::print("no step done yet\n");
  } else {
    fmt::print("steps            {} (epoch {})\n", last_step["step"].dump(), number(last_step["epoch"], "{:.2f}"));
    fmt::print("loss             {} in the first step, {} in the last\n", number(first_step["loss"], "{:.4f}"),
               number(last_step["loss"], "{:.4f}"));
    fmt::print("tokens           {} seen, {} trained, {:.0f} seen a second\n", seen, trained,
               seconds > 0 ? static_cast<double>(seen) / seconds : 0.0);
  }
  if (!last_eval.is_null()) {
    fmt::print("held-out loss    {} at step {}, {} at step {}\n", number(first_eval["eval_loss"], "{:.4f}"),
               first_eval["step"].dump(), number(last_eval["eval_loss"], "{:.4f}"), last_eval["step"].dump());
  }
  const auto checkpoint = newest_checkpoint(folder);
  fmt::print("checkpoint       {}\n", checkpoint ? checkpoint->string() : "none");
  fmt::print("final model      {}\n", fs::exists(folder / "model.safetensors") ? "written" : "not yet");
}

/// decisions.jsonl, decisions.1.jsonl, ...: the samples of one step lie together in one of them.
int64_t show_fates(const fs::path& folder, int64_t step) {
  int64_t shown = 0;
  fs::path path = folder / "decisions.jsonl";
  for (int part = 1; fs::exists(path); path = folder / fmt::format("decisions.{}.jsonl", part++)) {
    for_each_line(path, [&](const json& line) {
      if (line.value("step", int64_t{-1}) != step) return;
      if (shown++ == 0) fmt::print("{:<32} {:>10} {:>8} {:>4}  {}\n", "sample", "ppl", "entropy", "quad", "fate");
      std::string fate = "dropped";
      if (line.value("kept", false)) {
        fate = fmt::format("{} tokens kept{}", line["kept_tokens"].size(),
                           line.value("supplement", false) ? ", a supplement" : "");
      }
      fmt::print("{:<32} {:>10} {:>8} {:>4}  {}\n", line.value("id", ""), number(line["ppl"], "{:.3f}"),
                 number(line["entropy"], "{:.3f}"), line.value("quadrant", ""), fate);
    });
    if (shown > 0) break;
  }
  return shown;
}

}  // namespace

int inspect_run(const std::string& folder, int64_t step) {
  if (!fs::exists(fs::path(folder) / "metrics.jsonl")) {
    throw ConfigError(fmt::format("{}: expected the output_dir of a run, found no metrics.jsonl in it", folder));
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
