// A decoder-only language model on the CPU or a GPU: weights, the score pass, the training pass, and generation.
//
// Forward and backward are written out layer by layer, without an autograd graph: what is saved between them is chosen,
// buffers are reused from batch to batch, and a layer's gradients are final the moment its backward returns.
// The plain twin, built on LibTorch's autograd, is model/reference.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qtune/formats/lora_adapter.h"
#include "qtune/formats/model_config.h"
#include "qtune/formats/safetensors.h"
#include "qtune/model/attention_received.h"
#include "qtune/model/packed_tokens.h"
#include "qtune/model/shards.h"
#include "qtune/ops/elementwise.h"
#include "qtune/ops/linear_cross_entropy.h"

namespace qtune {

enum class ModelUse { kInference, kTraining };

enum class OpsChoice {
  kFused,
  kReference,  // score and forward_backward run their plain twins (model/reference.h)
};

/// What the layers' products are computed in, in a score pass. Norms, attention and the head stay as they are.
enum class ScoreType { kCompute, kFp8 };

/// A LoRA adapter on the model's linear layers. The model's own weights are frozen then.
struct AdapterOptions {
  std::filesystem::path folder;  // PEFT's files; empty: a new adapter by `config`
  LoraConfig config;
  uint64_t seed = 0;  // of a new adapter's values, and of dropout
};

struct ModelOptions {
  at::ScalarType compute_dtype = at::kFloat;  // of activations and matrix products: kFloat or kBFloat16
  at::Device device = at::kCPU;               // kCPU or kCUDA; the latter after load_gpu_support() (ops/device.h)
  ModelUse use = ModelUse::kInference;
  OpsChoice ops = OpsChoice::kFused;
  std::optional<AdapterOptions> adapter;
  /// Keeps only each layer's input from forward to backward and computes the rest again there: the same bits, about a
  /// quarter more time, and activations of one layer instead of all (Chen et al. 2016, arXiv 1604.06174). The reference
  /// ops leave memory to autograd and do not heed it.
  bool gradient_checkpointing = false;
  /// Full training in bfloat16: this rank keeps its slice of the float32 masters only (shard_slices over parameters()).
  Shard master_shard;
};

/// One weight tensor, by its checkpoint name.
struct Parameter {
  std::string name;
  at::Tensor compute;   // what the forward reads: compute dtype (norm weights: float32)
  at::Tensor master;    // float32, what the optimizer changes; shares memory with `compute` in float32. Training only.
  at::Tensor gradient;  // float32, of the sum of weight * nll since the last zero_gradients(). Training only.
  /// `master` is a flat slice from this element on; undefined where this rank has none. nullopt: it is whole.
  std::optional<int64_t> master_begin;

  /// All values in the best type that this rank has them in.
  const at::Tensor& best_values() const { return master.defined() && !master_begin ? master : compute; }
};

/// Gives a parameter these values: float32, of its shape. Masters, whole or sliced, and compute weights follow.
void assign(Parameter& parameter, const at::Tensor& values);

/// Keys and values of the tokens that one sequence has seen, for generation. Grows as tokens come; with a sliding
/// window it holds no more than generation can still see (and some slack). Moved, not copied: tensors are shared
/// otherwise.
struct KeyValueCache {
  std::vector<at::Tensor> keys, values;  // a layer each: (capacity, K, E) compute dtype, `length - first` rows in use
  int64_t length = 0;                    // tokens seen
  int64_t first = 0;                     // position of the first one held
  int64_t window = 0;                    // ModelConfig::sliding_window

  /// Forgets the tokens from `num_tokens` on. Where the window has let go of keys that the next token would see,
  /// everything is forgotten. Returns the tokens left.
  int64_t truncate(int64_t num_tokens);
  KeyValueCache clone() const;
};

/// New tokens of one sequence, and the cache they go behind.
struct SequenceTokens {
  std::span<const int32_t> ids;  // at least one
  KeyValueCache* cache;
};

/// Holds the weight files of a folder against its config.json, reading only their headers.
/// Throws: CheckpointError as Model::load.
void check_weight_files(const std::filesystem::path& folder, const ModelConfig& config);

/// The same for the files of an adapter. Returns what they hold.
/// Throws: CheckpointError as LoraAdapter, and for tensors that do not fit the model.
LoraConfig check_lora_files(const std::filesystem::path& folder, const ModelConfig& config);

int64_t count_lora_parameters(const ModelConfig& config, const LoraConfig& lora);

class Model {
 public:
  /// Reads config.json and the weights of a Hugging Face folder.
  /// Throws: CheckpointError naming file, key or tensor (missing, extra, mis-shaped, unreadable dtype).
  static Model load(const std::filesystem::path& folder, const ModelOptions& options);
  ~Model();
  Model(Model&&) noexcept;

  const ModelConfig& config() const;
  const ModelOptions& options() const;

  /// What is trained: the adapter's weights if there is one, else all of the model's.
  std::vector<Parameter>& parameters();
  /// The model's own weights.
  const std::vector<Parameter>& base_parameters() const;
  /// The adapter; nullopt: none.
  const std::optional<LoraConfig>& lora() const;

  /// nll, entropy and logsumexp of each target, (M) float32. Keeps nothing.
  /// Throws: Error naming a token id outside the vocabulary; for kFp8, as prepare_fp8_scores.
  RowScores score(const PackedTokens& batch, ScoreType type = ScoreType::kCompute);

  /// Rounds the layers' weights as they are now to 8-bit floats, for score(): once before each pass over samples.
  /// Throws: Error on a GPU without fp8 (ops/fp8.h), with reference ops, without bfloat16, for sizes not multiples
  /// of 16.
  void prepare_fp8_scores();

  /// Attention that each target receives in its sample at one layer, (M) float32, by the rule of attention_received.h.
  /// Computes the layers up to that one. `layer` from 1 to config().num_layers. The reference ops choose nothing here.
  /// Throws: Error for another layer, or a token id outside the vocabulary.
  at::Tensor attention_to_targets(const PackedTokens& batch, int64_t layer, AttentionRule rule);

  /// Adds the gradients of the SUM of weight * nll over the targets to every parameter's `gradient`; returns the
  /// targets' scores. `layer_done` is called with each layer, from the last to the first, when its gradients are final
  /// for this batch.
  RowScores forward_backward(const PackedTokens& batch, const std::function<void(int64_t)>& layer_done = {});

  void zero_gradients();

  /// The adapter's dropout draws by its seed, `step`, and the number of training passes since, counted from
  /// `first_pass`: ranks draw apart.
  void start_step(int64_t step, int64_t first_pass = 0);
  /// The draws of the next training pass for one module, counted over layers and targets from 0. nullopt: no dropout.
  std::optional<DropoutStream> dropout_of(uint64_t module) const;

  /// Rewrites `compute` from `master` (after masters were changed; the optimizer does so itself). Of a slice, its part.
  void refresh_compute_weights();

  /// An empty one.
  KeyValueCache make_cache() const;

  /// Runs each sequence's tokens behind what its cache holds and appends to it: one matrix product a layer for all.
  /// Returns the logits (S, V) float32 that follow each sequence's last token, valid until the next call; they may be
  /// overwritten. Throws: Error naming a token id outside the vocabulary; the caches are as before then.
  at::Tensor next_token_logits(const std::vector<SequenceTokens>& sequences);
  /// The same of one sequence: (V).
  at::Tensor next_token_logits(const std::vector<int32_t>& ids, KeyValueCache& cache);

 private:
  struct State;
  explicit Model(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// The weights under their checkpoint names, for write_model_weights; converted piece by piece while they are written.
/// Masters where they are whole, else compute weights. The model must outlive the result.
std::vector<TensorToWrite> weights_to_write(Model& model, Dtype dtype);

/// The same of the adapter alone.
std::vector<TensorToWrite> lora_to_write(Model& model, Dtype dtype);

}  // namespace qtune
