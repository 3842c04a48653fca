#include "qtune/metrics/step_metrics.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "qtune/prune/quadrant.h"

namespace qtune {
namespace {

using Json = nlohmann::ordered_json;

/// The one written form of a number: null where it is not finite.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

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

int64_t QuadrantCounts::total() const { return std::accumulate(counts_.begin(), counts_.end(), int64_t{0}); }

QuadrantCounts count_kept(const PruneDecision& decision) {
  QuadrantCounts counts;
  for (const SampleDecision& sample : decision.samples) counts[sample.quadrant] += sample.kept ? 1 : 0;
  return counts;
}

nlohmann::ordered_json to_json(const StepMetrics& m) {
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
  return line;
}

nlohmann::ordered_json to_json(const EvalMetrics& m) {
  Json line = {{"step", m.step},
               {"epoch", number(m.epoch)},
               {"eval_loss", number(m.eval_loss)},
               {"eval_loss_stderr", number(m.eval_loss_stderr)},
               {"eval_samples", m.eval_samples},
               {"eval_tokens", m.eval_tokens},
               {"eval_seconds", number(m.eval_seconds)}};
  for (const SampleGeneration& g : m.generations) {
    line["generations"].push_back({{"id", g.id},
                                   {"prompt", g.prompt},
                                   {"expected", g.expected},
                                   {"text", g.text},
                                   {"finish_reason", g.finish_reason}});
  }
  return line;
}

}  // namespace qtune
