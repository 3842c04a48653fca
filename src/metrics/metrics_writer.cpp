#include "qtune/metrics/metrics_writer.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "qtune/base/error.h"
#include "qtune/prune/scores_file.h"

namespace qtune {
namespace {

using Json = nlohmann::ordered_json;

std::string line_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; }

}  // namespace

MetricsWriter::MetricsWriter(const std::filesystem::path& output_dir, LogPosition start)
    : log_(output_dir / "metrics.jsonl", start) {}

void MetricsWriter::write(const StepMetrics& metrics) { log_.write(line_of(to_json(metrics))); }

void MetricsWriter::write(const EvalMetrics& metrics) { log_.write(line_of(to_json(metrics))); }

DecisionLog::DecisionLog(const std::filesystem::path& output_dir, LogPosition start, int64_t max_part_bytes)
    : log_(output_dir / "decisions.jsonl", start, max_part_bytes) {}

void DecisionLog::write(int64_t step, std::span<const SampleDecision> samples, std::span<const int32_t> ranks) {
  if (!ranks.empty() && ranks.size() != samples.size())
    throw Error(
        fmt::format("decisions: expected a rank for each of {} samples, found {}", samples.size(), ranks.size()));
  std::string block;
  for (size_t i = 0; i < samples.size(); ++i) {
    Json line = {{"step", step}, {"rank", ranks.empty() ? 0 : ranks[i]}};
    line.update(to_json(samples[i]));
    block += line_of(line);
  }
  log_.write(block);
}

}  // namespace qtune
