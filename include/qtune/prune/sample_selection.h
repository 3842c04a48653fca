// Stage 1 of Q-Tuning: which samples of a group are kept (paper, Algorithm 1). Pure functions of plain arrays.
// perplexity and entropy always have one value a sample, in the samples' order, all finite.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "qtune/prune/quadrant.h"
#include "qtune/prune/scores.h"

namespace qtune {

/// Arguments of exp are capped here, so that a hopeless token gives a large number and not infinity.
inline constexpr double kMaxExponent = 80.0;

/// Mean nll in nats, summed left to right. Throws: Error when there is no value.
double mean_nll_of(std::span<const double> nll);

/// PPL(x): exp of the mean nll, summed left to right. Throws: Error when there is no value.
double perplexity_of(std::span<const double> nll);

/// Ent(x): mean entropy, summed left to right. Throws: Error when there is no value.
double mean_entropy_of(std::span<const double> entropy);

/// max(1, floor(fraction * num_samples)), never more than num_samples; 0 of 0.
/// 1e-9 is added first, so that 0.29 * 100 = 28.999999999999996 means 29.
int64_t num_kept_samples(double fraction, int64_t num_samples);

struct BisectionOptions {
  double keep = 0.125;  // wanted share of samples in the kept quadrants
  int iterations = 10;  // rounds, at least 1
  QuadrantSet kept_quadrants{Quadrant::kMisconception, Quadrant::kCalibration};
};

struct Partition {
  Thresholds thresholds;
  std::vector<Quadrant> quadrants;  // one a sample
};

/// Moves alpha = beta through [0, 0.49] until the kept quadrants hold about `keep` of the samples; the last round
/// counts. Throws: Error when there is no sample.
Partition bisect_thresholds(std::span<const double> perplexity, std::span<const double> entropy,
                            const BisectionOptions& options);

/// minmax(PPL) - minmax(Ent), in [-1, 1]: positive where the model is wrong rather than unsure. An axis on which all
/// values are equal counts as 0.
std::vector<double> sides_of(std::span<const double> perplexity, std::span<const double> entropy);

/// Flags of the `target` kept samples: those in kept quadrants by |side| descending, then all others by |side|
/// descending (the supplements). Ties: earlier samples first.
std::vector<uint8_t> choose_samples(const std::vector<Quadrant>& quadrants, const std::vector<double>& sides,
                                    QuadrantSet kept_quadrants, int64_t target);

}  // namespace qtune
