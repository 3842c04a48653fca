// The tables of a sweep: results.csv and results.json, a row a run; table.md, a row a setting, over seeds.
#pragma once

#include <string>
#include <vector>

#include "qtune/sweep/sweep.h"
#include "run_metrics.h"
#include "run_state.h"

namespace qtune {

struct RunResult {
  RunState state;
  std::vector<RunMetric> metrics;  // of finished runs
};

/// A run's values of the keys that the sweep varies.
struct VariedKey {
  std::string name;
  std::vector<std::string> values;  // one a run; "-" where the run's method has no use for the key
};

/// Keys of which runs have different values, in the order of docs/config.md; not the seed.
std::vector<VariedKey> varied_keys(const Sweep& sweep);

/// Names and directions of the metrics that any run has, in their order.
std::vector<MetricColumn> metric_columns(const std::vector<RunResult>& results);

/// `results`: one a run, in the sweep's order.
std::string results_csv(const Sweep& sweep, const std::vector<RunResult>& results);
/// {"columns": [names], "rows": [{name: value}]}; a value that is not there is null.
std::string results_json(const Sweep& sweep, const std::vector<RunResult>& results);

/// The paper's form: samples x tokens, metrics as mean and deviation over seeds, arrows against random-random, the
/// best in bold; a table for each model and data set. Runs of equal settings and seed count once, and are named.
std::string results_markdown(const Sweep& sweep, const std::vector<RunResult>& results);

/// All three, each written whole or not at all.
void write_results(const Sweep& sweep, const std::vector<RunResult>& results);

}  // namespace qtune
