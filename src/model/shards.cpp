#include "qtune/model/shards.h"

#include <algorithm>
#include <numeric>

namespace qtune {

std::vector<ShardSlice> shard_slices(std::span<const int64_t> sizes, int count) {
  const int64_t total = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  std::vector<ShardSlice> slices;
  int64_t first = 0;  // element of all tensors that this one begins with
  for (size_t i = 0; i < sizes.size(); ++i) {
    const int64_t end = first + sizes[i];
    for (int rank = 0; rank < count; ++rank) {
      const int64_t from = std::max(first, total * rank / count), to = std::min(end, total * (rank + 1) / count);
      if (from < to) slices.push_back({.rank = rank, .tensor = i, .begin = from - first, .size = to - from});
    }
    first = end;
  }
  return slices;
}

}  // namespace qtune
