#include "qtune/eval/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

namespace qtune {
namespace {

/// Tokens by falling likelihood, sorted only as far as a draw needs it.
class Nucleus {
 public:
  Nucleus(std::span<const float> logits, const SamplingOptions& options)
      : logits_(logits), options_(options), order_(logits.size()) {
    std::iota(order_.begin(), order_.end(), 0);
    num_candidates_ = options.top_k > 0 ? std::min(static_cast<size_t>(options.top_k), order_.size()) : order_.size();
    // The total of the top k is known only once they are.
    constexpr size_t kFirstSorted = 64;
    sort(options.top_k > 0 ? num_candidates_ : std::min(kFirstSorted, num_candidates_));
    top_ = logits_[static_cast<size_t>(order_[0])];
    for (size_t i = 0; i < num_candidates_; ++i) total_ += weight(i);
  }

  int32_t choose(double draw) {
    while (true) {
      const auto held = weight_of_nucleus();
      const bool all_sorted = num_sorted_ == num_candidates_;
      if (held) {
        double rest = draw * *held;
        for (size_t i = 0; i < num_sorted_; ++i) {
          rest -= weight(i);
          if (rest < 0) return order_[i];
          // Rounding may leave a rest behind the last token.
          if (i + 1 == size_of_nucleus_ || (all_sorted && (i + 1 == num_sorted_ || weight(i + 1) == 0)))
            return order_[i];
        }
      }
      sort(std::min(8 * num_sorted_, num_candidates_));
    }
  }

 private:
  double weight(size_t i) const {
    return std::exp((logits_[static_cast<size_t>(order_[i])] - static_cast<double>(top_)) / options_.temperature);
  }

  void sort(size_t count) {
    // Ties by id, so that a seed gives the same text everywhere.
    std::partial_sort(order_.begin(), order_.begin() + static_cast<int64_t>(count), order_.end(),
                      [&](int32_t a, int32_t b) {
                        const float x = logits_[static_cast<size_t>(a)], y = logits_[static_cast<size_t>(b)];
                        return x != y ? x > y : a < b;
                      });
    num_sorted_ = count;
  }

  /// What the tokens that are left weigh together; nullopt: more of them must be sorted to tell.
  std::optional<double> weight_of_nucleus() {
    size_of_nucleus_ = num_candidates_;
    if (options_.top_p >= 1 && options_.min_p <= 0) return total_;
    double held = 0;
    for (size_t i = 0; i < num_sorted_; ++i) {
      const double w = weight(i);
      if (i > 0 && (held >= options_.top_p * total_ || w < options_.min_p)) {
        size_of_nucleus_ = i;
        return held;
      }
      held += w;
    }
    if (num_sorted_ == num_candidates_) return held;
    return std::nullopt;
  }

  std::span<const float> logits_;
  const SamplingOptions& options_;
  std::vector<int32_t> order_;
  size_t num_candidates_ = 0, num_sorted_ = 0, size_of_nucleus_ = 0;
  float top_ = 0;
  double total_ = 0;
};

int32_t most_likely(std::span<const float> logits) {
  // Two sweeps that vectorise, not one that does not.
  const float* values = logits.data();
  float top = values[0];
#pragma omp simd reduction(max : top)
  for (size_t i = 0; i < logits.size(); ++i) top = std::max(top, values[i]);
  return static_cast<int32_t>(std::find(logits.begin(), logits.end(), top) - logits.begin());
}

}  // namespace

int32_t choose_token(std::span<const float> logits, const SamplingOptions& options, double draw) {
  if (options.temperature <= 0) return most_likely(logits);
  return Nucleus(logits, options).choose(draw);
}

void penalize_repetition(std::span<float> logits, const std::unordered_set<int32_t>& seen, double penalty) {
  for (const int32_t id : seen) {
    if (id < 0 || static_cast<size_t>(id) >= logits.size()) continue;
    float& x = logits[static_cast<size_t>(id)];
    x = static_cast<float>(x > 0 ? x / penalty : x * penalty);
  }
}

}  // namespace qtune
