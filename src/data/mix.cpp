#include "qtune/data/mix.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "qtune/base/error.h"
#include "qtune/base/rng.h"

namespace qtune {
namespace {

constexpr uint64_t kMixStream = 0x6d6978;  // "mix"
constexpr double kSumTolerance = 1e-6;
constexpr double kMostRepeats = 100;

const std::vector<std::pair<std::string, MixStrategy>> kStrategies = {
    {"concat", MixStrategy::kConcat},
    {"interleave_under", MixStrategy::kInterleaveUnder},
    {"interleave_over", MixStrategy::kInterleaveOver},
    {"interleave_once", MixStrategy::kInterleaveOnce},
};

[[noreturn]] void wrong_probs(const std::string& expected, const std::string& found) {
  throw ConfigError(
      fmt::format("interleave_probs: expected {}, found {} ---> change interleave_probs", expected, found));
}

void check_probabilities(const MixOptions& options) {
  const std::vector<double>& probabilities = options.probabilities;
  if (probabilities.empty()) return;
  if (options.strategy == MixStrategy::kConcat) {
    throw ConfigError(
        "interleave_probs: expected none with mix_strategy: concat, found some ---> set mix_strategy: "
        "interleave_under, "
        "interleave_over or interleave_once, or remove interleave_probs");
  }
  if (probabilities.size() != options.sizes.size()) {
    wrong_probs(fmt::format("one number for each of the {} datasets", options.sizes.size()),
                std::to_string(probabilities.size()));
  }
  double sum = 0;
  for (const double p : probabilities) {
    if (!(p >= 0 && p <= 1)) wrong_probs("numbers from 0 to 1", fmt::format("{}", p));
    sum += p;
  }
  if (std::abs(sum - 1) > kSumTolerance) wrong_probs("numbers with sum 1", fmt::format("sum {:.6g}", sum));
  const bool all_needed = options.strategy != MixStrategy::kInterleaveUnder;
  for (size_t d = 0; d < probabilities.size() && all_needed; ++d) {
    if (probabilities[d] > 0) continue;
    wrong_probs(fmt::format("all above 0, since {} ends when every dataset has run out", to_string(options.strategy)),
                fmt::format("0 for dataset {}", d + 1));
  }
}

void check_sizes(const MixOptions& options) {
  for (size_t d = 0; d < options.sizes.size(); ++d) {
    const bool drawn = options.probabilities.empty() || options.probabilities[d] > 0;
    if (options.sizes[d] > 0 || !drawn || options.strategy == MixStrategy::kConcat) continue;
    throw DataError(
        fmt::format("mix_strategy: {}: expected samples in every dataset, found none in dataset {} ---> check its "
                    "file",
                    to_string(options.strategy), d + 1));
  }
}

std::vector<MixedIndex> concatenated(const std::vector<int64_t>& sizes) {
  std::vector<MixedIndex> order;
  order.reserve(static_cast<size_t>(std::accumulate(sizes.begin(), sizes.end(), int64_t{0})));
  for (size_t d = 0; d < sizes.size(); ++d) {
    for (int64_t i = 0; i < sizes[d]; ++i) order.push_back({.dataset = static_cast<int32_t>(d), .index = i});
  }
  return order;
}

/// Which dataset comes next: in turn, or drawn.
class Turns {
 public:
  explicit Turns(const MixOptions& options) : size_(options.sizes.size()), rng_(options.seed, kMixStream) {
    double sum = 0;
    for (const double p : options.probabilities) bounds_.push_back(sum += p);
    // The last one that can be drawn takes what rounding leaves.
    for (size_t d = bounds_.size(); d-- > 0;) {
      bounds_[d] = 2;
      if (options.probabilities[d] > 0) break;
    }
  }

  size_t next() {
    if (bounds_.empty()) return turn_++ % size_;
    const double draw = rng_.next_unit();
    return static_cast<size_t>(std::upper_bound(bounds_.begin(), bounds_.end(), draw) - bounds_.begin());
  }

  bool is_within_round() const { return turn_ % size_ != 0; }

 private:
  size_t size_, turn_ = 0;
  CounterRng rng_;
  std::vector<double> bounds_;
};

std::vector<MixedIndex> interleaved(const MixOptions& options) {
  const std::vector<int64_t>& sizes = options.sizes;
  const bool under = options.strategy == MixStrategy::kInterleaveUnder;
  const bool once = options.strategy == MixStrategy::kInterleaveOnce;
  const auto num_samples = static_cast<double>(std::accumulate(sizes.begin(), sizes.end(), int64_t{0}));
  const double most = kMostRepeats * num_samples + 1000;
  std::vector<int64_t> taken(sizes.size(), 0);
  std::vector<MixedIndex> order;
  size_t num_exhausted = 0;
  Turns turns(options);
  const auto done = [&] {
    // Without probabilities the last round is whole, as in Python's library.
    return (under ? num_exhausted > 0 : num_exhausted == sizes.size()) && !turns.is_within_round();
  };
  for (double draws = 0; !done(); ++draws) {
    if (draws > most) {
      wrong_probs("probabilities that exhaust every dataset within 100 times the number of samples", "smaller ones");
    }
    const size_t d = turns.next();
    if (once && taken[d] >= sizes[d]) continue;
    order.push_back({.dataset = static_cast<int32_t>(d), .index = taken[d] % sizes[d]});
    if (++taken[d] == sizes[d]) ++num_exhausted;
  }
  return order;
}

}  // namespace

MixStrategy parse_mix_strategy(const std::string& name) {
  std::string known;
  for (const auto& [word, strategy] : kStrategies) {
    if (word == name) return strategy;
    known += (known.empty() ? "" : ", ") + word;
  }
  throw ConfigError(fmt::format("mix_strategy: expected one of {}, found \"{}\" ---> rename it", known, name));
}

std::string to_string(MixStrategy strategy) {
  for (const auto& [word, known] : kStrategies) {
    if (known == strategy) return word;
  }
  return "?";
}

std::vector<MixedIndex> mix_order(const MixOptions& options) {
  check_probabilities(options);
  if (options.sizes.size() < 2 || options.strategy == MixStrategy::kConcat) return concatenated(options.sizes);
  check_sizes(options);
  return interleaved(options);
}

}  // namespace qtune
