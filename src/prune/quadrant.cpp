#include "qtune/prune/quadrant.h"

#include "qtune/base/error.h"

namespace qtune {

const char* quadrant_name(Quadrant quadrant) {
  switch (quadrant) {
    case Quadrant::kNoise:
      return "Q1";
    case Quadrant::kMisconception:
      return "Q2";
    case Quadrant::kRedundant:
      return "Q3";
    case Quadrant::kCalibration:
      return "Q4";
    case Quadrant::kMiddle:
      break;
  }
  return "mid";
}

QuadrantSet parse_quadrants(const std::vector<std::string>& names) {
  QuadrantSet set{};
  for (const std::string& name : names) {
    bool known = false;
    for (const Quadrant q :
         {Quadrant::kNoise, Quadrant::kMisconception, Quadrant::kRedundant, Quadrant::kCalibration}) {
      if (name != quadrant_name(q)) continue;
      set.insert(q);
      known = true;
    }
    if (!known)
      throw ConfigError("quadrants: expected Q1, Q2, Q3 or Q4, found \"" + name + "\" ---> name some of them");
  }
  return set;
}

Level level_of(double x, double lo, double hi) {
  if (x <= lo) return Level::kLow;
  return x >= hi ? Level::kHigh : Level::kMiddle;
}

Quadrant quadrant_of(double perplexity, double entropy, const Thresholds& thresholds) {
  const Level error = level_of(perplexity, thresholds.ppl_lo, thresholds.ppl_hi);
  const Level uncertainty = level_of(entropy, thresholds.ent_lo, thresholds.ent_hi);
  if (error == Level::kMiddle || uncertainty == Level::kMiddle) return Quadrant::kMiddle;
  if (error == Level::kHigh) return uncertainty == Level::kHigh ? Quadrant::kNoise : Quadrant::kMisconception;
  return uncertainty == Level::kHigh ? Quadrant::kCalibration : Quadrant::kRedundant;
}

}  // namespace qtune
