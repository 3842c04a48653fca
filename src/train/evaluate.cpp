#include "qtune/train/evaluate.h"

#include <chrono>
#include <cmath>
#include <numeric>
#include <vector>

#include "qtune/score/score_pass.h"

namespace qtune {

EvalMetrics evaluate(Model& model, std::span<const TokenizedSample> samples, int64_t micro_batch) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<const TokenizedSample*> pointers;
  for (const TokenizedSample& s : samples) pointers.push_back(&s);
  const std::vector<SampleScores> scores = score_pass(model, pointers, micro_batch);
  double sum = 0, tokens = 0;
  std::vector<double> sums;
  for (const SampleScores& s : scores) {
    sums.push_back(std::accumulate(s.nll.begin(), s.nll.end(), 0.0));
    sum += sums.back();
    tokens += static_cast<double>(s.nll.size());
  }
  EvalMetrics result;
  result.eval_loss = sum / tokens;
  double squares = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    const double residual = sums[i] - result.eval_loss * static_cast<double>(scores[i].nll.size());
    squares += residual * residual;
  }
  const double n = static_cast<double>(scores.size());
  result.eval_loss_stderr = n > 1 ? std::sqrt(squares * n / (n - 1)) / tokens : std::nan("");
  result.eval_samples = static_cast<int64_t>(scores.size());
  result.eval_tokens = static_cast<int64_t>(tokens);
  result.eval_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace qtune
