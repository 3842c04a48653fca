#include "qtune/metrics/metrics_writer.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "qtune/base/error.h"
#include "qtune/prune/quadrant.h"
#include "qtune/prune/scores_file.h"

namespace qtune {
namespace {

using Json = nlohmann::ordered_json;

/// The one written form of a number: null where it is not finite.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

std::string line_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; }

Json json_of(const QuadrantCounts& counts) {
  Json json;
  for (const Quadrant q :
       {Quadrant::kNoise, Quadrant::kMisconception, Quadrant::kRedundant, Quadrant::kCalibration, Quadrant::kMiddle})
    json[quadrant_name(q)] = counts[q];
  return json;
}

Json json_of(const StepSeconds& s) {
  return {{"score", number(s.score)},
          {"decide", number(s.decide)},
          {"train", number(s.train)},
          {"optimizer", number(s.optimizer)},
          {"other", number(s.other)}};
}

Json json_of(const std::vector<double>& values) {
  Json list = Json::array();
  for (const double v : values) list.push_back(number(v));
  return list;
}

}  // namespace

MetricsWriter::MetricsWriter(const std::filesystem::path& output_dir, LogPosition start)
    : log_(output_dir / "metrics.jsonl", start) {}

void MetricsWriter::write(const StepMetrics& m) {
  Json line = {{"step", m.step},
               {"epoch", number(m.epoch)},
               {"loss", number(m.loss)},
               {"grad_norm", number(m.grad_norm)},
               {"learning_rate", number(m.learning_rate)},
               {"tokens_seen", m.tokens_seen},
               {"tokens_scored", m.tokens_scored},
               {"tokens_trained", m.tokens_trained},
               {"kept_samples", json_of(m.kept_samples)},
               {"alpha", m.alpha ? number(*m.alpha) : Json(nullptr)},
               {"seconds", json_of(m.seconds)},
               {"peak_memory_bytes", m.peak_memory_bytes}};
  if (!m.rank_train_seconds.empty()) {
    line["ranks"] = {{"train", json_of(m.rank_train_seconds)}, {"wait", json_of(m.rank_wait_seconds)}};
  }
  log_.write(line_of(line));
}

void MetricsWriter::write(const EvalMetrics& m) {
  log_.write(line_of({{"step", m.step},
                      {"epoch", number(m.epoch)},
                      {"eval_loss", number(m.eval_loss)},
                      {"eval_loss_stderr", number(m.eval_loss_stderr)},
                      {"eval_samples", m.eval_samples},
                      {"eval_tokens", m.eval_tokens},
                      {"eval_seconds", number(m.eval_seconds)}}));
}

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
