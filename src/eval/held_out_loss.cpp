#include "qtune/eval/held_out_loss.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "item_file.h"
#include "item_progress.h"
#include "qtune/base/error.h"
#include "qtune/base/hash.h"
#include "qtune/base/log.h"
#include "qtune/base/stop_signals.h"
#include "qtune/score/score_pass.h"

namespace qtune {
namespace {

using Json = nlohmann::ordered_json;

std::vector<size_t> longest_first(const SampleSet& samples, size_t count, const ItemFile& file) {
  std::vector<size_t> order;
  for (size_t i = 0; i < count; ++i) {
    if (!file.has(i)) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return samples.num_tokens(a) > samples.num_tokens(b); });
  return order;
}

Json line_of(size_t index, const TokenizedSample& sample, const SampleScores& scores) {
  const double sum = std::accumulate(scores.nll.begin(), scores.nll.end(), 0.0);
  if (!std::isfinite(sum)) {
    throw NonFiniteError(fmt::format(
        "{}: expected finite losses, found others ---> the model's weights are broken, or too large for this --dtype",
        sample.id.place()));
  }
  Json logprobs = Json::array();
  for (const double nll : scores.nll) logprobs.push_back(-nll);
  return {{"doc_id", index},         {"place", sample.id.place()},
          {"ids", sample.input_ids}, {"positions", scores.positions},
          {"logprobs", logprobs},    {"metrics", {{"nll_sum", sum}, {"num_tokens", scores.nll.size()}}}};
}

/// Nothing is cut here: the whole text is computed, beyond the positions that the model was made for, too.
void warn_of_long_texts(const Model& model, const SampleSet& samples, size_t count) {
  const int64_t positions = model.config().max_positions;
  size_t num_long = 0;
  for (size_t i = 0; i < count; ++i) num_long += static_cast<int64_t>(samples.num_tokens(i)) > positions ? 1 : 0;
  if (num_long == 0) return;
  spdlog::warn(
      "{}: {} of {} texts are longer than the model's {} positions, and their losses unlike those within ---> "
      "shorten them, or leave them out",
      kLossTask, num_long, count, positions);
}

/// Mean over tokens with its standard error over samples.
std::pair<double, double> ratio(const std::vector<double>& sums, const std::vector<double>& counts) {
  const double tokens = std::accumulate(counts.begin(), counts.end(), 0.0);
  const double mean = std::accumulate(sums.begin(), sums.end(), 0.0) / tokens;
  double squares = 0;
  for (size_t i = 0; i < sums.size(); ++i) squares += std::pow(sums[i] - mean * counts[i], 2);
  const auto n = static_cast<double>(sums.size());
  const double error = n > 1 ? std::sqrt(squares * n / (n - 1)) / tokens : std::numeric_limits<double>::quiet_NaN();
  return {mean, error};
}

}  // namespace

std::vector<MetricResult> run_held_out_loss(Model& model, const SampleSet& samples, const Json& data,
                                            const EvalSettings& settings) {
  const size_t count = settings.limit > 0 ? std::min(settings.limit, samples.size()) : samples.size();
  Json all = {{"task", kLossTask}, {"data", data}};
  const std::string hash = hex64(hash64(all.dump()));
  all.update(settings.identity);
  ItemFile file(settings.out, kLossTask, all);
  warn_of_long_texts(model, samples, count);
  const std::vector<size_t> order = longest_first(samples, count, file);
  {
    ItemProgress progress(kLossTask, count - order.size(), count);
    for (size_t first = 0; first < order.size(); first += static_cast<size_t>(settings.batch_size)) {
      const size_t end = std::min(order.size(), first + static_cast<size_t>(settings.batch_size));
      std::vector<TokenizedSample> group;
      for (size_t k = first; k < end; ++k) group.push_back(samples[order[k]]);
      const std::vector<SampleScores> scores = score_pass(model, pointers_to(group), settings.batch_size);
      for (size_t k = first; k < end; ++k) {
        file.add(line_of(order[k], group[k - first], scores[k - first]));
        progress.add_one();
      }
      throw_if_stopped();
    }
  }
  std::vector<double> sums, counts;
  for (const auto& [item, metrics] : file.metrics()) {
    if (item >= count) continue;
    sums.push_back(metrics.at("nll_sum"));
    counts.push_back(metrics.at("num_tokens"));
  }
  if (std::accumulate(counts.begin(), counts.end(), 0.0) == 0) {
    throw DataError("loss: expected trainable tokens in the data, found none ---> check its columns and the template");
  }
  const auto [loss, error] = ratio(sums, counts);
  const double perplexity = std::exp(loss);
  const MetricResult mean{.task = kLossTask,
                          .metric = "loss",
                          .value = loss,
                          .stderr_value = error,
                          .n = sums.size(),
                          .shots = 0,
                          .style = "qtune",
                          .config_hash = hash};
  MetricResult exponential = mean;
  exponential.metric = "perplexity";
  exponential.value = perplexity;
  exponential.stderr_value = perplexity * error;
  return {mean, exponential};
}

}  // namespace qtune
