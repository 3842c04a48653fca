// The interfaces every pruning method stands behind, and the pair of methods that a run uses.
// A decision is a pure function of (options, scores, context): the same on every rank and after a resume.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qtune/prune/quadrant.h"
#include "qtune/prune/scores.h"
#include "qtune/prune/token_salience.h"

namespace qtune {

/// What becomes of the tokens of a supplement, a kept sample from outside the kept quadrants.
enum class SupplementTokens {
  kBySide,  // pruned where side > 0 (nearer to Q2 than to Q4)
  kKeep,
  kPrune,
};

/// "by_side", "keep" or "prune". Throws: ConfigError naming them.
SupplementTokens parse_supplement_tokens(const std::string& name);

struct PrunerOptions {
  std::string sample_method = "none";  // one of sample_method_names()
  double sample_keep = 0.125;          // share of samples kept, in (0, 1]
  std::string token_method = "none";   // one of token_method_names()
  double token_keep = 0.5;             // share of a pruned sample's trainable tokens kept, in (0, 1]
  double lambda = 0.5;                 // weight of the neighbours in a token's salience, in [0, 1]
  Neighbours neighbours = Neighbours::kSum;
  bool reverse = false;  // keep the tokens at the other end of the method's ranking
  int iterations = 10;   // bisection rounds, 1 to 1000
  SupplementTokens supplement_tokens = SupplementTokens::kBySide;
  bool keep_end_of_turn = true;    // end-of-turn tokens are kept before all others
  uint64_t seed = 42;              // of random and infobatch
  std::string score_file;          // of score_file: ratings, one JSON object {"id", "score"} a line
  double prune_probability = 0.5;  // of infobatch: the paper's r, in [0, 1)
  double anneal_from = 0.875;      // of infobatch: the paper's delta; from this share of training on nothing is pruned
  QuadrantSet kept_quadrants{Quadrant::kMisconception, Quadrant::kCalibration};
  QuadrantSet pruned_quadrants{Quadrant::kMisconception};  // whose tokens are pruned
};

/// Where in training a group of samples is judged.
struct StepContext {
  uint64_t draw = 0;    // number of the group: each draws its own random numbers
  double progress = 0;  // share of training's steps that are done, in [0, 1)
};

/// What a sample method sees of a sample.
struct SampleSummary {
  std::string_view id;
  uint64_t repeat = 0;     // samples with this id before it in the group: records need not have ids of their own
  double perplexity = 0;   // NaN: not scored
  double entropy = 0;      // NaN: not scored
  double mean_nll = 0;     // nats, the sample's loss; NaN: not scored
  int64_t num_tokens = 0;  // |T(x)|, at least 1
};

/// What a sample method says about a sample.
struct SampleVerdict {
  Quadrant quadrant = Quadrant::kMiddle;  // kMiddle from every method without thresholds
  bool kept = false;
  bool supplement = false;
  double side = 0;    // minmax(PPL) - minmax(Ent); 0 from every method without thresholds
  double weight = 1;  // factor of its tokens' nll in the loss
};

/// Which tokens the step's sum of weighted nll is divided by.
enum class LossCount {
  kKept,    // those of the kept samples: the loss is their mean
  kJudged,  // those that would train if every judged sample were kept: the count does not depend on chance
};

struct SampleSelection {
  std::optional<Thresholds> thresholds;
  std::vector<SampleVerdict> verdicts;  // one a sample, in their order
  LossCount loss_count = LossCount::kKept;
};

/// Chooses samples.
class SamplePruner {
 public:
  virtual ~SamplePruner() = default;
  /// False: perplexity and entropy are not looked at.
  virtual bool needs_scores() const = 0;
  /// Empty: no samples give an empty selection without thresholds. At least one of n >= 1 samples is kept.
  virtual SampleSelection select(std::span<const SampleSummary> samples, const StepContext& context) const = 0;
  /// Throws: DataError for a sample that select() could not judge, by its id and place; for a look at all of them
  /// before training.
  virtual void check_sample(std::string_view /*id*/, const std::string& /*place*/) const {}
};

struct JudgedSample {
  const SampleScores* scores;
  const SampleVerdict* verdict;
  uint64_t repeat = 0;  // as SampleSummary's
};

/// Chooses tokens of the kept samples.
class TokenPruner {
 public:
  virtual ~TokenPruner() = default;
  /// False: nll and entropy are not looked at.
  virtual bool needs_scores() const = 0;
  /// What else is looked at.
  virtual std::vector<ScoreArray> extra_arrays() const { return {}; }
  /// For each sample ascending indices into its T(x), at least one.
  virtual std::vector<std::vector<int32_t>> kept_tokens(std::span<const JudgedSample> samples,
                                                        const StepContext& context) const = 0;
};

/// A sample method with a token method.
class Pruner {
 public:
  Pruner(std::unique_ptr<const SamplePruner> samples, std::unique_ptr<const TokenPruner> tokens);

  /// False: the score pass can be left out; scores then carry span and end_of_turn only (see SampleScores).
  bool needs_scores() const;
  /// The arrays of SampleScores that decide() looks at; nll and entropy only together. Empty: none.
  std::vector<ScoreArray> needed_arrays() const;

  /// SamplePruner::check_sample.
  void check_sample(std::string_view id, const std::string& place) const { samples_->check_sample(id, place); }

  /// Judges the samples of one group together: all of an optimizer step (scope global) or one micro-batch (micro).
  /// Not scored samples are reported with NaN perplexity and entropy. Methods without thresholds report kMiddle.
  /// Empty: no samples give an empty decision.
  /// Throws: NonFiniteError naming the sample with a NaN or infinite score; Error naming the sample without a trainable
  /// token (leave those out before), with arrays of different lengths, without a needed array, or with a negative
  /// entropy; DataError as SamplePruner::check_sample.
  PruneDecision decide(std::span<const SampleScores> scores, const StepContext& context) const;

 private:
  std::unique_ptr<const SamplePruner> samples_;
  std::unique_ptr<const TokenPruner> tokens_;
};

/// Throws: ConfigError naming every fault: an unknown method with the known ones, a number out of its range, token
/// method qtuning with a sample method other than qtuning, score_file without a file; DataError as Ratings (ratings.h).
Pruner make_pruner(const PrunerOptions& options);

std::vector<std::string> sample_method_names();
std::vector<std::string> token_method_names();

}  // namespace qtune
