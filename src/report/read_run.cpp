#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/prune/quadrant.h"
#include "qtune/prune/quantile.h"
#include "qtune/report/run_data.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::array kQuadrants = {Quadrant::kNoise, Quadrant::kMisconception, Quadrant::kRedundant,
                                   Quadrant::kCalibration, Quadrant::kMiddle};

/// Calls f(object) for every line of a log. A torn last line, without its end, is passed over: the run was killed.
/// Whatever f finds wrong in a line is a fault of that line.
template <class F>
void for_each_line(const fs::path& path, const F& f) {
  std::ifstream in(path);
  std::string text;
  for (int64_t number = 1; std::getline(in, text); ++number) {
    const json line = json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!line.is_object() && in.eof()) return;
    try {
      f(line);
    } catch (const json::exception& e) {
      throw DataError(
          fmt::format("{}:{}: expected a line of a run's log, found a damaged one ({}) ---> take the line out",
                      path.string(), number, e.what()));
    }
  }
}

/// NaN for null, the logs' form of numbers that are not finite.
double number(const json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

Quadrant parse_quadrant(const std::string& name) {
  const auto found = std::ranges::find_if(kQuadrants, [&](Quadrant q) { return name == quadrant_name(q); });
  return found == kQuadrants.end() ? Quadrant::kMiddle : *found;
}

EvalMetrics eval_metrics(const json& line) {
  return {.step = line.at("step"),
          .epoch = number(line.at("epoch")),
          .eval_loss = number(line.at("eval_loss")),
          .eval_loss_stderr = number(line.at("eval_loss_stderr")),
          .eval_samples = line.at("eval_samples"),
          .eval_tokens = line.at("eval_tokens"),
          .eval_seconds = number(line.at("eval_seconds"))};
}

StepMetrics step_metrics(const json& line) {
  StepMetrics m{.step = line.at("step"),
                .epoch = number(line.at("epoch")),
                .loss = number(line.at("loss")),
                .grad_norm = number(line.at("grad_norm")),
                .learning_rate = number(line.at("learning_rate")),
                .tokens_seen = line.at("tokens_seen"),
                .tokens_scored = line.at("tokens_scored"),
                .tokens_trained = line.at("tokens_trained")};
  for (const Quadrant q : kQuadrants) m.kept_samples[q] = line.at("kept_samples").at(quadrant_name(q));
  if (!line.at("alpha").is_null()) m.alpha = line.at("alpha").get<double>();
  const json& seconds = line.at("seconds");
  m.seconds = {.score = number(seconds.at("score")),
               .decide = number(seconds.at("decide")),
               .train = number(seconds.at("train")),
               .optimizer = number(seconds.at("optimizer")),
               .other = number(seconds.at("other"))};
  m.peak_memory_bytes = line.at("peak_memory_bytes");
  return m;
}

void read_metrics(RunData& run) {
  for_each_line(run.folder / "metrics.jsonl", [&](const json& line) {
    if (line.contains("eval_loss")) {
      run.evaluations.push_back(eval_metrics(line));
    } else {
      run.steps.push_back(step_metrics(line));
    }
  });
}

/// decisions.jsonl, decisions.1.jsonl, ...: oldest first.
void read_decisions(RunData& run) {
  std::unordered_map<std::string, uint32_t> indices;
  fs::path path = run.folder / "decisions.jsonl";
  for (int part = 1; fs::exists(path); path = run.folder / fmt::format("decisions.{}.jsonl", part++)) {
    for_each_line(path, [&](const json& line) {
      const json& id = line.at("id");
      const std::string name = id.is_string() ? id.get<std::string>() : id.dump();
      const auto [entry, is_new] = indices.emplace(name, static_cast<uint32_t>(run.sample_ids.size()));
      if (is_new) run.sample_ids.push_back(name);
      run.judgements.push_back({.step = line.at("step"),
                                .sample = entry->second,
                                .perplexity = number(line.at("ppl")),
                                .entropy = number(line.at("entropy")),
                                .quadrant = parse_quadrant(line.at("quadrant")),
                                .kept = line.at("kept"),
                                .supplement = line.at("supplement"),
                                .kept_tokens = line.value("kept_tokens", std::vector<int32_t>{})});
    });
  }
}

/// Ids in order lie beside those that are alike, which packs best, and a table can be read.
void sort_ids(RunData& run) {
  std::vector<uint32_t> order(run.sample_ids.size()), rank(order.size());
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(order, [&](uint32_t a, uint32_t b) { return run.sample_ids[a] < run.sample_ids[b]; });
  std::vector<std::string> sorted(order.size());
  for (uint32_t i = 0; i < order.size(); ++i) {
    rank[order[i]] = i;
    sorted[i] = std::move(run.sample_ids[order[i]]);
  }
  run.sample_ids = std::move(sorted);
  for (Judgement& j : run.judgements) j.sample = rank[j.sample];
}

void read_config(RunData& run) {
  const fs::path path = run.folder / "config.yaml";
  if (!fs::exists(path)) {
    run.notes.push_back("config.yaml is missing: the settings are not shown");
    return;
  }
  try {
    run.config = load_train_config(path);
  } catch (const ConfigError& e) {
    const std::string message = e.what();
    run.notes.push_back("config.yaml can't be read (" + message.substr(0, message.find('\n')) + ")");
  }
}

/// What checkpoints and the end of a run leave; a running one has none yet.
void read_state(RunData& run) {
  const fs::path path = run.folder / "trainer_state.json";
  if (!fs::exists(path)) return;
  const json state = json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!state.is_object())
    throw DataError(fmt::format("{}: expected a JSON object ---> remove the file", path.string()));
  run.total_steps = state.value("total_steps", int64_t{0});
}

}  // namespace

RunData read_run(const fs::path& folder) {
  if (!fs::exists(folder / "metrics.jsonl")) {
    throw ConfigError(fmt::format(
        "{}: expected the output_dir of a run, found no metrics.jsonl in it ---> check the path", folder.string()));
  }
  RunData run;
  run.folder = folder;
  run.name = fs::absolute(folder / "").lexically_normal().parent_path().filename().string();
  read_config(run);
  read_metrics(run);
  read_decisions(run);
  sort_ids(run);
  read_state(run);
  return run;
}

std::optional<Thresholds> thresholds_of_step(std::span<const Judgement> judged, std::optional<double> alpha) {
  if (!alpha || judged.empty()) return std::nullopt;
  std::vector<double> perplexities, entropies;
  for (const Judgement& j : judged) {
    if (!std::isfinite(j.perplexity) || !std::isfinite(j.entropy)) return std::nullopt;
    perplexities.push_back(j.perplexity);
    entropies.push_back(j.entropy);
  }
  std::ranges::sort(perplexities);
  std::ranges::sort(entropies);
  return Thresholds{.alpha = *alpha,
                    .beta = *alpha,
                    .ppl_hi = quantile(perplexities, 1 - *alpha),
                    .ppl_lo = quantile(perplexities, *alpha),
                    .ent_lo = quantile(entropies, *alpha),
                    .ent_hi = quantile(entropies, 1 - *alpha)};
}

}  // namespace qtune
