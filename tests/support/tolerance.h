// The one table of tolerances between a fused op and its plain twin, and the comparison that uses it.
// A number here changes only for a reason that can be written beside it.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace qtune {

/// |found - expected| <= relative * |expected| + of_largest * max |expected|.
/// The second part is for sums: their terms cancel, so a small result carries the rounding errors of the large ones.
struct Tolerance {
  double relative = 0, of_largest = 0;
};

/// Half the spacing of numbers around 1: the error of one rounding.
inline constexpr double kFloatRounding = 0x1p-24;    // 6.0e-8
inline constexpr double kBFloat16Rounding = 0x1p-8;  // 3.9e-3

/// Results that are one expression of a few inputs (swiglu, rope, gather, adamw): about ten float32 roundings, and
/// fast_exp's 3e-7.
inline constexpr Tolerance kElementwise{.relative = 1e-6, .of_largest = 5e-7};

/// Sums of up to a few hundred float32 terms in another order (RMSNorm, attention, products): the error grows with the
/// square root of the number of terms, sqrt(400) * 6e-8 = 1.2e-6, on both sides, and a softmax passes it on once more.
inline constexpr Tolerance kSums{.relative = 4e-6, .of_largest = 4e-6};

/// The same after rounding to bfloat16: values next to each other may fall on two sides of a rounding border, so two
/// right results differ by one spacing, two roundings.
inline constexpr Tolerance kElementwiseBFloat16{.relative = 2.02 * kBFloat16Rounding, .of_largest = 5e-7};
inline constexpr Tolerance kSumsBFloat16{.relative = 2.02 * kBFloat16Rounding, .of_largest = 4e-6};

/// Gradients through a product whose left factor was rounded to bfloat16 (d logits): both sides round it, at borders to
/// different neighbours, and the sum over it keeps that error relative to its largest term.
inline constexpr Tolerance kProductsBFloat16{.relative = 2.02 * kBFloat16Rounding, .of_largest = 2 * kBFloat16Rounding};

/// Token scores in nats against float64: a trial of the row algorithm over up to 128,256 words found 4.8e-6 for the
/// error of entropy / (1 + entropy) in one float32 fold. The sizes here are smaller, and logsumexp adds the rounding of
/// its own value.
inline constexpr double kScoreNats = 5e-6;

/// The same over 100,003 words whose logits take few values: equal terms round the same way at every addition, so
/// errors grow with the number of additions in a vector lane, 100,003 / 16 * 6e-8 = 4e-4 at worst, far less where
/// values mix.
inline constexpr double kLargeVocabularyNats = 5e-5;

/// Whole model in float32, fused against plain: three layers pass on and add the errors of their sums (2e-6 found).
/// Scores in nats, gradients relative to the norm of the tensor.
inline constexpr double kModelScoreNats = 1e-5;
inline constexpr double kModelGradientNorm = 1e-5;

/// Against transformers, whose own sums are in yet another order: what qtune promises of its scores.
inline constexpr double kTransformersScoreNats = 1e-4;

/// Whole model in bfloat16: every activation between two ops is rounded, 3.9e-3, and at borders fused and plain ops
/// round to different neighbours. Both are 0.03 of the norm away from float32's gradients; from each other 0.01 was
/// found.
inline constexpr double kModelBFloat16ScoreNats = 0.1;
inline constexpr double kModelBFloat16GradientNorm = 0.03;

inline Tolerance elementwise_tolerance(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? kElementwiseBFloat16 : kElementwise;
}

inline Tolerance sums_tolerance(at::ScalarType dtype) { return dtype == at::kBFloat16 ? kSumsBFloat16 : kSums; }

/// NaN in `found` is always too far.
inline testing::AssertionResult is_close(const at::Tensor& found, const at::Tensor& expected, Tolerance tolerance) {
  if (found.sizes() != expected.sizes()) return testing::AssertionFailure() << "shapes differ";
  if (found.numel() == 0) return testing::AssertionSuccess();
  const at::Tensor a = found.detach().to(at::kDouble), b = expected.detach().to(at::kDouble);
  const at::Tensor allowed = b.abs() * tolerance.relative + b.abs().max() * tolerance.of_largest;
  const at::Tensor bad = ((a - b).abs() <= allowed).logical_not();
  if (!bad.any().item<bool>()) return testing::AssertionSuccess();
  const int64_t first = bad.flatten().nonzero()[0][0].item<int64_t>();
  return testing::AssertionFailure() << bad.sum().item<int64_t>() << " of " << found.numel()
                                     << " values too far, the first at " << first << ": found "
                                     << a.flatten()[first].item<double>() << ", expected "
                                     << b.flatten()[first].item<double>() << " +- "
                                     << allowed.flatten()[first].item<double>() << "; largest error "
                                     << (a - b).abs().max().item<double>() << " of " << b.abs().max().item<double>();
}

/// ||found - expected|| / ||expected||.
inline double relative_norm(const at::Tensor& found, const at::Tensor& expected) {
  const at::Tensor a = found.to(at::kDouble), b = expected.to(at::kDouble);
  return ((a - b).norm() / b.norm()).item<double>();
}

}  // namespace qtune
