#include "sample_generations.h"

#include <algorithm>
#include <set>

#include "qtune/eval/generate.h"

namespace qtune {
namespace {

/// Tokens before the first trained one; at least one, since something has to come before the first new token.
size_t prompt_length(const TokenizedSample& sample) {
  const auto first = std::find(sample.trained.begin(), sample.trained.end(), 1);
  return std::max<size_t>(1, static_cast<size_t>(first - sample.trained.begin()));
}

std::span<const int32_t> answer_of(const TokenizedSample& sample) {
  const size_t begin = prompt_length(sample);
  const auto end = std::find(sample.trained.begin() + static_cast<int64_t>(begin), sample.trained.end(), 0);
  return std::span(sample.input_ids).subspan(begin, static_cast<size_t>(end - sample.trained.begin()) - begin);
}

}  // namespace

SampleGenerations::SampleGenerations(const std::filesystem::path& model_folder, const SampleSet& samples, int64_t count,
                                     int64_t max_new_tokens)
    : tokenizer_(Tokenizer::load_tokenizer(model_folder)), max_new_tokens_(max_new_tokens) {
  const size_t most = std::min(samples.size(), static_cast<size_t>(count));
  for (size_t i = 0; i < most; ++i) samples_.push_back(samples[i]);
}

std::vector<SampleGeneration> SampleGenerations::of(Model& model) const {
  std::set<int32_t> stops(model.config().eos_ids.begin(), model.config().eos_ids.end());
  std::vector<const TokenizedSample*> asked;
  std::vector<std::vector<int32_t>> prompts;
  for (const TokenizedSample& sample : samples_) {
    for (size_t i = 0; i < sample.input_ids.size(); ++i) {
      if (sample.end_of_turn[i] != 0) stops.insert(sample.input_ids[i]);
    }
    const size_t length = prompt_length(sample);
    if (static_cast<int64_t>(length) >= model.config().max_positions) continue;
    prompts.emplace_back(sample.input_ids.begin(), sample.input_ids.begin() + static_cast<int64_t>(length));
    asked.push_back(&sample);
  }
  const GenerateOptions options{.max_new_tokens = max_new_tokens_, .stop_ids = {stops.begin(), stops.end()}};
  const std::vector<Generation> generations = generate_batch(model, prompts, options, {});
  std::vector<SampleGeneration> result;
  for (size_t i = 0; i < generations.size(); ++i) {
    result.push_back({.id = asked[i]->id.name(),
                      .prompt = text_of(prompts[i]),
                      .expected = text_of(answer_of(*asked[i])),
                      .text = text_of(generations[i].ids),
                      .finish_reason = finish_reason_name(generations[i].reason)});
  }
  return result;
}

}  // namespace qtune
