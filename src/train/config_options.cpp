#include "qtune/train/config_options.h"

#include <fmt/format.h>

#include <algorithm>

#include "qtune/base/error.h"
#include "qtune/config/print_config.h"

namespace qtune {

LoadSamplesOptions sample_options(const LoadedConfig& loaded, DatasetUse use, const ModelConfig& model) {
  const TrainConfig& config = loaded.config;
  const bool training = use == DatasetUse::kTraining;
  LoadSamplesOptions options;
  options.datasets = resolve_datasets(training ? config.dataset : config.eval_dataset, config.dataset_dir,
                                      named_columns(config.columns));
  for (DatasetSpec& spec : options.datasets) {
    spec.on_bad_data = config.on_bad_data == "skip" ? OnBadData::kSkip : OnBadData::kRaise;
    if (!config.max_samples) continue;
    spec.num_samples = spec.num_samples < 0 ? *config.max_samples : std::min(spec.num_samples, *config.max_samples);
  }
  if (training) {
    options.mix = {.strategy = parse_mix_strategy(config.mix_strategy),
                   .probabilities = config.interleave_probs,
                   .seed = static_cast<uint64_t>(config.seed)};
  }
  options.model_folder = config.model_name_or_path;
  options.template_name = config.template_name.value_or("");
  options.tokenize.cutoff_len = config.cutoff_len;
  options.tokenize.excess = config.excess_length_strategy == "drop"    ? ExcessLength::kDrop
                            : config.excess_length_strategy == "raise" ? ExcessLength::kRaise
                                                                       : ExcessLength::kTruncate;
  options.tokenize.prompt = config.train_on_prompt ? PromptTraining::kAll : PromptTraining::kNone;
  options.tokenize.history = config.mask_history ? HistoryTraining::kLastAnswer : HistoryTraining::kAll;
  options.tokenize.eos_ids = model.eos_ids;
  options.vocab_size = model.vocab_size;
  options.cache_folder =
      config.tokenized_path.empty() ? default_cache_folder() : std::filesystem::path(config.tokenized_path);
  options.cache_use = config.overwrite_cache ? CacheUse::kOverwrite : CacheUse::kRead;
  options.num_threads = static_cast<int>(config.preprocessing_num_workers.value_or(0));
  const auto origin = loaded.origins.find("cutoff_len");
  if (origin != loaded.origins.end() && origin->second != "default") options.max_positions = model.max_positions;
  return options;
}

ModelOptions model_options(const TrainConfig& config) {
  ModelOptions options{.compute_dtype = config.bf16 ? at::kBFloat16 : at::kFloat,
                       .use = ModelUse::kTraining,
                       .ops = config.ops.reference ? OpsChoice::kReference : OpsChoice::kFused,
                       .gradient_checkpointing = config.gradient_checkpointing.value_or(false)};
  if (config.finetuning_type != "lora") return options;
  const LoraConfig lora{.rank = config.lora_rank,
                        .alpha = static_cast<double>(config.lora_alpha.value_or(2 * config.lora_rank)),
                        .dropout = config.lora_dropout,
                        .targets = lora_targets(config.lora_target),
                        .rslora = config.use_rslora};
  options.adapter = {
      .folder = config.adapter_name_or_path.value_or(""), .config = lora, .seed = static_cast<uint64_t>(config.seed)};
  return options;
}

ScoreType score_type(const TrainConfig& config) {
  return config.pruning.score_dtype == "fp8" ? ScoreType::kFp8 : ScoreType::kCompute;
}

AttentionScores attention_scores(const TrainConfig& config) {
  return {.layer = config.pruning.token.layer,
          .rule = config.pruning.token.method == "sparsevlm" ? AttentionRule::kSparseVlm : AttentionRule::kFastV};
}

PrunerOptions pruner_options(const TrainConfig& config) {
  const PruningConfig& p = config.pruning;
  PrunerOptions options;
  options.sample_method = p.sample.method;
  options.sample_keep = p.sample.keep;
  options.token_method = p.token.method;
  options.token_keep = p.token.keep;
  options.lambda = p.token.lambda;
  options.neighbours = p.token.neighbours == "mean" ? Neighbours::kMean : Neighbours::kSum;
  options.reverse = p.token.reverse;
  options.iterations = static_cast<int>(p.iterations);
  options.supplement_tokens = parse_supplement_tokens(p.token.supplement_tokens);
  options.keep_end_of_turn = p.token.keep_end_of_turn;
  options.seed = static_cast<uint64_t>(config.seed);
  options.kept_quadrants = parse_quadrants(p.sample.kept_quadrants);
  options.pruned_quadrants = parse_quadrants(p.token.pruned_quadrants);
  options.prune_probability = p.sample.prune_probability;
  options.anneal_from = p.sample.anneal_from;
  options.score_file = p.sample.score_file.value_or("");
  return options;
}

void check_fp8_sizes(const char* what, const ModelConfig& m) {
  for (const int64_t size : {m.hidden_size, m.intermediate_size, m.num_heads * m.head_dim, m.qkv_width()}) {
    if (size % 16 == 0) continue;
    throw ConfigError(fmt::format(
        "{}: expected layers of multiples of 16 rows and columns, found {} ---> take another type", what, size));
  }
}

}  // namespace qtune
