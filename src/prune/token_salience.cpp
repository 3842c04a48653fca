#include "qtune/prune/token_salience.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>

#include "qtune/base/error.h"
#include "qtune/prune/sample_selection.h"

namespace qtune {

Neighbours parse_neighbours(const std::string& name) {
  if (name == "sum") return Neighbours::kSum;
  if (name == "mean") return Neighbours::kMean;
  throw ConfigError("neighbours: expected sum or mean, found \"" + name + "\" ---> name one of them");
}

std::vector<double> token_salience(std::span<const double> nll, std::span<const int32_t> span, double lambda,
                                   Neighbours neighbours) {
  std::vector<double> perplexity(nll.size());
  for (size_t k = 0; k < nll.size(); ++k) perplexity[k] = std::exp(std::min(nll[k], kMaxExponent));
  const auto same_run = [&](size_t a, size_t b) { return span.empty() || span[a] == span[b]; };
  std::vector<double> salience(nll.size());
  for (size_t k = 0; k < nll.size(); ++k) {
    const double own = perplexity[k];
    const double left = k > 0 && same_run(k - 1, k) ? perplexity[k - 1] : own;
    const double right = k + 1 < nll.size() && same_run(k, k + 1) ? perplexity[k + 1] : own;
    const double both = left + right;
    salience[k] = (1 - lambda) * own + lambda * (neighbours == Neighbours::kSum ? both : both / 2);
  }
  return salience;
}

int64_t num_kept_tokens(double fraction, int64_t num_tokens) {
  const double wanted = std::ceil(fraction * static_cast<double>(num_tokens) - 1e-9);
  return std::min(num_tokens, std::max<int64_t>(1, static_cast<int64_t>(wanted)));
}

std::vector<int32_t> choose_tokens(std::span<const double> salience, std::span<const uint8_t> first, TokenOrder order,
                                   int64_t target) {
  std::vector<int32_t> ranked(salience.size());
  std::iota(ranked.begin(), ranked.end(), 0);
  const auto key = [&](int32_t k) {
    const size_t i = static_cast<size_t>(k);
    const bool behind = first.empty() || first[i] == 0;
    return std::tuple(behind, order == TokenOrder::kLowest ? salience[i] : -salience[i], k);
  };
  std::sort(ranked.begin(), ranked.end(), [&](int32_t a, int32_t b) { return key(a) < key(b); });
  ranked.resize(std::min(ranked.size(), static_cast<size_t>(std::max<int64_t>(target, 0))));
  std::sort(ranked.begin(), ranked.end());
  return ranked;
}

}  // namespace qtune
