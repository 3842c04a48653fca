#include "qtune/prune/sample_selection.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "qtune/base/error.h"
#include "qtune/prune/quantile.h"

namespace qtune {
namespace {

double mean_left_to_right(std::span<const double> values, const char* what) {
  if (values.empty()) throw Error(fmt::format("{}: expected at least one trainable token, found none", what));
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

std::vector<double> sorted(std::span<const double> values) {
  std::vector<double> copy(values.begin(), values.end());
  std::sort(copy.begin(), copy.end());
  return copy;
}

std::vector<double> scaled_to_unit(std::span<const double> values) {
  if (values.empty()) return {};
  const auto [smallest, largest] = std::minmax_element(values.begin(), values.end());
  const double lo = *smallest, range = *largest - *smallest;
  std::vector<double> scaled(values.size(), 0.0);
  if (range > 0)
    std::transform(values.begin(), values.end(), scaled.begin(), [&](double v) { return (v - lo) / range; });
  return scaled;
}

}  // namespace

double mean_nll_of(std::span<const double> nll) { return mean_left_to_right(nll, "perplexity"); }

double perplexity_of(std::span<const double> nll) { return std::exp(std::min(mean_nll_of(nll), kMaxExponent)); }

double mean_entropy_of(std::span<const double> entropy) { return mean_left_to_right(entropy, "mean entropy"); }

int64_t num_kept_samples(double fraction, int64_t num_samples) {
  const double wanted = std::floor(fraction * static_cast<double>(num_samples) + 1e-9);
  return std::min(num_samples, std::max<int64_t>(1, static_cast<int64_t>(wanted)));
}

Partition bisect_thresholds(std::span<const double> perplexity, std::span<const double> entropy,
                            const BisectionOptions& options) {
  const std::vector<double> ppl = sorted(perplexity), ent = sorted(entropy);
  Partition partition;
  partition.quadrants.resize(perplexity.size());
  double lo = 0.0, hi = 0.49;
  for (int round = 0; round < options.iterations; ++round) {
    const double alpha = (lo + hi) / 2;
    partition.thresholds = {.alpha = alpha,
                            .beta = alpha,
                            .ppl_hi = quantile(ppl, 1 - alpha),
                            .ppl_lo = quantile(ppl, alpha),
                            .ent_lo = quantile(ent, alpha),
                            .ent_hi = quantile(ent, 1 - alpha)};
    size_t num_inside = 0;
    for (size_t i = 0; i < perplexity.size(); ++i) {
      partition.quadrants[i] = quadrant_of(perplexity[i], entropy[i], partition.thresholds);
      num_inside += options.kept_quadrants.contains(partition.quadrants[i]) ? 1 : 0;
    }
    const double share = static_cast<double>(num_inside) / static_cast<double>(perplexity.size());
    (share < options.keep ? lo : hi) = alpha;
  }
  return partition;
}

std::vector<double> sides_of(std::span<const double> perplexity, std::span<const double> entropy) {
  std::vector<double> sides = scaled_to_unit(perplexity);
  const std::vector<double> uncertainty = scaled_to_unit(entropy);
  for (size_t i = 0; i < sides.size(); ++i) sides[i] -= uncertainty[i];
  return sides;
}

std::vector<uint8_t> choose_samples(const std::vector<Quadrant>& quadrants, const std::vector<double>& sides,
                                    QuadrantSet kept_quadrants, int64_t target) {
  std::vector<size_t> order(quadrants.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return std::abs(sides[a]) > std::abs(sides[b]); });
  std::stable_partition(order.begin(), order.end(), [&](size_t i) { return kept_quadrants.contains(quadrants[i]); });
  std::vector<uint8_t> kept(quadrants.size(), 0);
  for (size_t rank = 0; rank < order.size() && static_cast<int64_t>(rank) < target; ++rank) kept[order[rank]] = 1;
  return kept;
}

}  // namespace qtune
