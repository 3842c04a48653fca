#include "check_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>

namespace qtune {
namespace {

class Rules {
 public:
  explicit Rules(const CheckedConfig& checked) : checked_(checked) {}

  /// Adds a fault of the first of `keys` unless `holds`, or unless one of them has no valid value.
  void require(bool holds, std::initializer_list<const char*> keys, const std::string& fault) {
    const auto is_faulty = [&](const char* key) { return checked_.faulty_keys.count(key) > 0; };
    if (holds || std::any_of(keys.begin(), keys.end(), is_faulty)) return;
    const std::string& origin = checked_.loaded.origins.at(*keys.begin());
    faults.push_back(origin == "default" ? fmt::format("{}: {}", *keys.begin(), fault)
                                         : fmt::format("{}: {}: {}", origin, *keys.begin(), fault));
  }

  std::vector<std::string> faults;

 private:
  const CheckedConfig& checked_;
};

void check_required(Rules& rules, const TrainConfig& c) {
  constexpr const char* kRequired = "expected a value, found none ---> this key is required";
  rules.require(!c.model_name_or_path.empty(), {"model_name_or_path"}, kRequired);
  rules.require(!c.dataset.empty(), {"dataset"}, kRequired);
  rules.require(!c.output_dir.empty(), {"output_dir"}, kRequired);
}

void check_data(Rules& rules, const TrainConfig& c) {
  rules.require(!(c.mask_history && c.train_on_prompt), {"mask_history", "train_on_prompt"},
                "can't be true together with train_on_prompt ---> set one of them");
  rules.require(c.val_size < 1 || std::trunc(c.val_size) == c.val_size, {"val_size"},
                fmt::format("expected a share below 1 or a whole number of samples, found {}", c.val_size));
  rules.require(c.val_size == 0 || c.eval_dataset.empty(), {"val_size", "eval_dataset"},
                "can't be given together with eval_dataset ---> set one of them");
  rules.require(c.interleave_probs.empty() || c.mix_strategy != "concat", {"interleave_probs", "mix_strategy"},
                "needs mix_strategy: interleave_under or interleave_over");
  rules.require(
      c.interleave_probs.empty() || c.interleave_probs.size() == c.dataset.size(), {"interleave_probs", "dataset"},
      fmt::format("expected one share for each of {} datasets, found {}", c.dataset.size(), c.interleave_probs.size()));
}

void check_evaluation(Rules& rules, const TrainConfig& c) {
  const bool has_data = c.val_size > 0 || !c.eval_dataset.empty();
  constexpr const char* kNoData = "needs held-out data, found none ---> set eval_dataset or val_size";
  rules.require(c.eval_strategy == "no" || has_data, {"eval_strategy", "eval_dataset", "val_size"}, kNoData);
  rules.require(!c.eval_on_start || has_data, {"eval_on_start", "eval_dataset", "val_size"}, kNoData);
  rules.require(!c.load_best_model_at_end || c.eval_strategy != "no", {"load_best_model_at_end", "eval_strategy"},
                "needs evaluations to choose by ---> set eval_strategy");
  rules.require(!c.load_best_model_at_end || c.save_strategy == c.eval_strategy,
                {"load_best_model_at_end", "save_strategy", "eval_strategy"},
                fmt::format("expected the same save_strategy and eval_strategy, found {} and {}", c.save_strategy,
                            c.eval_strategy));
  rules.require(!c.early_stopping_steps || c.eval_strategy != "no", {"early_stopping_steps", "eval_strategy"},
                "needs evaluations to judge by ---> set eval_strategy");
}

void check_length(Rules& rules, const TrainConfig& c) {
  rules.require(c.max_steps > 0 || c.num_train_epochs > 0, {"num_train_epochs", "max_steps"},
                fmt::format("expected a positive num_train_epochs or max_steps, found {} and {}", c.num_train_epochs,
                            c.max_steps));
  rules.require(c.max_steps <= 0 || c.warmup_steps <= c.max_steps, {"warmup_steps", "max_steps"},
                fmt::format("expected at most max_steps ({}), found {}", c.max_steps, c.warmup_steps));
}

void check_pruning(Rules& rules, const LoadedConfig& loaded) {
  const PruningConfig& p = loaded.config.pruning;
  rules.require(p.token.method != "qtuning" || p.sample.method == "qtuning",
                {"pruning.token.method", "pruning.sample.method"},
                fmt::format("qtuning tokens need pruning.sample.method: qtuning, found {}", p.sample.method));
  // Someone who sets an option of a method that was never named believes that the run prunes.
  for (const std::string section : {"pruning.sample.", "pruning.token."}) {
    const std::string method = section + "method";
    if (loaded.origins.at(method) != "default") continue;
    for (const auto& [key, origin] : loaded.origins) {
      const bool given = origin != "default" && key.starts_with(section);
      rules.require(
          !given, {key.c_str()},
          fmt::format("has no effect without a method ---> add {}: qtuning, or none to prune nothing", method));
    }
  }
}

void check_not_yet(Rules& rules, const LoadedConfig& loaded) {
  TrainConfig config = loaded.config;
  for (const ConfigKey& key : config_keys(config)) {
    for (const NotYetRule& rule : not_yet_available()) {
      if (rule.key != key.name) continue;
      const std::string value = format_value(key.field);
      const bool available = std::find(rule.available.begin(), rule.available.end(), value) != rule.available.end();
      const bool is_default = loaded.origins.at(key.name) == "default";
      rules.require(
          available, {key.name.c_str()},
          fmt::format("expected {}, found {}{}: not available in this version{}", fmt::join(rule.available, ", "),
                      value, is_default ? " (the default)" : "", rule.instead.empty() ? "" : " ---> " + rule.instead));
    }
  }
}

}  // namespace

const std::vector<NotYetRule>& not_yet_available() {
  static const std::vector<NotYetRule> rules = {
      {"adapter_name_or_path", {"null"}, "merge the adapter into the model first"},
      {"finetuning_type", {"full"}, "set finetuning_type: full"},
      {"lr_scheduler_type", {"linear", "cosine", "constant", "constant_with_warmup"}, ""},
      {"pruning.sample.method", {"none", "random", "qtuning"}, ""},
      {"pruning.token.method", {"none", "random", "qtuning"}, ""},
      {"pruning.score_dtype", {"null"}, "remove it: scores are computed in the type of training"},
      {"pruning.score_every", {"1"}, ""},
      {"load_best_model_at_end", {"false"}, ""},
      {"early_stopping_steps", {"null"}, ""},
      {"gradient_checkpointing", {"false"}, "use a smaller per_device_train_batch_size to save memory"},
      {"zero_stage", {"0"}, ""},
  };
  return rules;
}

std::vector<std::string> check_config(const CheckedConfig& checked) {
  const TrainConfig& config = checked.loaded.config;
  Rules rules(checked);
  check_required(rules, config);
  check_data(rules, config);
  check_length(rules, config);
  check_evaluation(rules, config);
  check_pruning(rules, checked.loaded);
  check_not_yet(rules, checked.loaded);
  return std::move(rules.faults);
}

std::vector<std::string> options_without_effect(const LoadedConfig& loaded) {
  const TrainConfig& c = loaded.config;
  std::vector<std::string> notes;
  const auto note = [&](bool idle, const std::string& key, const std::string& why) {
    if (idle && loaded.origins.at(key) != "default") {
      notes.push_back(fmt::format("{}: {}: no effect: {}", loaded.origins.at(key), key, why));
    }
  };
  note(c.packing.has_value(), "packing", "rows are always packed, and samples never see each other");
  note(c.finetuning_type == "full" && c.lora_rank != 8, "lora_rank", "finetuning_type is full");
  note(c.finetuning_type == "full" && c.lora_alpha.has_value(), "lora_alpha", "finetuning_type is full");
  note(c.finetuning_type == "full" && c.lora_dropout != 0, "lora_dropout", "finetuning_type is full");
  note(c.finetuning_type == "full" && c.lora_target != std::vector<std::string>{"all"}, "lora_target",
       "finetuning_type is full");
  note(c.finetuning_type == "full" && c.use_rslora, "use_rslora", "finetuning_type is full");
  note(c.eval_strategy != "steps" && c.eval_steps.has_value(), "eval_steps", "eval_strategy is " + c.eval_strategy);
  note(c.eval_strategy == "no" && !c.eval_on_start && !c.eval_dataset.empty(), "eval_dataset",
       "eval_strategy is no, so nothing is evaluated while training");
  note(c.eval_strategy == "no" && !c.eval_on_start && c.val_size > 0, "val_size",
       "eval_strategy is no, so the held-out samples are neither trained nor evaluated");
  note(c.warmup_steps > 0 && c.warmup_ratio > 0, "warmup_ratio", "warmup_steps wins");
  note(c.lr_scheduler_type == "constant" && c.warmup_steps > 0, "warmup_steps",
       "lr_scheduler_type constant has no warm-up; constant_with_warmup has");
  note(c.lr_scheduler_type == "constant" && c.warmup_ratio > 0, "warmup_ratio",
       "lr_scheduler_type constant has no warm-up; constant_with_warmup has");
  note(c.max_steps > 0 && c.num_train_epochs != 3.0, "num_train_epochs", "max_steps wins");
  note(c.save_strategy != "steps" && c.save_steps != 500, "save_steps", "save_strategy is " + c.save_strategy);
  for (const std::string& tracker : c.report_to) {
    note(tracker != "none", "report_to", fmt::format("'{}' is not written to; metrics.jsonl has every step", tracker));
  }
  return notes;
}

}  // namespace qtune
