// Runs a test's body in several orders of threads. The body makes its buffers itself, so that each run starts alike.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "simt/block.h"

namespace qtune::simt {

template <class Body>
void for_each_order(Body body) {
  struct Named {
    const char* name;
    Order order;
    uint64_t seed;
  };
  for (const Named& n :
       {Named{"forward", Order::kForward, 0}, Named{"reverse", Order::kReverse, 0},
        Named{"shuffled, seed 1", Order::kShuffled, 1}, Named{"shuffled, seed 2", Order::kShuffled, 2}}) {
    SCOPED_TRACE(std::string("order of threads: ") + n.name);
    set_order(n.order, n.seed);
    body();
  }
  set_order(Order::kMixed);
}

}  // namespace qtune::simt
