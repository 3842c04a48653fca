// Notes: options that change nothing beside the others, and what else is worth knowing before a run.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "check_config.h"

namespace qtune {
namespace {

class Notes {
 public:
  explicit Notes(const LoadedConfig& loaded) : loaded_(loaded) {}

  /// A note at `key` if it is given and `holds`.
  void remark(bool holds, const std::string& key, const std::string& text) {
    const std::string& origin = loaded_.origins.at(key);
    if (holds && origin != "default") texts.push_back(fmt::format("{}: {}: {}", origin, key, text));
  }
  void idle(bool holds, const std::string& key, const std::string& why) { remark(holds, key, "no effect: " + why); }

  std::vector<std::string> texts;

 private:
  const LoadedConfig& loaded_;
};

void note_model(Notes& notes, const TrainConfig& c) {
  const bool full = c.finetuning_type == "full";
  const bool all_targets = c.lora_target == std::vector<std::string>{"all"};
  constexpr const char* kFull = "finetuning_type is full";
  notes.idle(full && c.lora_rank != 8, "lora_rank", kFull);
  notes.idle(full && c.lora_alpha, "lora_alpha", kFull);
  notes.idle(full && c.lora_dropout != 0, "lora_dropout", kFull);
  notes.idle(full && !all_targets, "lora_target", kFull);
  notes.idle(full && c.use_rslora, "use_rslora", kFull);
  for (const char* key : {"lora_rank", "lora_alpha", "lora_dropout", "lora_target", "use_rslora"}) {
    notes.idle(!full && c.adapter_name_or_path, key, "the adapter of adapter_name_or_path has its own");
  }
}

void note_data(Notes& notes, const TrainConfig& c) {
  for (auto name = c.dataset.begin(); name != c.dataset.end(); ++name) {
    const bool again = std::find(c.dataset.begin(), name, *name) != name;
    notes.remark(again, "dataset", fmt::format("'{}' is listed twice: its samples are taken twice", *name));
  }
  for (const std::string& name : c.eval_dataset) {
    notes.remark(std::count(c.dataset.begin(), c.dataset.end(), name) > 0, "eval_dataset",
                 fmt::format("'{}' is in dataset too: the loss on it is not a held-out loss", name));
  }
  notes.idle(c.packing.has_value(), "packing", "rows are always packed, and samples never see each other");
  notes.idle(!c.enable_thinking, "enable_thinking",
             fmt::format("template {} has no thoughts", c.template_name.value_or("")));
  notes.idle(c.mix_strategy != "concat" && c.dataset.size() == 1, "mix_strategy", "there is one dataset");
}

void note_training(Notes& notes, const TrainConfig& c) {
  constexpr const char* kConstant = "lr_scheduler_type constant has no warm-up; constant_with_warmup has";
  const bool constant = c.lr_scheduler_type == "constant";
  notes.idle(c.warmup_steps > 0 && c.warmup_ratio > 0, "warmup_ratio", "warmup_steps wins");
  notes.idle(constant && c.warmup_steps > 0, "warmup_steps", kConstant);
  notes.idle(constant && c.warmup_ratio > 0, "warmup_ratio", kConstant);
  notes.idle(c.max_steps > 0 && c.num_train_epochs != 3.0, "num_train_epochs", "max_steps wins");
  notes.remark(c.learning_rate == 0, "learning_rate", "0: nothing will be learnt");
}

void note_samples(Notes& notes, const PruningConfig& p) {
  const std::string why = fmt::format("pruning.sample.method is {}", p.sample.method);
  const bool is_infobatch = p.sample.method == "infobatch";
  notes.idle(is_infobatch && p.sample.keep != 0.125, "pruning.sample.keep",
             "infobatch drops by pruning.sample.prune_probability");
  notes.idle(!is_infobatch && p.sample.prune_probability != 0.5, "pruning.sample.prune_probability", why);
  notes.idle(!is_infobatch && p.sample.anneal_from != 0.875, "pruning.sample.anneal_from", why);
  notes.idle(p.sample.method != "score_file" && p.sample.score_file, "pruning.sample.score_file", why);
  const bool has_quadrants = p.sample.method == "qtuning";
  notes.idle(!has_quadrants && p.sample.kept_quadrants != std::vector<std::string>{"Q2", "Q4"},
             "pruning.sample.kept_quadrants", why);
  notes.idle(!has_quadrants && p.iterations != 10, "pruning.iterations", why);
}

void note_pruning(Notes& notes, const PruningConfig& p) {
  constexpr const char* kNoTokens = "pruning.token.method is none";
  notes.idle(p.sample.method == "none" && p.sample.keep != 0.125, "pruning.sample.keep",
             "pruning.sample.method is none");
  notes.idle(p.token.method == "none" && p.token.keep != 0.5, "pruning.token.keep", kNoTokens);
  notes.idle(p.token.method == "none" && p.token.mode != "mask", "pruning.token.mode", kNoTokens);
  const bool other_rule = p.token.method != "qtuning";
  const std::string why = fmt::format("pruning.token.method is {}", p.token.method);
  notes.idle(other_rule && p.token.lambda != 0.5, "pruning.token.lambda", why);
  notes.idle(other_rule && p.token.neighbours != "sum", "pruning.token.neighbours", why);
  const bool unranked = p.token.method == "none" || p.token.method == "random";
  notes.idle(unranked && p.token.reverse, "pruning.token.reverse", why);
  notes.idle(other_rule && p.token.supplement_tokens != "by_side", "pruning.token.supplement_tokens", why);
  notes.idle(other_rule && p.token.pruned_quadrants != std::vector<std::string>{"Q2"}, "pruning.token.pruned_quadrants",
             why);
  const bool compares = p.token.method == "rho1" || p.token.method == "tokencleaning";
  notes.idle(!compares && p.token.reference_model, "pruning.token.reference_model", why);
  notes.idle(p.token.method != "tokencleaning" && p.token.base_model, "pruning.token.base_model", why);
  const bool attends = p.token.method == "fastv" || p.token.method == "sparsevlm";
  notes.idle(!attends && p.token.layer != 2, "pruning.token.layer", why);
  note_samples(notes, p);
}

void note_evaluation(Notes& notes, const TrainConfig& c) {
  const bool never = c.eval_strategy == "no" && !c.eval_on_start;
  notes.idle(c.num_generation_samples == 0 && c.max_new_tokens != 128, "max_new_tokens", "num_generation_samples is 0");
  notes.idle(c.eval_strategy != "steps" && c.eval_steps, "eval_steps", "eval_strategy is " + c.eval_strategy);
  notes.idle(never && !c.eval_dataset.empty(), "eval_dataset",
             "eval_strategy is no, so nothing is evaluated while training");
  notes.idle(never && c.val_size > 0, "val_size",
             "eval_strategy is no, so the held-out samples are neither trained nor evaluated");
}

bool is_known_tracker(const std::string& name) { return name == "none" || name == "tensorboard" || name == "all"; }

void note_output(Notes& notes, const TrainConfig& c) {
  const bool goes_on = c.resume_from_checkpoint == "true";
  notes.idle(c.overwrite_output_dir && goes_on, "overwrite_output_dir", "resume_from_checkpoint is true");
  notes.remark(c.save_only_model && goes_on, "save_only_model",
               "true: this run's own checkpoints can't be resumed from");
  notes.idle(c.save_strategy != "steps" && c.save_steps != 500, "save_steps", "save_strategy is " + c.save_strategy);
  notes.idle(c.save_strategy == "no" && c.save_total_limit, "save_total_limit", "save_strategy is no");
  notes.idle(c.save_strategy == "no" && c.save_only_model, "save_only_model", "save_strategy is no");
  for (const std::string& tracker : c.report_to) {
    notes.idle(
        !is_known_tracker(tracker), "report_to",
        fmt::format("'{}' is not written to; metrics.jsonl has every step, and tensorboard can be had", tracker));
  }
}

}  // namespace

std::vector<std::string> config_notes(const LoadedConfig& loaded) {
  Notes notes(loaded);
  note_model(notes, loaded.config);
  note_data(notes, loaded.config);
  note_training(notes, loaded.config);
  note_pruning(notes, loaded.config.pruning);
  note_evaluation(notes, loaded.config);
  note_output(notes, loaded.config);
  return std::move(notes.texts);
}

}  // namespace qtune
