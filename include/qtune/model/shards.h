// Who holds and updates which part of a model's weights, where ranks share that work (ZeRO stage 1, Rajbhandari et al.
// 2020, arXiv 1910.02054).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace qtune {

/// One rank's part of several. count 1: all of it.
struct Shard {
  int rank = 0, count = 1;
};

/// A stretch of a flattened tensor, and the rank that holds it.
struct ShardSlice {
  int rank = 0;
  size_t tensor = 0;  // index among the sizes
  int64_t begin = 0, size = 0;
};

/// Tensors of these sizes end to end, cut into `count` stretches of equal length (to one element). In order of the
/// elements; every element is in exactly one slice, and a rank has at most one slice of a tensor.
std::vector<ShardSlice> shard_slices(std::span<const int64_t> sizes, int count);

}  // namespace qtune
