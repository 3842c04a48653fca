// What a run is judged by: from its metrics.jsonl, and from results.json of its evaluation.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace qtune {

enum class Better { kHigher, kLower, kNeither };

struct MetricColumn {
  std::string name;
  Better better = Better::kNeither;
  bool operator==(const MetricColumn&) const = default;
};

/// One number of a run; `value` is absent where it was not finite.
struct RunMetric {
  MetricColumn column;
  std::optional<double> value;
};

/// In the tables' order: tasks, their average (%, of each task's first metric), eval_loss (the last one), loss (of the
/// last step), and sums over steps. None of a run without a metrics file.
/// Throws: DataError naming file and line.
std::vector<RunMetric> read_run_metrics(const std::filesystem::path& run_folder);

/// Where `qtune eval` writes.
std::filesystem::path eval_folder(const std::filesystem::path& run_folder);

}  // namespace qtune
