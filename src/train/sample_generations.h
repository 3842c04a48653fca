// num_generation_samples: what the model answers to the first held-out samples, at each evaluation.
#pragma once

#include <memory>
#include <vector>

#include "qtune/metrics/step_metrics.h"
#include "qtune/model/model.h"
#include "qtune/text/sample_store.h"
#include "qtune/text/tokenizer.h"

namespace qtune {

class SampleGenerations {
 public:
  /// Of the first `count` of `samples`, up to their first trained token; samples whose prompt fills the model's
  /// positions are passed over. Their own answer (the first run of trained tokens) is what is expected.
  /// Throws: CheckpointError for a model folder without a tokenizer.
  SampleGenerations(const std::filesystem::path& model_folder, const SampleSet& samples, int64_t count,
                    int64_t max_new_tokens);

  /// Greedy, up to an end of turn or of sequence.
  std::vector<SampleGeneration> of(Model& model) const;

 private:
  std::string text_of(std::span<const int32_t> ids) const { return tokenizer_->decode(ids); }

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::vector<TokenizedSample> samples_;
  int64_t max_new_tokens_;
};

}  // namespace qtune
