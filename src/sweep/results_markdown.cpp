#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "results.h"

namespace qtune {
namespace {

/// Mean and deviation over the runs of one setting; count 0: no run has the metric.
struct Summary {
  int64_t count = 0;
  double mean = 0, deviation = 0;  // of a sample: over count - 1
};

Summary summary_of(const std::vector<double>& values) {
  Summary s{.count = static_cast<int64_t>(values.size())};
  for (const double value : values) s.mean += value / static_cast<double>(values.size());
  double squares = 0;
  for (const double value : values) squares += (value - s.mean) * (value - s.mean);
  if (s.count > 1) s.deviation = std::sqrt(squares / static_cast<double>(s.count - 1));
  return s;
}

/// One row: the runs of a setting, which differ in their seeds. Of runs that differ in nothing but their names one is
/// counted: they are one training written twice, not two draws.
struct Row {
  std::vector<std::string> block, setting;  // values of the keys that divide tables; of the others, methods first
  std::vector<Summary> metrics;
  int64_t num_finished = 0;
};

/// Models and data that numbers can't be compared across.
bool divides_tables(const std::string& key) {
  return key == "model_name_or_path" || key == "adapter_name_or_path" || key == "dataset" || key == "eval_dataset" ||
         key == "val_size";
}

bool is_method(const std::string& key) { return key == "pruning.sample.method" || key == "pruning.token.method"; }

class Table {
 public:
  Table(const Sweep& sweep, const std::vector<RunResult>& results)
      : sweep_(sweep), results_(results), columns_(metric_columns(results)), keys_(varied_keys(sweep)) {
    std::stable_partition(keys_.begin(), keys_.end(), [](const VariedKey& key) { return is_method(key.name); });
    for (size_t run = 0; run < sweep.runs.size(); ++run) place(run);
    for (size_t i = 0; i < rows_.size(); ++i) summarize(rows_[i], runs_of_row_[i]);
  }

  /// A line for each run that is not counted.
  std::string repeats() const {
    std::string text;
    for (const auto& [run, counted] : repeats_)
      text += fmt::format("- {}: as {}\n", sweep_.runs[run].name, sweep_.runs[counted].name);
    return text;
  }

  std::string text() const {
    std::string text;
    std::vector<std::vector<std::string>> blocks;
    for (const Row& row : rows_) {
      if (std::find(blocks.begin(), blocks.end(), row.block) == blocks.end()) blocks.push_back(row.block);
    }
    for (const auto& block : blocks) text += block_text(block) + "\n";
    return text;
  }

 private:
  void place(size_t run) {
    Row row;
    for (const VariedKey& key : keys_) {
      (divides_tables(key.name) ? row.block : row.setting).push_back(key.values[run]);
    }
    const auto same = [&](const Row& other) { return other.block == row.block && other.setting == row.setting; };
    const auto found = std::find_if(rows_.begin(), rows_.end(), same);
    const auto index = static_cast<size_t>(found - rows_.begin());
    if (found == rows_.end()) {
      rows_.push_back(std::move(row));
      runs_of_row_.emplace_back();
    }
    add(run, runs_of_row_[index]);
  }

  /// The first finished run of a seed stands for the others.
  void add(size_t run, std::vector<size_t>& runs) {
    const auto seed_of = [&](size_t r) { return sweep_.runs[r].loaded.config.seed; };
    const auto is_finished = [&](size_t r) { return results_[r].state.status == RunStatus::kFinished; };
    const auto same = std::find_if(runs.begin(), runs.end(), [&](size_t r) { return seed_of(r) == seed_of(run); });
    if (same == runs.end()) return runs.push_back(run);
    if (is_finished(run) && !is_finished(*same)) std::swap(run, *same);
    for (auto& [repeat, counted] : repeats_) {
      if (counted == run) counted = *same;
    }
    repeats_.emplace_back(run, *same);
  }

  void summarize(Row& row, const std::vector<size_t>& runs) const {
    for (const size_t run : runs) row.num_finished += results_[run].state.status == RunStatus::kFinished ? 1 : 0;
    for (const MetricColumn& column : columns_) {
      std::vector<double> values;
      for (const size_t run : runs) {
        for (const RunMetric& metric : results_[run].metrics) {
          if (metric.column == column && metric.value && std::isfinite(*metric.value)) values.push_back(*metric.value);
        }
      }
      row.metrics.push_back(summary_of(values));
    }
  }

  /// The random-random row of the same other settings ("-" fits all of them); else the table's only one.
  const Row* reference_of(const Row& row) const {
    const Row *only = nullptr, *fitting = nullptr;
    size_t num_random = 0, num_fitting = 0;
    for (const Row& other : rows_) {
      if (other.block != row.block || other.setting[0] != "random" || other.setting[1] != "random") continue;
      only = &other;
      ++num_random;
      bool fits = true;
      for (size_t i = 2; i < row.setting.size(); ++i) {
        fits = fits && (row.setting[i] == "-" || other.setting[i] == "-" || row.setting[i] == other.setting[i]);
      }
      if (!fits) continue;
      fitting = &other;
      ++num_fitting;
    }
    const Row* reference = num_fitting == 1 ? fitting : num_random == 1 ? only : nullptr;
    return reference == &row ? nullptr : reference;
  }

  bool is_best(const Row& row, size_t column) const {
    const double sign = columns_[column].better == Better::kLower ? -1 : 1;
    if (columns_[column].better == Better::kNeither || row.metrics[column].count == 0) return false;
    return std::none_of(rows_.begin(), rows_.end(), [&](const Row& other) {
      return other.block == row.block && other.metrics[column].count > 0 &&
             sign * other.metrics[column].mean > sign * row.metrics[column].mean;
    });
  }

  std::string arrow(const Row& row, size_t column) const {
    const Row* reference = reference_of(row);
    if (reference == nullptr || columns_[column].better == Better::kNeither) return "";
    const Summary &own = row.metrics[column], &theirs = reference->metrics[column];
    if (own.count == 0 || theirs.count == 0 || own.mean == theirs.mean) return "";
    return own.mean > theirs.mean ? " ↑" : " ↓";
  }

  std::string number(double value, size_t column) const {
    const std::string& name = columns_[column].name;
    if (name == "peak_memory_bytes") return fmt::format("{:.2f}", value / (1 << 30));
    if (columns_[column].better == Better::kHigher) return fmt::format("{:.2f}", 100 * value);
    if (name == "tokens_trained" || name == "kept_samples") return fmt::format("{:.0f}", value);
    return name.ends_with("seconds") ? fmt::format("{:.1f}", value) : fmt::format("{:.4f}", value);
  }

  std::string heading(const MetricColumn& column) const {
    if (column.name == "peak_memory_bytes") return "peak memory, GiB";
    return column.better == Better::kHigher ? column.name + ", %" : column.name;
  }

  std::string cell(const Row& row, size_t column) const {
    const Summary& s = row.metrics[column];
    if (s.count == 0) return "-";
    std::string text = number(s.mean, column);
    if (is_best(row, column)) text = "**" + text + "**";
    if (s.count > 1) text += " ± " + number(s.deviation, column);
    return text + arrow(row, column);
  }

  std::string block_text(const std::vector<std::string>& block) const {
    std::vector<std::string> titles, heads;
    size_t i = 0;
    for (const VariedKey& key : keys_) {
      if (divides_tables(key.name)) {
        titles.push_back(fmt::format("{}: {}", key.name, block[i++]));
      } else {
        heads.push_back(key.name == "pruning.sample.method"  ? "samples"
                        : key.name == "pruning.token.method" ? "tokens"
                        : key.name.starts_with("pruning.")   ? key.name.substr(8)
                                                             : key.name);
      }
    }
    const size_t num_words = heads.size();
    for (const MetricColumn& column : columns_) heads.push_back(heading(column));
    heads.emplace_back("seeds");
    std::string text = titles.empty() ? "" : fmt::format("## {}\n\n", fmt::join(titles, ", "));
    text += fmt::format("| {} |\n|", fmt::join(heads, " | "));
    for (size_t head = 0; head < heads.size(); ++head) text += head < num_words ? "---|" : "---:|";
    for (const Row& row : rows_) {
      if (row.block != block) continue;
      std::vector<std::string> cells = row.setting;
      for (size_t column = 0; column < columns_.size(); ++column) cells.push_back(cell(row, column));
      cells.push_back(fmt::format("{}", row.num_finished));
      text += fmt::format("\n| {} |", fmt::join(cells, " | "));
    }
    return text + "\n";
  }

  const Sweep& sweep_;
  const std::vector<RunResult>& results_;
  std::vector<MetricColumn> columns_;
  std::vector<VariedKey> keys_;  // methods first
  std::vector<Row> rows_;
  std::vector<std::vector<size_t>> runs_of_row_;
  std::vector<std::pair<size_t, size_t>> repeats_;  // a run that is not counted, and the one that is in its place
};

}  // namespace

std::string results_markdown(const Sweep& sweep, const std::vector<RunResult>& results) {
  const auto finished = std::count_if(results.begin(), results.end(),
                                      [](const RunResult& r) { return r.state.status == RunStatus::kFinished; });
  std::string text =
      fmt::format("# {}\n\n{} of {} runs finished.\n\n", sweep.file.stem().string(), finished, results.size());
  const Table table(sweep, results);
  text += table.text();
  text +=
      "Mean ± standard deviation over seeds. ↑ ↓: above or below random samples with random tokens. Bold: the best of "
      "its column.\nloss: of the last step, over the tokens that were trained; seconds: of all steps, without "
      "evaluations and saving; selection_seconds: of them scoring and deciding.\n";
  if (const std::string repeats = table.repeats(); !repeats.empty())
    text += "\nThe same settings as another run, counted once:\n" + repeats;
  std::string failed;
  for (size_t run = 0; run < results.size(); ++run) {
    if (results[run].state.status != RunStatus::kFailed) continue;
    failed += fmt::format("- {}: exit code {}: {}\n", sweep.runs[run].name, results[run].state.exit_code,
                          results[run].state.fault);
  }
  return text + (failed.empty() ? "" : "\nFailed:\n" + failed);
}

}  // namespace qtune
