// Which samples an optimizer step sees: a pure function of (seed, epoch, step), so that a resumed run goes on in the
// same order without replaying anything.
#pragma once

#include <cstdint>
#include <vector>

namespace qtune {

struct EpochPlan {
  int64_t num_samples = 0;
  int64_t samples_per_step = 1;  // per_device_train_batch_size * gradient_accumulation_steps * ranks
  uint64_t seed = 42;

  /// ceil(num_samples / samples_per_step): the last, smaller step of an epoch is kept.
  int64_t steps_per_epoch() const { return (num_samples + samples_per_step - 1) / samples_per_step; }
};

/// Walks through epochs in steps. The cursor is the number of steps done, all there is to store in a checkpoint.
class StepSampler {
 public:
  /// Throws: Error for a plan without samples.
  explicit StepSampler(EpochPlan plan, int64_t steps_done = 0);

  /// Indices of the next step's samples, in the epoch's random order. At least one.
  std::vector<int64_t> next();

  int64_t steps_done() const { return steps_done_; }
  /// Epochs passed after the steps done, fractional: 1.5 is in the middle of the second.
  double epoch() const;

 private:
  EpochPlan plan_;
  int64_t steps_done_;
  int64_t shuffled_epoch_ = -1;
  std::vector<int64_t> order_;
};

}  // namespace qtune
