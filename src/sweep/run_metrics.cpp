#include "run_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "qtune/base/error.h"
#include "qtune/base/file.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

std::optional<double> number_in(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

/// Sums and last values over the lines of a metrics file.
struct Totals {
  std::optional<double> eval_loss, loss;
  double tokens_trained = 0, kept_samples = 0, seconds = 0, selection_seconds = 0, peak_memory_bytes = 0;
  bool has_eval = false;

  void add(const Json& line) {
    if (line.contains("eval_loss")) {
      has_eval = true;
      eval_loss = number_in(line, "eval_loss");
      return;
    }
    loss = number_in(line, "loss");
    tokens_trained += number_in(line, "tokens_trained").value_or(0);
    peak_memory_bytes = std::max(peak_memory_bytes, number_in(line, "peak_memory_bytes").value_or(0));
    for (const auto& [quadrant, count] : line.at("kept_samples").items()) kept_samples += count.get<double>();
    for (const auto& [phase, value] : line.at("seconds").items()) {
      const double taken = value.is_number() ? value.get<double>() : 0;
      seconds += taken;
      if (phase == "score" || phase == "decide") selection_seconds += taken;
    }
  }
};

Totals read_totals(const fs::path& file) {
  Totals totals;
  std::ifstream in(file);
  std::string text;
  for (int64_t number = 1; std::getline(in, text); ++number) {
    try {
      totals.add(Json::parse(text));
    } catch (const Json::exception& e) {
      throw DataError(
          fmt::format("{}:{}: expected a line of metrics, found something else ({})", file.string(), number, e.what()));
    }
  }
  return totals;
}

/// Losses and perplexities fall as a model gets better; all else that tasks measure rises.
Better direction_of(const std::string& metric) {
  const bool falls = metric.find("loss") != std::string::npos || metric.find("perplexity") != std::string::npos ||
                     metric == "ppl" || metric == "nll";
  return falls ? Better::kLower : Better::kHigher;
}

void add_tasks(const fs::path& file, std::vector<RunMetric>& metrics) {
  if (!fs::exists(file)) return;
  double sum = 0;
  int64_t num_tasks = 0;
  bool all_there = true;
  std::string last_task;
  try {
    for (const Json& result : Json::parse(read_file(file))) {
      const std::string task = result.at("task"), metric = result.at("metric");
      const Better better = direction_of(metric);
      const std::optional<double> value = number_in(result, "value");
      metrics.push_back({{task + " " + metric, better}, value});
      if (task == last_task || better == Better::kLower) continue;
      last_task = task;
      ++num_tasks;
      sum += value.value_or(0);
      all_there = all_there && value.has_value();
    }
  } catch (const Json::exception& e) {
    throw DataError(
        fmt::format("{}: expected an evaluation's results, found something else ({})", file.string(), e.what()));
  }
  if (num_tasks > 1) {
    const double average = sum / static_cast<double>(num_tasks);
    metrics.push_back({{"average", Better::kHigher}, all_there ? std::optional(average) : std::nullopt});
  }
}

}  // namespace

fs::path eval_folder(const fs::path& run_folder) { return run_folder / "eval"; }

std::vector<RunMetric> read_run_metrics(const fs::path& run_folder) {
  std::vector<RunMetric> metrics;
  const fs::path file = run_folder / "metrics.jsonl";
  if (!fs::exists(file)) return metrics;
  add_tasks(eval_folder(run_folder) / "results.json", metrics);
  const Totals totals = read_totals(file);
  if (totals.has_eval) metrics.push_back({{"eval_loss", Better::kLower}, totals.eval_loss});
  metrics.push_back({{"loss"}, totals.loss});
  metrics.push_back({{"tokens_trained"}, totals.tokens_trained});
  metrics.push_back({{"kept_samples"}, totals.kept_samples});
  metrics.push_back({{"seconds"}, totals.seconds});
  metrics.push_back({{"selection_seconds"}, totals.selection_seconds});
  metrics.push_back({{"peak_memory_bytes"}, totals.peak_memory_bytes});
  return metrics;
}

}  // namespace qtune
