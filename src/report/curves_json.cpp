// Numbers over the steps.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "pack.h"
#include "report_json.h"

namespace qtune {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kNumQuadrants = 5;

/// Steps that become one point.
size_t stride_of(size_t num_steps, size_t max_points) {
  return std::max<size_t>(1, (num_steps + max_points - 1) / max_points);
}

size_t index_of(Quadrant q) { return static_cast<size_t>(q); }

struct Curve {
  const char* name;
  std::function<double(const StepMetrics&)> value;
};

const std::vector<Curve>& curves() {
  static const std::vector<Curve> list = {
      {"loss", [](const StepMetrics& m) { return m.loss; }},
      {"grad_norm", [](const StepMetrics& m) { return m.grad_norm; }},
      {"learning_rate", [](const StepMetrics& m) { return m.learning_rate; }},
      {"alpha", [](const StepMetrics& m) { return m.alpha.value_or(std::numeric_limits<double>::quiet_NaN()); }},
      {"tokens_seen", [](const StepMetrics& m) { return static_cast<double>(m.tokens_seen); }},
      {"tokens_trained", [](const StepMetrics& m) { return static_cast<double>(m.tokens_trained); }},
      {"memory", [](const StepMetrics& m) { return static_cast<double>(m.peak_memory_bytes); }},
      {"score", [](const StepMetrics& m) { return m.seconds.score; }},
      {"decide", [](const StepMetrics& m) { return m.seconds.decide; }},
      {"train", [](const StepMetrics& m) { return m.seconds.train; }},
      {"optimizer", [](const StepMetrics& m) { return m.seconds.optimizer; }},
      {"other", [](const StepMetrics& m) { return m.seconds.other; }},
  };
  return list;
}

/// Mean of the finite values; NaN where there is none.
double mean_of(std::span<const StepMetrics> steps, const Curve& curve) {
  double sum = 0;
  int64_t count = 0;
  for (const StepMetrics& m : steps) {
    const double value = curve.value(m);
    if (!std::isfinite(value)) continue;
    sum += value;
    ++count;
  }
  return count > 0 ? sum / static_cast<double>(count) : std::numeric_limits<double>::quiet_NaN();
}

/// Judged and kept samples of some steps, by quadrant.
struct Counts {
  std::array<int64_t, kNumQuadrants> judged{}, kept{};
};

struct StepCounts {
  int64_t step = 0;
  Counts counts;
};

std::vector<StepCounts> counts_of_steps(const RunData& run) {
  std::vector<StepCounts> list;
  for (const Judgement& j : run.judgements) {
    if (list.empty() || list.back().step != j.step) list.push_back({.step = j.step});
    ++list.back().counts.judged[index_of(j.quadrant)];
    list.back().counts.kept[index_of(j.quadrant)] += j.kept ? 1 : 0;
  }
  return list;
}

/// [from][to], over each sample's judgements in their order.
Json moves_between_quadrants(const RunData& run) {
  std::array<std::array<int64_t, kNumQuadrants>, kNumQuadrants> moves{};
  std::vector<int8_t> last(run.sample_ids.size(), -1);
  for (const Judgement& j : run.judgements) {
    int8_t& from = last[j.sample];
    if (from >= 0) ++moves[static_cast<size_t>(from)][index_of(j.quadrant)];
    from = static_cast<int8_t>(index_of(j.quadrant));
  }
  return moves;
}

}  // namespace

Json curves_json(const RunData& run, size_t max_points) {
  const size_t stride = stride_of(run.steps.size(), max_points);
  Json json = {{"stride", stride}, {"step", Json::array()}, {"epoch", Json::array()}};
  for (const Curve& curve : curves()) json[curve.name] = Json::array();
  for (size_t begin = 0; begin < run.steps.size(); begin += stride) {
    const auto group = std::span(run.steps).subspan(begin, std::min(stride, run.steps.size() - begin));
    json["step"].push_back(group.back().step);
    json["epoch"].push_back(short_number(group.back().epoch));
    for (const Curve& curve : curves()) json[curve.name].push_back(short_number(mean_of(group, curve)));
  }
  return json;
}

Json evaluations_json(const RunData& run) {
  Json json = {{"step", Json::array()}, {"loss", Json::array()}, {"error", Json::array()}};
  for (const EvalMetrics& e : run.evaluations) {
    json["step"].push_back(e.step);
    json["loss"].push_back(short_number(e.eval_loss));
    json["error"].push_back(short_number(e.eval_loss_stderr));
  }
  return json;
}

Json flow_json(const RunData& run, size_t max_points) {
  const std::vector<StepCounts> steps = counts_of_steps(run);
  const size_t stride = stride_of(steps.size(), max_points);
  Json json = {{"step", Json::array()}, {"judged", Json::array()}, {"kept", Json::array()}};
  for (size_t begin = 0; begin < steps.size(); begin += stride) {
    Counts sum;
    const size_t end = std::min(begin + stride, steps.size());
    for (size_t i = begin; i < end; ++i) {
      for (size_t q = 0; q < kNumQuadrants; ++q) {
        sum.judged[q] += steps[i].counts.judged[q];
        sum.kept[q] += steps[i].counts.kept[q];
      }
    }
    json["step"].push_back(steps[end - 1].step);
    json["judged"].push_back(sum.judged);
    json["kept"].push_back(sum.kept);
  }
  json["moves"] = moves_between_quadrants(run);
  return json;
}

Json totals_json(const RunData& run) {
  std::vector<uint32_t> judged(run.sample_ids.size()), kept(judged.size());
  for (const Judgement& j : run.judgements) {
    ++judged[j.sample];
    kept[j.sample] += j.kept ? 1 : 0;
  }
  return {{"judged", packed_integers(judged, 2)}, {"kept", packed_integers(kept, 2)}};
}

}  // namespace qtune
