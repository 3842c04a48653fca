#include "results.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "qtune/base/hash.h"

namespace qtune {
namespace {

using Json = nlohmann::ordered_json;

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(); }

std::string shown(double value) { return std::isfinite(value) ? fmt::format("{:.4f}", value) : "-"; }

}  // namespace

std::vector<MetricResult> mean_metrics(const PreparedTask& task, const std::map<size_t, Json>& items) {
  std::vector<std::string> names;
  std::map<std::string, std::vector<double>> values;
  for (const auto& [item, metrics] : items) {
    if (item >= task.items.size()) continue;  // of a run with a higher limit
    for (const auto& [name, value] : metrics.items()) {
      if (!values.contains(name)) names.push_back(name);
      values[name].push_back(value);
    }
  }
  std::vector<MetricResult> results;
  for (const std::string& name : names) {
    const std::vector<double>& all = values[name];
    const auto n = static_cast<double>(all.size());
    double sum = 0, squares = 0;
    for (const double v : all) sum += v;
    for (const double v : all) squares += (v - sum / n) * (v - sum / n);
    results.push_back(
        {.task = task.task.name,
         .metric = name,
         .value = sum / n,
         .stderr_value = n > 1 ? std::sqrt(squares / (n - 1) / n) : std::numeric_limits<double>::quiet_NaN(),
         .n = all.size(),
         .shots = task.task.num_fewshot,
         .style = task.convention["style"],
         .config_hash = hex64(hash64(task.convention.dump()))});
  }
  return results;
}

Json results_json(const std::vector<MetricResult>& results) {
  Json list = Json::array();
  for (const MetricResult& r : results) {
    list.push_back({{"task", r.task},
                    {"metric", r.metric},
                    {"value", number(r.value)},
                    {"stderr", number(r.stderr_value)},
                    {"n", r.n},
                    {"shots", r.shots},
                    {"style", r.style},
                    {"config_hash", r.config_hash}});
  }
  return list;
}

std::string results_table(const std::vector<MetricResult>& results) {
  std::vector<std::vector<std::string>> rows = {{"task", "style", "shots", "metric", "value", "stderr", "n", "config"}};
  for (const MetricResult& r : results) {
    rows.push_back({r.task, r.style, std::to_string(r.shots), r.metric, shown(r.value), shown(r.stderr_value),
                    std::to_string(r.n), r.config_hash.substr(0, 8)});
  }
  std::vector<size_t> widths(rows[0].size());
  for (const auto& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string table;
  for (const auto& row : rows) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) line += fmt::format("{:<{}}", row[c], widths[c] + 2);
    table += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return table;
}

}  // namespace qtune
