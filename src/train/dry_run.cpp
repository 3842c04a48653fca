#include "qtune/train/dry_run.h"
#include "qtune/ops/device.h"

#include <fmt/format.h>

#include <algorithm>

#include "checks_before_weights.h"
#include "disk_plan.h"
#include "memory_plan.h"
#include "output_dir.h"
#include "plan.h"
#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/memory.h"
#include "qtune/model/model.h"
#include "qtune/train/config_options.h"

namespace qtune {
namespace {

constexpr size_t kSamplesShown = 3;

std::string line(const std::string& name, const std::string& value) { return fmt::format("{:<16} {}\n", name, value); }

std::string steps_text(const TrainConfig& c, const TrainingPlan& plan, int world_size) {
  const int64_t per_epoch = plan.epochs.steps_per_epoch();
  const double epochs = static_cast<double>(plan.total_steps) / static_cast<double>(per_epoch);
  const int64_t at_once = c.per_device_train_batch_size * world_size;
  const int64_t micro_batches = (plan.epochs.samples_per_step + at_once - 1) / at_once;
  std::string text = line("steps", fmt::format("{}, {:.4g} epochs of {}", plan.total_steps, epochs, per_epoch));
  text += line("a step", fmt::format("{} samples: {} micro-batches of {}{}", plan.epochs.samples_per_step,
                                     micro_batches, c.per_device_train_batch_size,
                                     world_size > 1 ? fmt::format(" on each of {} ranks", world_size) : ""));
  text += line("learning rate", fmt::format("{:g}, {}, {} steps of warm-up", c.learning_rate, c.lr_scheduler_type,
                                            plan.schedule.warmup_steps));
  const auto pruned = [](const std::string& method, double keep) {
    return method == "none" ? "all kept" : fmt::format("{}, {:g} kept", method, keep);
  };
  text += line("pruning", fmt::format("samples: {}; tokens: {}", pruned(c.pruning.sample.method, c.pruning.sample.keep),
                                      pruned(c.pruning.token.method, c.pruning.token.keep)));
  return text;
}

std::string data_text(const TrainingPlan& plan) {
  const int64_t tokens = plan.samples.num_tokens();
  const double epochs = static_cast<double>(plan.total_steps) / static_cast<double>(plan.epochs.steps_per_epoch());
  std::string text = line("samples", plan.eval_samples.empty() ? fmt::format("{}", plan.samples.size())
                                                               : fmt::format("{}, and {} held out", plan.samples.size(),
                                                                             plan.eval_samples.size()));
  text += line("tokens", fmt::format("{} an epoch, {} of them trainable; about {:.0f} in the whole run", tokens,
                                     plan.samples.num_trainable_tokens(), epochs * static_cast<double>(tokens)));
  return text;
}

std::string memory_text(const TrainingPlan& plan, const TrainingShape& shape, at::Device device, bool longest) {
  const MemoryEstimate m = estimate_training_memory(plan.model, shape);
  const int64_t there = device.is_cpu() ? total_memory_bytes() : available_memory_bytes(device);
  const auto size = [](int64_t bytes) { return format_bytes(static_cast<uint64_t>(bytes)); };
  std::string text =
      line("memory",
           fmt::format("about {} of {} {}{}", size(m.total()), device.is_cpu() ? "this machine's" : "the GPU's free",
                       size(there), m.total() > there ? " ---> lower per_device_train_batch_size or cutoff_len" : ""));
  text += line("", fmt::format("weights {}, gradients {}, optimizer {}, activations {}{}, workspace {}, program {}",
                               size(m.weights), size(m.gradients), size(m.optimizer), size(m.activations),
                               shape.gradient_checkpointing ? " (gradient checkpointing)" : "", size(m.workspace),
                               size(m.program)));
  text += line("", fmt::format("largest micro-batch: {} tokens, {} trainable, {}", shape.num_tokens, shape.num_targets,
                               longest ? "of the longest samples" : "before pruning"));
  return text;
}

/// Pre-tokenized and cached samples needed no tokenizer; they are shown as ids where there is none.
DecodeIds decoder_of(const TrainingPlan& plan, const std::string& model_folder) {
  std::shared_ptr<const Tokenizer> tokenizer = plan.tokenizer;
  try {
    if (!tokenizer) tokenizer = Tokenizer::load_tokenizer(model_folder);
  } catch (const CheckpointError&) {
    return ids_as_text;
  }
  return [tokenizer](std::span<const int32_t> ids) { return tokenizer->decode(ids); };
}

std::string first_batch_text(const TrainConfig& c, const TrainingPlan& plan, MarkStyle marks) {
  const DecodeIds decode = decoder_of(plan, c.model_name_or_path);
  const std::vector<int64_t> indices = StepSampler(plan.epochs).next();
  const size_t size = std::min(indices.size(), static_cast<size_t>(c.per_device_train_batch_size));
  std::string text = fmt::format("\nfirst micro-batch, {} samples:\n", size);
  for (size_t i = 0; i < size; ++i) {
    const TokenizedSample sample = plan.samples[static_cast<size_t>(indices[i])];
    text += fmt::format("--- {}: {} tokens, {} trained\n", terminal_safe(sample.id.name()), sample.num_tokens(),
                        trainable_positions(sample).size());
    if (i < kSamplesShown) text += marked_text(sample, decode, marks) + "\n";
  }
  return text;
}

}  // namespace

std::string dry_run(const LoadedConfig& loaded, MarkStyle marks, const Launch& launch) {
  const TrainConfig& c = loaded.config;
  const Pruner pruner = make_pruner(pruner_options(c));
  const OutputDir folder(c);
  const auto checkpoint = find_checkpoint(c);
  const TrainingPlan plan = plan_training(loaded, launch.world_size, checkpoint);
  const at::Device device = choose_device(c.use_cpu ? DeviceChoice::kCpuOnly : DeviceChoice::kGpuIfAny);
  check_before_weights(c, pruner, plan, device);
  const TrainingShape shape = decided_shape(c, pruner, plan, device, launch.local_world_size);
  check_disk_space(c, plan, shape, checkpoint);
  std::string text = line(
      "model", fmt::format("{}, {:.1f} M parameters, {} compute", c.model_name_or_path,
                           static_cast<double>(plan.model.num_parameters()) / 1e6, c.bf16 ? "bfloat16" : "float32"));
  if (shape.lora)
    text += line("adapter", describe_lora(*shape.lora, plan.model,
                                          checkpoint ? checkpoint->string() : c.adapter_name_or_path.value_or("new")));
  text += line("output_dir",
               checkpoint ? fmt::format("{}, resuming from {}", c.output_dir, checkpoint->string()) : c.output_dir);
  text += steps_text(c, plan, launch.world_size) + data_text(plan) +
          memory_text(plan, shape, device, c.pruning.sample.method == "longest") + first_batch_text(c, plan, marks);
  return text + "\ndry run: nothing was trained or written\n";
}

}  // namespace qtune
