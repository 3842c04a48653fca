#include "qtune/train/evaluate.h"

#include <chrono>
#include <cmath>
#include <numeric>
#include <vector>

#include "data_parallel.h"
#include "qtune/score/score_pass.h"

namespace qtune {

EvalMetrics evaluate(Model& model, const SampleSet& samples, int64_t micro_batch, Communicator& communicator) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<int> ranks;                // of each sample
  std::vector<double> own_sums, counts;  // of this rank's samples, of all
  for (size_t first = 0; first < samples.size(); first += static_cast<size_t>(micro_batch)) {
    const size_t end = std::min(samples.size(), first + static_cast<size_t>(micro_batch));
    const auto rank = static_cast<int>(first / static_cast<size_t>(micro_batch)) % communicator.world_size();
    ranks.resize(end, rank);
    for (size_t i = first; i < end; ++i) counts.push_back(static_cast<double>(samples.num_trainable_tokens(i)));
    if (rank != communicator.rank()) continue;
    std::vector<TokenizedSample> group;
    for (size_t i = first; i < end; ++i) group.push_back(samples[i]);
    for (const SampleScores& s : score_pass(model, pointers_to(group), micro_batch)) {
      own_sums.push_back(std::accumulate(s.nll.begin(), s.nll.end(), 0.0));
    }
  }
  const std::vector<double> sums = gather_values(communicator, ranks, own_sums);
  const double sum = std::accumulate(sums.begin(), sums.end(), 0.0);
  const double tokens = std::accumulate(counts.begin(), counts.end(), 0.0);
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
