// The order in which the threads of one block take turns.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "simt/block.h"

namespace qtune::simt {

class Turns {
 public:
  Turns(Order order, uint64_t seed, uint64_t block_number, unsigned num_threads)
      : order_(order), random_(seed * 1000003 + block_number), turns_(num_threads) {
    constexpr Order kOrders[] = {Order::kForward, Order::kReverse, Order::kShuffled};
    if (order_ == Order::kMixed) order_ = kOrders[block_number % 3];
    std::iota(turns_.begin(), turns_.end(), 0u);
    if (order_ == Order::kReverse) std::reverse(turns_.begin(), turns_.end());
  }

  /// Each thread once.
  const std::vector<unsigned>& next_round() {
    if (order_ == Order::kShuffled) std::shuffle(turns_.begin(), turns_.end(), random_);
    return turns_;
  }

 private:
  Order order_;
  std::minstd_rand random_;
  std::vector<unsigned> turns_;
};

}  // namespace qtune::simt
