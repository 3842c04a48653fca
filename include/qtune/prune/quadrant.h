// The Error-Uncertainty plane: which quadrant a sample's perplexity and entropy fall into (paper, section 4).
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "qtune/prune/scores.h"

namespace qtune {

enum class Level { kLow, kMiddle, kHigh };

/// Low: x <= lo. High: x >= hi and not low. Else middle.
/// Ties: a value on both thresholds is low.
Level level_of(double x, double lo, double hi);

/// Quadrant of a sample; kMiddle as soon as one of the two axes is in the middle.
Quadrant quadrant_of(double perplexity, double entropy, const Thresholds& thresholds);

/// A set of quadrants: those that are kept, those whose tokens are pruned.
class QuadrantSet {
 public:
  constexpr QuadrantSet(std::initializer_list<Quadrant> members) {
    for (const Quadrant q : members) bits_ |= 1u << static_cast<unsigned>(q);
  }
  void insert(Quadrant q) { bits_ |= 1u << static_cast<unsigned>(q); }
  constexpr bool contains(Quadrant q) const { return (bits_ >> static_cast<unsigned>(q) & 1u) != 0; }
  constexpr bool empty() const { return bits_ == 0; }

 private:
  unsigned bits_ = 0;
};

/// From "Q1" to "Q4". Throws: ConfigError naming another name.
QuadrantSet parse_quadrants(const std::vector<std::string>& names);

}  // namespace qtune
