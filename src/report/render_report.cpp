#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "pack.h"
#include "page_parts.h"
#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/config/config_key.h"
#include "qtune/report/report.h"
#include "report_json.h"

namespace qtune {
namespace {

using Json = nlohmann::ordered_json;

Json config_json(const RunData& run) {
  Json values = Json::object();
  if (!run.config) return values;
  TrainConfig config = run.config->config;
  for (const ConfigKey& key : config_keys(config)) values[key.name] = format_value(key.field);
  return values;
}

Json run_json(const ReportedRun& run, const ReportLimits& limits, size_t num_runs) {
  const RunData& data = run.data;
  const std::vector<size_t> shown = shown_judgements(data, limits.max_judgements / num_runs);
  Json notes = data.notes;
  if (!run.text_note.empty()) notes.push_back(run.text_note);
  return {{"name", data.name},
          {"folder", data.folder.string()},
          {"config", config_json(data)},
          {"notes", std::move(notes)},
          {"total_steps", data.total_steps},
          {"num_steps", data.steps.size()},
          {"curves", curves_json(data, limits.max_chart_points)},
          {"evaluations", evaluations_json(data)},
          {"flow", flow_json(data, limits.max_chart_points / 4)},
          {"ids", data.sample_ids},
          {"totals", totals_json(data)},
          {"plane", plane_json(data, shown)},
          {"samples",
           texts_json(run, shown,
                      {.max_texts = limits.max_texts / num_runs, .max_bytes = limits.max_text_bytes / num_runs})}};
}

Json report_json(const Report& report, const ReportLimits& limits) {
  Json json = {{"runs", Json::array()}, {"sweeps", Json::array()}};
  for (const ReportedRun& run : report.runs) json["runs"].push_back(run_json(run, limits, report.runs.size()));
  for (const SweepTable& s : report.sweeps) {
    json["sweeps"].push_back({{"name", s.name}, {"columns", s.columns}, {"rows", s.rows}});
  }
  return json;
}

/// `{{name}}` of the template becomes the part of that name, once.
std::string filled(std::string_view page, const std::vector<std::pair<std::string, std::string_view>>& parts) {
  std::string out;
  for (size_t at = 0; at < page.size();) {
    const size_t open = page.find("{{", at);
    out += page.substr(at, open == std::string_view::npos ? open : open - at);
    if (open == std::string_view::npos) break;
    const size_t close = page.find("}}", open);
    const std::string name(page.substr(open + 2, close - open - 2));
    const auto part = std::ranges::find_if(parts, [&](const auto& p) { return p.first == name; });
    if (part == parts.end()) throw Error("report: page.html: expected the name of a part, found " + name);
    out += part->second;
    at = close + 2;
  }
  return out;
}

}  // namespace

bool is_sweep_folder(const std::filesystem::path& folder) {
  return std::filesystem::exists(folder / "results.json") && !std::filesystem::exists(folder / "metrics.jsonl");
}

SweepTable read_sweep_table(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "results.json";
  Json table = Json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!table.is_object() || !table.contains("columns") || !table.contains("rows") || !table["columns"].is_array() ||
      !table["rows"].is_array()) {
    throw DataError(
        fmt::format("{}: expected {{\"columns\": [...], \"rows\": [...]}} ---> run the sweep again", path.string()));
  }
  return {.name = std::filesystem::absolute(folder / "").lexically_normal().parent_path().filename().string(),
          .columns = std::move(table["columns"]),
          .rows = std::move(table["rows"])};
}

std::string render_report(const Report& report, const ReportLimits& limits) {
  if (page::d3.empty()) {
    throw ConfigError(
        "report: this qtune was built without the charting library d3 ---> install Debian's libjs-d3 (or give cmake "
        "-DQTUNE_D3=/path/to/d3.min.js, version 3) and build again");
  }
  const std::string json = report_json(report, limits).dump(-1, ' ', false, Json::error_handler_t::replace);
  const std::string data = base64(deflated(json));
  return filled(page::html, {{"style", page::style}, {"d3", page::d3}, {"script", page::script}, {"data", data}});
}

}  // namespace qtune
