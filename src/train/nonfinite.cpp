#include "nonfinite.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/log.h"
#include "qtune/prune/sample_selection.h"
#include "qtune/prune/scores_file.h"

namespace qtune {
namespace {

constexpr int64_t kMostSkippedInARow = 3;

bool all_finite(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
}

std::string text_of(double value) { return std::isnan(value) ? "nan" : fmt::format("{}", value); }

nlohmann::ordered_json json_of(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(text_of(value));
}

std::string evidence_lines(int64_t step, const StepEvidence& evidence) {
  std::string lines;
  for (size_t i = 0; i < evidence.samples.size(); ++i) {
    const SampleId& id = evidence.samples[i]->id;
    const SampleScores& scores = evidence.scores[i];
    nlohmann::ordered_json line = {{"step", step}, {"id", id.name()}, {"place", id.place()}};
    line["loss"] = evidence.mean_nll[i] ? text_of(*evidence.mean_nll[i]) : "not computed";
    if (!scores.nll.empty()) {
      line["ppl"] = json_of(all_finite(scores.nll) ? perplexity_of(scores.nll) : std::nan(""));
      line["entropy"] = json_of(all_finite(scores.entropy) ? mean_entropy_of(scores.entropy) : std::nan(""));
    }
    if (evidence.decision != nullptr) {
      line["quadrant"] = quadrant_name(evidence.decision->samples[i].quadrant);
      line["kept"] = evidence.decision->samples[i].kept;
    }
    lines += line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  }
  return lines;
}

}  // namespace

bool is_finite(const SampleScores& scores) {
  return all_finite(scores.nll) && all_finite(scores.entropy) && all_finite(scores.reference_nll) &&
         all_finite(scores.base_nll) && all_finite(scores.attention);
}

void report_nonfinite(TrainingRun& run, const StepMetrics& metrics, const StepEvidence& evidence) {
  const auto path = run.output_dir / fmt::format("nonfinite-step-{}.jsonl", metrics.step);
  if (run.communicator->is_first()) write_file_atomic(path, evidence_lines(metrics.step, evidence));
  const std::string message =
      fmt::format("step {}: expected a finite loss and gradient norm, found {} and {} (its samples: {})", metrics.step,
                  text_of(metrics.loss), text_of(metrics.grad_norm), path.string());
  if (run.config().on_nonfinite == "stop") {
    throw NonFiniteError(message + " ---> lower learning_rate, look at these samples, or set on_nonfinite: skip");
  }
  if (++run.skipped_in_a_row >= kMostSkippedInARow) {
    throw NonFiniteError(
        fmt::format("{}, as in the {} steps before it ---> lower learning_rate, or look at these samples", message,
                    kMostSkippedInARow - 1));
  }
  if (metrics.step == run.state.total_steps && run.optimizer->num_updates() == 0) {
    throw NonFiniteError(message + " and no step trained anything ---> lower learning_rate, or look at these samples");
  }
  spdlog::warn("{}; the step is skipped", message);
}

void check_weights(TrainingRun& run) {
  for (const Parameter& p : run.model.parameters()) {
    const at::Tensor host = p.best_values().to(at::kCPU).to(at::kFloat);  // a whole master on the CPU: itself
    const float* values = host.data_ptr<float>();
    bool finite = true;
    for (int64_t i = 0; i < host.numel(); ++i) finite &= std::isfinite(values[i]);
    if (finite) continue;
    throw NonFiniteError(
        fmt::format("step {}: expected finite weights to save, found {} with values that are not ---> lower "
                    "learning_rate, and go on from an earlier checkpoint",
                    run.state.step, p.name));
  }
}

}  // namespace qtune
