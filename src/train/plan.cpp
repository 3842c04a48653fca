#include "plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>

#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/base/rng.h"
#include "qtune/checkpoint/checkpoint.h"
#include "qtune/text/sample_checks.h"
#include "qtune/train/config_options.h"

namespace qtune {
namespace {

constexpr uint64_t kHeldOutStream = 0x68656c64;  // "held": apart from other users of the seed

/// "config.yaml:12: ", to start a message about a key.
std::string origin_of(const LoadedConfig& loaded, const std::string& key) {
  const auto origin = loaded.origins.find(key);
  return origin == loaded.origins.end() ? "" : origin->second + ": ";
}

LoadedSamples load_logged(const LoadSamplesOptions& options, const std::vector<std::string>& names) {
  LoadedSamples samples = load_samples(options);
  spdlog::info("{}: {}", fmt::join(names, ", "), samples.summary());
  for (const std::string& warning : sample_warnings(samples.samples, sample_check_options(samples, options))) {
    spdlog::warn("{}", warning);
  }
  return samples;
}

/// Moves val_size samples (a share below 1, or a count), drawn by the seed, to the held-out set. Both keep their order.
void hold_out(const LoadedConfig& loaded, SampleSet& samples, SampleSet& held_out) {
  const TrainConfig& config = loaded.config;
  const double n = static_cast<double>(samples.size());
  const int64_t count = static_cast<int64_t>(config.val_size < 1 ? std::ceil(config.val_size * n) : config.val_size);
  if (count >= static_cast<int64_t>(samples.size())) {
    throw ConfigError(fmt::format("{}val_size: expected to leave samples to train on, found {} of {} ---> lower it",
                                  origin_of(loaded, "val_size"), count, samples.size()));
  }
  auto order =
      random_permutation(static_cast<uint64_t>(config.seed), kHeldOutStream, static_cast<int64_t>(samples.size()));
  std::sort(order.begin(), order.begin() + count);
  std::sort(order.begin() + count, order.end());
  held_out = samples.pick(std::span(order).first(static_cast<size_t>(count)));
  samples = samples.pick(std::span(order).subspan(static_cast<size_t>(count)));
}

int64_t count_total_steps(const TrainConfig& config, int64_t steps_per_epoch) {
  if (config.max_steps > 0) return config.max_steps;
  return std::max<int64_t>(
      1, static_cast<int64_t>(std::ceil(config.num_train_epochs * static_cast<double>(steps_per_epoch))));
}

Schedule make_schedule(const LoadedConfig& loaded, int64_t total_steps) {
  const TrainConfig& c = loaded.config;
  const int64_t warmup = resolve_warmup_steps(c.warmup_steps, c.warmup_ratio, total_steps);
  if (warmup > total_steps) {
    throw ConfigError(
        fmt::format("{}warmup_steps: expected at most {}, the steps of this run, found {} ---> use "
                    "warmup_ratio, or train longer",
                    origin_of(loaded, "warmup_steps"), total_steps, warmup));
  }
  return {.type = parse_schedule_type(c.lr_scheduler_type),
          .peak_learning_rate = c.learning_rate,
          .warmup_steps = warmup,
          .total_steps = total_steps,
          .kwargs = c.lr_scheduler_kwargs};
}

/// Shares of few samples are chances: of 8 samples an eighth is one, and the quadrants' borders lie anywhere.
void warn_of_few_judged(const TrainConfig& c, int64_t samples_per_step) {
  constexpr int64_t kFew = 16;
  const bool micro = c.pruning.scope == "micro";
  const int64_t judged = micro ? c.per_device_train_batch_size : samples_per_step;
  if (c.pruning.sample.method == "none" || judged >= kFew) return;
  spdlog::warn(
      "pruning.sample: {} samples are judged together ({}), too few to compare ---> {} so that 32 or more are", judged,
      micro ? "a micro-batch: pruning.scope is micro" : "a step",
      micro ? "raise per_device_train_batch_size, or set pruning.scope: global," : "raise gradient_accumulation_steps");
}

}  // namespace

std::string describe_lora(const LoraConfig& lora, const ModelConfig& model, const std::string& origin) {
  const double trained = static_cast<double>(count_lora_parameters(model, lora));
  return fmt::format(
      "LoRA adapter ({}): rank {}, alpha {:g}{}, dropout {:g}, on {}; {:.3g} M parameters are trained, "
      "{:.2f} % of the model's",
      origin, lora.rank, lora.alpha, lora.rslora ? " (rslora)" : "", lora.dropout, fmt::join(lora.targets, ", "),
      trained / 1e6, 100 * trained / static_cast<double>(model.num_parameters()));
}

TrainingPlan plan_training(const LoadedConfig& loaded, int world_size,
                           const std::optional<std::filesystem::path>& checkpoint) {
  const TrainConfig& c = loaded.config;
  TrainingPlan plan{.model = read_model_config(c.model_name_or_path)};
  // A wrong name of held-out data is found before the training data is read.
  const LoadSamplesOptions training_options = sample_options(loaded, DatasetUse::kTraining, plan.model);
  std::optional<LoadSamplesOptions> held_out_options;
  if (!c.eval_dataset.empty()) held_out_options = sample_options(loaded, DatasetUse::kHeldOut, plan.model);
  LoadedSamples training = load_logged(training_options, c.dataset);
  plan.samples = std::move(training.samples);
  plan.tokenizer = training.tokenizer;
  if (held_out_options) plan.eval_samples = load_logged(*held_out_options, c.eval_dataset).samples;
  if (c.val_size > 0) hold_out(loaded, plan.samples, plan.eval_samples);
  plan.epochs = {.num_samples = static_cast<int64_t>(plan.samples.size()),
                 .samples_per_step = c.per_device_train_batch_size * c.gradient_accumulation_steps * world_size,
                 .seed = static_cast<uint64_t>(c.seed)};
  if (checkpoint) {
    const TrainerState then = read_trainer_state(*checkpoint);
    if (then.world_size != world_size) plan.epochs.samples_per_step = then.samples_per_step;
  }
  plan.total_steps = count_total_steps(c, plan.epochs.steps_per_epoch());
  plan.schedule = make_schedule(loaded, plan.total_steps);
  plan.world_size = world_size;
  warn_of_few_judged(c, plan.epochs.samples_per_step);
  return plan;
}

}  // namespace qtune
