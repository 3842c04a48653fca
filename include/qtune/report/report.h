// qtune report: runs as one HTML file that needs nothing else (docs/report.md).
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "qtune/report/run_data.h"
#include "qtune/report/sample_text.h"

namespace qtune {

/// How much goes into the page, over all runs together: it stays below 3 MB.
struct ReportLimits {
  size_t max_judgements = 100000;    // points of the plane: whole steps are left out evenly until they fit
  size_t max_texts = 2000;           // samples with their text
  size_t max_text_bytes = 2500000;   // of these texts
  size_t max_tokens_of_text = 1200;  // of one sample
  size_t max_chart_points = 2000;    // of a curve: means over several steps where there are more
};

struct ReportedRun {
  RunData data;
  FindTexts find_texts;   // empty: no texts
  std::string text_note;  // why there are none, or where the salience comes from
};

/// results.json of a sweep: {"columns": [...], "rows": [{...}]}.
struct SweepTable {
  std::string name;
  nlohmann::ordered_json columns, rows;
};

/// Whether `folder` is a sweep's, and its table. Throws: DataError naming the file when it is not such a table.
bool is_sweep_folder(const std::filesystem::path& folder);
SweepTable read_sweep_table(const std::filesystem::path& folder);

struct Report {
  std::vector<ReportedRun> runs;
  std::vector<SweepTable> sweeps;
};

/// The page. Throws: ConfigError where this build has no charting library (libjs-d3).
std::string render_report(const Report& report, const ReportLimits& limits = {});

}  // namespace qtune
