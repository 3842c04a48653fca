#include "results.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "qtune/base/file.h"
#include "run_name.h"

namespace qtune {
namespace {

using Json = nlohmann::ordered_json;

/// Whether the run's method looks at the key.
bool is_used(const std::string& key, const TrainConfig& config) {
  const auto without_method = [&](const std::string& section, const std::string& method) {
    return method == "none" && key.starts_with(section) && key != section + "method";
  };
  return !without_method("pruning.sample.", config.pruning.sample.method) &&
         !without_method("pruning.token.", config.pruning.token.method);
}

bool is_varied(const VariedKey& key) {
  std::string first;
  for (const std::string& value : key.values) {
    if (value == "-") continue;
    if (!first.empty() && value != first) return true;
    first = value;
  }
  return false;
}

/// A run's row as JSON values, in the order of the columns.
std::vector<Json> row_of(size_t run, const Sweep& sweep, const std::vector<RunResult>& results,
                         const std::vector<VariedKey>& keys, const std::vector<MetricColumn>& columns) {
  const RunResult& result = results[run];
  const char* status = result.state.status == RunStatus::kFinished ? "finished"
                       : result.state.status == RunStatus::kFailed ? "failed"
                                                                   : "not finished";
  std::vector<Json> row = {sweep.runs[run].name, status, sweep.runs[run].loaded.config.seed};
  for (const VariedKey& key : keys) row.emplace_back(key.values[run]);
  for (const MetricColumn& column : columns) {
    const auto metric = std::find_if(result.metrics.begin(), result.metrics.end(),
                                     [&](const RunMetric& m) { return m.column == column; });
    const bool there = metric != result.metrics.end() && metric->value && std::isfinite(*metric->value);
    row.push_back(there ? Json(*metric->value) : Json(nullptr));
  }
  return row;
}

std::vector<std::string> column_names(const std::vector<VariedKey>& keys, const std::vector<MetricColumn>& columns) {
  std::vector<std::string> names = {"run", "status", "seed"};
  for (const VariedKey& key : keys) names.push_back(key.name);
  for (const MetricColumn& column : columns) names.push_back(column.name);
  return names;
}

std::string csv_cell(const Json& value) {
  if (value.is_null()) return "";
  if (!value.is_string()) return value.dump();
  const std::string text = value.get<std::string>();
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace

std::vector<VariedKey> varied_keys(const Sweep& sweep) {
  std::vector<VariedKey> keys;
  for (const SweepRun& run : sweep.runs) {
    TrainConfig config = run.loaded.config;
    const std::vector<ConfigKey> all = config_keys(config);
    keys.resize(all.size());
    for (size_t i = 0; i < all.size(); ++i) {
      keys[i].name = all[i].name;
      keys[i].values.push_back(is_used(all[i].name, config) ? shown_setting(all[i]) : "-");
    }
  }
  std::erase_if(keys, [](const VariedKey& key) {
    const bool method = key.name == "pruning.sample.method" || key.name == "pruning.token.method";
    return key.name == "output_dir" || key.name == "seed" || !(method || is_varied(key));
  });
  return keys;
}

std::vector<MetricColumn> metric_columns(const std::vector<RunResult>& results) {
  std::vector<MetricColumn> columns;
  for (const RunResult& result : results) {
    auto at = columns.begin();  // a column that only this run has comes behind the one that it stands behind there
    for (const RunMetric& metric : result.metrics) {
      const auto found = std::find(columns.begin(), columns.end(), metric.column);
      at = (found == columns.end() ? columns.insert(at, metric.column) : found) + 1;
    }
  }
  return columns;
}

std::string results_csv(const Sweep& sweep, const std::vector<RunResult>& results) {
  const std::vector<VariedKey> keys = varied_keys(sweep);
  const std::vector<MetricColumn> columns = metric_columns(results);
  std::string text;
  const auto add_line = [&](const std::vector<Json>& values) {
    std::vector<std::string> cells;
    for (const Json& value : values) cells.push_back(csv_cell(value));
    text += fmt::format("{}\n", fmt::join(cells, ","));
  };
  const std::vector<std::string> names = column_names(keys, columns);
  add_line({names.begin(), names.end()});
  for (size_t run = 0; run < sweep.runs.size(); ++run) add_line(row_of(run, sweep, results, keys, columns));
  return text;
}

std::string results_json(const Sweep& sweep, const std::vector<RunResult>& results) {
  const std::vector<VariedKey> keys = varied_keys(sweep);
  const std::vector<MetricColumn> columns = metric_columns(results);
  const std::vector<std::string> names = column_names(keys, columns);
  Json rows = Json::array();
  for (size_t run = 0; run < sweep.runs.size(); ++run) {
    const std::vector<Json> values = row_of(run, sweep, results, keys, columns);
    Json row = Json::object();
    for (size_t i = 0; i < names.size(); ++i) row[names[i]] = values[i];
    rows.push_back(std::move(row));
  }
  return Json{{"columns", names}, {"rows", std::move(rows)}}.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

void write_results(const Sweep& sweep, const std::vector<RunResult>& results) {
  write_file_atomic(sweep.folder / "results.csv", results_csv(sweep, results));
  write_file_atomic(sweep.folder / "results.json", results_json(sweep, results));
  write_file_atomic(sweep.folder / "table.md", results_markdown(sweep, results));
}

}  // namespace qtune
