// Launchers of what Q-Tuning computes from token scores: each sample's mean scores, its tokens' salience, and which
// tokens stay. They enqueue and return; they allocate nothing and never synchronise.
// Same values and choices as include/qtune/prune/{sample_selection,token_salience}.h, in double. Only exp() is the
// device's own, at most one unit in the last place from the host's: equal scores still give equal salience, so ties
// stay ties. Legend: B samples, N their trainable positions, packed sample after sample; offsets (B + 1) int64, first
// 0, last N.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace qtune {

struct SampleOffsets {
  int64_t num_samples = 0;
  const int64_t* offsets = nullptr;
};

/// Mean nll and mean entropy of each sample, summed left to right in double.
/// Shapes: nll, entropy (N) float32; out: mean_nll, mean_entropy (B) double. Units: nats.
/// Empty: no samples launch nothing; a sample without positions gets NaN. Paper: PPL(x) = exp(mean nll), Ent(x).
struct SampleMeans {
  SampleOffsets samples;
  const float *nll = nullptr, *entropy = nullptr;
  double *mean_nll = nullptr, *mean_entropy = nullptr;
};

cudaError_t launch_sample_means(const SampleMeans& args, cudaStream_t stream);

enum class NeighbourSum { kSum, kMean };

/// salience_k = (1 - lambda) p_k + lambda (p_{k-1} + p_{k+1}), p = exp(nll), exponents capped at 80; kMean halves the
/// bracket. A neighbour outside the sample, or outside the same run of trainable positions, counts as p_k.
/// Shapes: nll (N) float32; span (N) int32 numbers the runs, null: one run a sample; out: salience (N) double.
/// Paper: Eq. 7.
struct TokenSalience {
  SampleOffsets samples;
  const float* nll = nullptr;
  const int32_t* span = nullptr;
  double lambda = 0.5;
  NeighbourSum neighbours = NeighbourSum::kSum;
  double* salience = nullptr;
};

cudaError_t launch_token_salience(const TokenSalience& args, cudaStream_t stream);

/// What becomes of a sample's tokens.
enum class TokenFate : uint8_t { kDropAll, kKeepAll, kChoose };

/// Marks the tokens that stay. Of a sample with fate kChoose and n tokens those are the max(1, ceil(keep * n - 1e-9))
/// with the lowest salience (`reverse`: the highest); tokens flagged in `first` are taken before all others.
/// Ties: earlier tokens first.
/// Shapes: salience (N) double; first (N), end-of-turn flags, or null; fates (B) or null: kChoose all;
/// out: mask (N), 1 or 0; num_kept (B), or null.
/// A sample with a NaN among its salience keeps the right number of tokens, but which ones is undefined.
struct TokenChoice {
  SampleOffsets samples;
  const double* salience = nullptr;
  const uint8_t* first = nullptr;
  const TokenFate* fates = nullptr;
  double keep = 0.5;
  bool reverse = false;
  uint8_t* mask = nullptr;
  int64_t* num_kept = nullptr;
};

cudaError_t launch_choose_tokens(const TokenChoice& args, cudaStream_t stream);

}  // namespace qtune
