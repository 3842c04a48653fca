// Linear layers on 8-bit floats (e4m3), for the score pass on a GPU: half the memory traffic of bfloat16 and twice its
// arithmetic. Each row of either factor has a scale of its own; sums are float32. On the CPU plain ops compute the same
// numbers, slowly: to see what eight bits change before a GPU is at hand.
// Legend: N rows, I inputs, O outputs.
#pragma once

#include <ATen/core/Tensor.h>

namespace qtune {

/// A weight as 8-bit floats: weight_OI ~ values_OI * scales_O.
struct Fp8Weight {
  at::Tensor values_OI;  // (O, I) Float8_e4m3fn; undefined: not made yet
  at::Tensor scales_O;   // (O) float32
};

/// Whether `device` has arithmetic for them: a GPU of compute capability 8.9 (Ada, Hopper) or newer.
bool has_fp8(at::Device device);

/// `weight` becomes weight_OI (bfloat16, contiguous) rounded; its memory is kept if it is there.
/// scales_O = max |row| / 448 (1 for a row of zeros); a row with a number that is not finite has such a scale.
/// Throws: Error on a GPU that has no fp8, and for sizes that are no multiples of 16.
void make_fp8_weight(const at::Tensor& weight_OI, Fp8Weight& weight);

/// y_NO = x_NI W^T in bfloat16; x's rows (contiguous) are rounded to 8 bits on the way.
/// Throws: as make_fp8_weight.
void linear_fp8(const at::Tensor& x_NI, const Fp8Weight& weight, const at::Tensor& y_NO);

}  // namespace qtune
