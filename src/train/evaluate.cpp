#include "qtune/train/evaluate.h"

#include <chrono>
#include <cmath>
#include <numeric>
#include <vector>

#include "qtune/score/score_pass.h"

namespace qtune {

EvalMetrics evaluate(Model& model, const SampleSet& samples, int64_t micro_batch) {
  const auto start = std::chrono::steady_clock::now();
  double sum = 0, tokens = 0;
  std::vector<double> sums, counts;  // of each sample
  for (size_t first = 0; first < samples.size(); first += static_cast<size_t>(micro_batch)) {
    std::vector<TokenizedSample> group;
    for (size_t i = first; i < std::min(samples.size(), first + static_cast<size_t>(micro_batch)); ++i) {
      group.push_back(samples[i]);
    }
    for (const SampleScores& s : score_pass(model, pointers_to(group), micro_batch)) {
      sums.push_back(std::accumulate(s.nll.begin(), s.nll.end(), 0.0));
      counts.push_back(static_cast<double>(s.nll.size()));
      sum += sums.back();
      tokens += counts.back();
    }
  }
  EvalMetrics result;
  result.eval_loss = sum / tokens;
  double squares = 0;
  for (size_t i = 0; i < sums.size(); ++i) {
    const double residual = sums[i] - result.eval_loss * counts[i];
    squares += residual * residual;
  }
  const double n = static_cast<double>(sums.size());
  result.eval_loss_stderr = n > 1 ? std::sqrt(squares * n / (n - 1)) / tokens : std::nan("");
  result.eval_samples = static_cast<int64_t>(sums.size());
  result.eval_tokens = static_cast<int64_t>(tokens);
  result.eval_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace qtune
