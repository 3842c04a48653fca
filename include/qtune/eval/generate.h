// Text generation, token by token, with a key/value cache: one sequence, or many at once.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "qtune/eval/sampling.h"
#include "qtune/model/model.h"

namespace qtune {

struct GenerateOptions {
  int64_t max_new_tokens = 256;
  std::vector<int32_t> stop_ids;  // generation ends behind any of these; the stop token is returned too
  SamplingOptions sampling;
};

enum class FinishReason {
  kStop,       // a stop token
  kLength,     // max_new_tokens
  kPositions,  // the model's positions end
  kCancelled,  // on_token said so
};

struct Generation {
  std::vector<int32_t> ids;
  FinishReason reason = FinishReason::kLength;
};

/// What a generation left, for one that begins with the same tokens.
struct PrefixCache {
  KeyValueCache cache;
  std::vector<int32_t> ids;  // the tokens that `cache` has seen
};

/// New tokens that follow `prompt_ids`. on_token is called with each as it comes; returning false ends the generation.
/// A sampled token depends on the seed, the logits and its place alone.
/// Throws: Error for an empty prompt, or one as long as the model's positions or longer; NonFiniteError for logits that
/// are not finite.
Generation generate(Model& model, const std::vector<int32_t>& prompt_ids, const GenerateOptions& options,
                    const std::function<bool(int32_t)>& on_token);

/// The same behind what `prefix` holds: only what differs from it is computed. On return it holds this sequence, also
/// behind an exception. `cancelled` (may be empty) is asked before every pass of the model.
Generation generate(Model& model, const std::vector<int32_t>& prompt_ids, const GenerateOptions& options,
                    const std::function<bool(int32_t)>& on_token, PrefixCache& prefix,
                    const std::function<bool()>& cancelled);

PrefixCache make_prefix_cache(const Model& model);

struct BatchOptions {
  int64_t batch_size = 16;  // sequences at a time; the next prompt starts as soon as one ends
  /// Called with the prompt's index and each new token of it; returning false ends that sequence. May be empty.
  std::function<bool(size_t, int32_t)> on_token;
  /// Called when a sequence has ended, in the order in which they end. May be empty.
  std::function<void(size_t, const Generation&)> on_finished;
};

/// What follows each prompt, in the prompts' order. Nothing is padded. Each sequence's tokens are those that it would
/// have alone (but for logits that tie within rounding), since draws go by (seed, index of the prompt, place).
/// Prompts that begin alike (the examples before a question) share the computation of their common beginning.
/// Throws: as generate, naming the prompt's index, before anything is computed where the prompt is at fault.
std::vector<Generation> generate_batch(Model& model, const std::vector<std::vector<int32_t>>& prompts,
                                       const GenerateOptions& options, const BatchOptions& batch);

/// "stop" or "length", as servers of models say it.
const char* finish_reason_name(FinishReason reason);

}  // namespace qtune
