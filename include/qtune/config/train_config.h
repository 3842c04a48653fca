// The configuration of a training run. Keys are named as LLaMA-Factory and the HF Trainer name them, and default to
// what they default to there; `pruning` and a few more are qtune's own. Loading and checking: load_config.h. To add a
// key: a field with its default, and one line in a for_each.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "qtune/config/config_key.h"
#include "qtune/config/schedule_config.h"

namespace qtune {

inline constexpr int64_t kMaxBatchSamples = 1 << 20;  // keeps products of batch sizes far from overflow
inline constexpr int64_t kMaxSteps = 1'000'000'000'000;

/// Names of a data file's own columns; null: the usual names of the file's form.
struct ColumnsConfig {
  std::optional<std::string> prompt, query, response, system, history, messages;

  template <class V>
  void for_each(V& v) {
    v("prompt", prompt, any_value(), "Column with the user's text.");
    v("query", query, any_value(), "Column with more of the user's text, put behind the prompt.");
    v("response", response, any_value(), "Column with the answer.");
    v("system", system, any_value(), "Column with the system message.");
    v("history", history, any_value(), "Column with earlier turns, a list of [user, assistant] pairs.");
    v("messages", messages, any_value(), "Column with the list of messages.");
  }
};

struct SamplePruning {
  std::string method = "none";
  double keep = 0.125;
  std::vector<std::string> kept_quadrants = {"Q2", "Q4"};
  double prune_probability = 0.5;
  double anneal_from = 0.875;
  std::optional<std::string> score_file;

  template <class V>
  void for_each(V& v) {
    v("method", method, one_of({"none", "random", "longest", "entropy", "qtuning", "infobatch", "score_file"}),
      "How samples are chosen. `none` keeps all.");
    v("keep", keep, above_up_to(0, 1), "Share of the judged samples that trains; at least one sample does.");
    v("kept_quadrants", kept_quadrants, one_of({"Q1", "Q2", "Q3", "Q4"}),
      "Quadrants whose samples are kept before all others (`qtuning`; others are the paper's ablation).");
    v("prune_probability", prune_probability, from_below(0, 1),
      "Chance of a sample with a loss below the mean to be dropped (`infobatch`).");
    v("anneal_from", anneal_from, between(0, 1),
      "Share of training after which no sample is dropped any more (`infobatch`).");
    v("score_file", score_file, any_value(),
      "Ratings of all samples, one JSON object `{\"id\", \"score\"}` a line; the highest stay (`score_file`).");
  }
};

struct TokenPruning {
  std::string method = "none";
  double keep = 0.5;
  std::string mode = "mask";
  double lambda = 0.5;
  std::string neighbours = "sum";
  bool reverse = false;
  std::string supplement_tokens = "by_side";
  bool keep_end_of_turn = true;
  std::vector<std::string> pruned_quadrants = {"Q2"};
  std::optional<std::string> reference_model, base_model;
  int64_t layer = 2;

  template <class V>
  void for_each(V& v) {
    v("method", method, one_of({"none", "random", "ppl", "qtuning", "fastv", "sparsevlm", "rho1", "tokencleaning"}),
      "How tokens of the kept samples are chosen. `none` keeps all. `qtuning` needs `qtuning` samples.");
    v("keep", keep, above_up_to(0, 1), "Share of a pruned sample's trainable tokens that stays, rounded up.");
    v("mode", mode, one_of({"mask", "drop"}),
      "`mask`: pruned tokens leave the loss and stay as context. `drop`: they leave the text as well.");
    v("lambda", lambda, between(0, 1), "Weight of the neighbours' perplexity in a token's score (`qtuning`).");
    v("neighbours", neighbours, one_of({"sum", "mean"}), "How both neighbours' perplexities are joined (`qtuning`).");
    v("reverse", reverse, any_value(), "Keep the tokens at the other end of the method's ranking (an ablation).");
    v("supplement_tokens", supplement_tokens, one_of({"by_side", "keep", "prune"}),
      "Tokens of samples taken from outside Q2 and Q4: pruned where perplexity outweighs entropy, kept, or pruned.");
    v("keep_end_of_turn", keep_end_of_turn, any_value(),
      "End-of-turn tokens are kept first, so that a model still learns to stop. The paper: false.");
    v("pruned_quadrants", pruned_quadrants, one_of({"Q1", "Q2", "Q3", "Q4"}),
      "Quadrants in whose samples tokens are pruned (`qtuning`; others are the paper's ablation).");
    v("reference_model", reference_model, any_value(),
      "Folder of the model that tokens are compared with (`rho1`, `tokencleaning`); same tokenizer.");
    v("base_model", base_model, any_value(),
      "Folder of the model that the reference model was trained from (`tokencleaning`). null: model_name_or_path.");
    v("layer", layer, at_least(1), "Layer, from 1, whose attention counts (`fastv`, `sparsevlm`).");
  }
};

struct PruningConfig {
  SamplePruning sample;
  TokenPruning token;
  int64_t iterations = 10;
  std::string scope = "global";
  std::optional<std::string> score_dtype;
  int64_t score_every = 1;

  template <class V>
  void for_each(V& v) {
    v.section("sample", sample);
    v.section("token", token);
    v("iterations", iterations, between(1, 1000), "Rounds of the bisection for the thresholds (`qtuning`).");
    v("scope", scope, one_of({"global", "micro"}),
      "Samples judged together: all of an optimizer step (`global`), or each device micro-batch (`micro`, the "
      "paper's).");
    v("score_dtype", score_dtype, one_of({"float32", "bfloat16", "fp8"}),
      "Type of the score pass. null: that of training. `fp8`: the layers' products on 8-bit floats, for training in "
      "bfloat16 on a GPU of compute capability 8.9 or newer.");
    v("score_every", score_every, at_least(1), "Steps between scorings of a sample; 1: every time.");
  }
};

struct OpsConfig {
  bool reference = false;

  template <class V>
  void for_each(V& v) {
    v("reference", reference, any_value(), "Plain ATen operations in place of qtune's own, to find a fault.");
  }
};

struct TrainConfig {
  // Model
  std::string model_name_or_path;
  std::optional<std::string> adapter_name_or_path;
  std::string finetuning_type = "lora";
  int64_t lora_rank = 8;
  std::optional<int64_t> lora_alpha;
  double lora_dropout = 0.0;
  std::vector<std::string> lora_target = {"all"};
  bool use_rslora = false;

  // Data
  std::vector<std::string> dataset;
  std::string dataset_dir = "data";
  ColumnsConfig columns;
  std::optional<std::string> template_name;  // key `template`, a word that C++ keeps for itself
  bool enable_thinking = true;
  int64_t cutoff_len = 2048;
  std::string excess_length_strategy = "truncate";
  std::optional<int64_t> max_samples;
  bool train_on_prompt = false;
  bool mask_history = false;
  std::optional<bool> packing;
  std::string mix_strategy = "concat";
  std::vector<double> interleave_probs;
  double val_size = 0.0;
  std::string on_bad_data = "error";
  std::string tokenized_path;
  bool overwrite_cache = false;
  std::optional<int64_t> preprocessing_num_workers;

  // Training
  int64_t per_device_train_batch_size = 8;
  int64_t gradient_accumulation_steps = 1;
  double learning_rate = 5e-5;
  std::string lr_scheduler_type = "linear";
  LrSchedulerKwargs lr_scheduler_kwargs;
  double warmup_ratio = 0.0;
  int64_t warmup_steps = 0;
  double num_train_epochs = 3.0;
  int64_t max_steps = -1;
  std::string optim = "adamw_torch";
  double weight_decay = 0.0;
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_epsilon = 1e-8;
  double max_grad_norm = 1.0;
  bool bf16 = false;
  int64_t seed = 42;
  std::string on_nonfinite = "stop";

  PruningConfig pruning;

  // Evaluation
  std::vector<std::string> eval_dataset;
  std::string eval_strategy = "no";
  std::optional<int64_t> eval_steps;
  bool eval_on_start = false;
  int64_t per_device_eval_batch_size = 8;
  int64_t num_generation_samples = 0;
  int64_t max_new_tokens = 128;
  bool load_best_model_at_end = false;
  std::optional<std::string> metric_for_best_model;
  std::optional<int64_t> early_stopping_steps;

  // Output
  std::string output_dir;
  bool overwrite_output_dir = false;
  std::optional<std::string> resume_from_checkpoint;
  int64_t logging_steps = 500;
  std::vector<std::string> report_to = {"none"};
  std::string save_strategy = "steps";
  int64_t save_steps = 500;
  std::optional<int64_t> save_total_limit;
  bool save_only_model = false;

  // Machine
  bool use_cpu = false;
  std::optional<bool> gradient_checkpointing;
  int64_t zero_stage = 0;
  std::string reduce_dtype = "float32";
  int64_t ddp_timeout = 1800;
  bool full_determinism = false;
  bool dry_run = false;
  OpsConfig ops;

  /// Calls v(name, field, allowed values, meaning) for every key, with v.group and v.section around them.
  template <class V>
  void for_each(V& v) {
    v.group("Model", KeyEffect::kTraining);
    model_keys(v);
    v.group("Data", KeyEffect::kTraining);
    data_keys(v);
    v.group("Training", KeyEffect::kTraining);
    training_keys(v);
    v.group("Pruning", KeyEffect::kTraining);
    v.section("pruning", pruning);
    v.group("Evaluation", KeyEffect::kRunOnly);
    evaluation_keys(v);
    v.group("Output and resuming", KeyEffect::kRunOnly);
    output_keys(v);
    v.group("Machine", KeyEffect::kRunOnly);
    machine_keys(v);
  }

 private:
  template <class V>
  void model_keys(V& v) {
    v("model_name_or_path", model_name_or_path, any_value(), "Folder of the model, in Hugging Face layout. Required.");
    v("adapter_name_or_path", adapter_name_or_path, any_value(),
      "Folder of a LoRA adapter to go on with; rank, scale, targets and dropout are its own.");
    v("finetuning_type", finetuning_type, one_of({"full", "lora"}), "Train all weights, or a LoRA adapter.");
    v("lora_rank", lora_rank, at_least(1), "Rank of the adapter.");
    v("lora_alpha", lora_alpha, at_least(1), "Scale of the adapter. null: 2 x lora_rank.");
    v("lora_dropout", lora_dropout, from_below(0, 1), "Dropout before the adapter.");
    v("lora_target", lora_target,
      one_of({"all", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),
      "Modules that get an adapter; `all`: every linear layer but the head.");
    v("use_rslora", use_rslora, any_value(), "Scale by alpha / sqrt(rank) instead of alpha / rank.");
  }

  template <class V>
  void data_keys(V& v) {
    v("dataset", dataset, any_value(),
      "Files, or names from `dataset_info.json` in dataset_dir; a list, or one text with commas. Required.");
    v("dataset_dir", dataset_dir, any_value(), "Folder with `dataset_info.json`.");
    v.section("columns", columns);
    v("template", template_name,
      one_of({"alpaca", "chatml", "default", "empty", "llama2", "llama3", "mistral", "mistral_small", "qwen", "qwen3",
              "qwen3_nothink", "smollm", "smollm2", "vicuna"}),
      "Chat template by LLaMA-Factory's name. null: the model's own. Not needed for pre-tokenized data.");
    v("enable_thinking", enable_thinking, any_value(),
      "Template `qwen3` puts an empty thought before an answer without one. Other templates have no thoughts.");
    v("cutoff_len", cutoff_len, between(1, std::numeric_limits<int32_t>::max()), "Longest sample, in tokens.");
    v("excess_length_strategy", excess_length_strategy, one_of({"truncate", "drop", "raise"}),
      "What becomes of a longer sample: cut, left out, or an error.");
    v("max_samples", max_samples, at_least(1), "At most so many samples of each dataset. null: all.");
    v("train_on_prompt", train_on_prompt, any_value(), "Train on the prompt's tokens too.");
    v("mask_history", mask_history, any_value(), "Train on the last turn only.");
    v("packing", packing, any_value(), "Without effect: rows are always packed, and samples never see each other.");
    v("mix_strategy", mix_strategy, one_of({"concat", "interleave_under", "interleave_over", "interleave_once"}),
      "How several datasets become one.");
    v("interleave_probs", interleave_probs, above_up_to(0, 1), "Share of each dataset when interleaving; sum 1.");
    v("val_size", val_size, between(0, 1e12),
      "Samples held out from the training data for evaluation: a share below 1, or a count.");
    v("on_bad_data", on_bad_data, one_of({"error", "skip"}), "A line that can't be read stops the run, or is skipped.");
    v.group("Data", KeyEffect::kRunOnly);
    v("tokenized_path", tokenized_path, any_value(),
      "Folder of the cache of tokenized samples. Empty: `$QTUNE_CACHE`, else `$XDG_CACHE_HOME/qtune`, else "
      "`~/.cache/qtune`.");
    v("overwrite_cache", overwrite_cache, any_value(), "Tokenize again although the cache has it.");
    v("preprocessing_num_workers", preprocessing_num_workers, between(1, 4096),
      "Threads that tokenize. null: one a core.");
  }

  template <class V>
  void training_keys(V& v) {
    v("per_device_train_batch_size", per_device_train_batch_size, between(1, kMaxBatchSamples),
      "Samples of a micro-batch on each device.");
    v("gradient_accumulation_steps", gradient_accumulation_steps, between(1, kMaxBatchSamples),
      "Micro-batches of an optimizer step.");
    v("learning_rate", learning_rate, at_least(0), "Highest learning rate.");
    v("lr_scheduler_type", lr_scheduler_type,
      one_of({"linear", "cosine", "constant", "constant_with_warmup", "cosine_with_restarts", "polynomial",
              "inverse_sqrt", "cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay",
              "reduce_lr_on_plateau", "greedy"}),
      "Course of the learning rate, as transformers computes it.");
    v.section("lr_scheduler_kwargs", lr_scheduler_kwargs);
    v("warmup_ratio", warmup_ratio, between(0, 1), "Share of all steps in which the learning rate rises from 0.");
    v("warmup_steps", warmup_steps, between(0, kMaxSteps), "The same as a count; wins over warmup_ratio unless 0.");
    v("num_train_epochs", num_train_epochs, between(0, 1e6), "Passes over the data; need not be whole.");
    v("max_steps", max_steps, between(-1, kMaxSteps), "Optimizer steps; wins over num_train_epochs if above 0.");
    v("optim", optim, one_of({"adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw"}),
      "Optimizer. All four names mean qtune's AdamW.");
    v("weight_decay", weight_decay, at_least(0), "Decoupled weight decay; none on norms and biases.");
    v("adam_beta1", adam_beta1, from_below(0, 1), "Decay of the mean of gradients.");
    v("adam_beta2", adam_beta2, from_below(0, 1), "Decay of the mean of squared gradients.");
    v("adam_epsilon", adam_epsilon, at_least(0), "Added to the root in AdamW's denominator.");
    v("max_grad_norm", max_grad_norm, at_least(0), "Gradients are scaled down to this norm. 0: never.");
    v("bf16", bf16, any_value(), "Compute in bfloat16, with weights and optimizer state in float32.");
    v("seed", seed, at_least(0), "Seed of the data order, and of whatever else is random.");
    v("on_nonfinite", on_nonfinite, one_of({"stop", "skip"}),
      "A loss or gradient norm that is not finite stops the run, or skips the step.");
  }

  template <class V>
  void evaluation_keys(V& v) {
    v("eval_dataset", eval_dataset, any_value(), "Held-out data, named as in `dataset`.");
    v("eval_strategy", eval_strategy, one_of({"no", "steps", "epoch"}), "When the held-out loss is taken.");
    v("eval_steps", eval_steps, at_least(1), "Steps between evaluations. null: logging_steps.");
    v("eval_on_start", eval_on_start, any_value(), "Evaluate before the first step as well.");
    v("per_device_eval_batch_size", per_device_eval_batch_size, between(1, kMaxBatchSamples),
      "Samples of a micro-batch in evaluation.");
    v("num_generation_samples", num_generation_samples, between(0, 1000),
      "Held-out samples that the model answers at each evaluation, greedily; in `metrics.jsonl` and TensorBoard.");
    v("max_new_tokens", max_new_tokens, between(1, 100'000), "Longest of those answers.");
    v("load_best_model_at_end", load_best_model_at_end, any_value(), "End with the best checkpoint, not the last.");
    v("metric_for_best_model", metric_for_best_model, one_of({"eval_loss", "loss"}),
      "What the best checkpoint is by. Both names mean the held-out loss.");
    v("early_stopping_steps", early_stopping_steps, at_least(1),
      "Stop after so many evaluations without a better one. null: never.");
  }

  template <class V>
  void output_keys(V& v) {
    v("output_dir", output_dir, any_value(), "Folder of the run. Required.");
    v("overwrite_output_dir", overwrite_output_dir, any_value(),
      "Start anew although output_dir holds a run: its checkpoints, final model and report.html are removed when the "
      "first "
      "step begins. A `checkpoint-N` that qtune did not write stays.");
    v("resume_from_checkpoint", resume_from_checkpoint, any_value(),
      "A checkpoint's folder; `true`: the newest in output_dir; `false`: none, and an error if there is one, unless "
      "overwrite_output_dir. null: the newest if there is one, unless overwrite_output_dir.");
    v("logging_steps", logging_steps, at_least(1), "Steps between lines on the console. `metrics.jsonl` has them all.");
    v("report_to", report_to, any_value(),
      "`tensorboard` (or `all`): event files in output_dir, every logging_steps. Other trackers are accepted with "
      "a note. `metrics.jsonl` has every step.");
    v("save_strategy", save_strategy, one_of({"no", "steps", "epoch"}),
      "When checkpoints are written; one follows the last step too, unless `no`. The final model always is.");
    v("save_steps", save_steps, at_least(1), "Steps between checkpoints.");
    v("save_total_limit", save_total_limit, at_least(1), "Newest checkpoints that are kept. null: all.");
    v("save_only_model", save_only_model, any_value(), "Checkpoints without optimizer state, which can't be resumed.");
  }

  template <class V>
  void machine_keys(V& v) {
    v("use_cpu", use_cpu, any_value(), "Run on the CPU although there is a GPU.");
    v("gradient_checkpointing", gradient_checkpointing, any_value(),
      "Keep only each layer's input for the backward pass and compute the rest again: the same results, less memory, "
      "more time. null: where the largest micro-batch would not fit into memory otherwise.");
    v("zero_stage", zero_stage, between(0, 1),
      "1: optimizer state, and with `bf16` the float32 masters, are split over the ranks.");
    v("reduce_dtype", reduce_dtype, one_of({"float32", "bfloat16"}),
      "Type in which ranks sum their gradients; `bfloat16` sends half as much and rounds.");
    v("ddp_timeout", ddp_timeout, at_least(1), "Seconds after which a silent rank ends the run.");
    v("full_determinism", full_determinism, any_value(), "Deterministic kernels on the GPU. The CPU always is.");
    v("dry_run", dry_run, any_value(), "Show steps, tokens, a memory estimate and the first batch, and stop.");
    v.section("ops", ops);
  }
};

/// The columns that are named, by their part ("prompt" -> "question"), as DatasetSpec::columns takes them.
std::map<std::string, std::string> named_columns(const ColumnsConfig& columns);

/// All keys of `config`, in the order of the docs page; they point into it.
std::vector<ConfigKey> config_keys(TrainConfig& config);

}  // namespace qtune
