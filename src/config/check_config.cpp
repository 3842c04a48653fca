#include "check_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <initializer_list>
#include <numeric>

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

// The same folder, however it is written; neither needs to exist.
bool is_same_folder(const std::string& a, const std::string& b) {
  const auto place = [](const std::string& path) {
    std::error_code failed;
    const std::filesystem::path whole = std::filesystem::weakly_canonical(std::filesystem::absolute(path), failed);
    return (failed ? std::filesystem::path(path) : whole / "").lexically_normal();
  };
  return !a.empty() && !b.empty() && place(a) == place(b);
}

void check_adapter(Rules& rules, const TrainConfig& c) {
  rules.require(!c.adapter_name_or_path || c.finetuning_type == "lora", {"adapter_name_or_path", "finetuning_type"},
                "needs finetuning_type: lora ---> to train all weights, merge the adapter first: qtune convert "
                "--adapter");
  const bool all = std::find(c.lora_target.begin(), c.lora_target.end(), "all") != c.lora_target.end();
  rules.require(!all || c.lora_target.size() == 1, {"lora_target"}, "expected all, or names of modules, found both");
  rules.require(!c.lora_target.empty(), {"lora_target"}, "expected all, or names of modules, found none");
}

void check_folders(Rules& rules, const TrainConfig& c) {
  constexpr const char* kOverwritten = "expected a folder of the run's own, found that of {} ---> give another path";
  const std::string adapter = c.adapter_name_or_path.value_or("");
  rules.require(!is_same_folder(c.output_dir, c.model_name_or_path), {"output_dir", "model_name_or_path"},
                fmt::format(kOverwritten, "model_name_or_path"));
  rules.require(!is_same_folder(c.output_dir, adapter), {"output_dir", "adapter_name_or_path"},
                fmt::format(kOverwritten, "adapter_name_or_path"));
  rules.require(!is_same_folder(c.tokenized_path, c.output_dir), {"tokenized_path", "output_dir"},
                fmt::format(kOverwritten, "output_dir"));
  rules.require(!is_same_folder(c.tokenized_path, c.model_name_or_path), {"tokenized_path", "model_name_or_path"},
                fmt::format(kOverwritten, "model_name_or_path"));
  const bool online = c.dataset_dir == "ONLINE" || c.dataset_dir.starts_with("REMOTE:");
  rules.require(!online, {"dataset_dir"},
                fmt::format("expected a folder, found '{}' ---> nothing is downloaded; give the folder that holds the "
                            "data",
                            c.dataset_dir));
}

void check_mixing(Rules& rules, const TrainConfig& c) {
  if (c.interleave_probs.empty()) return;
  rules.require(c.mix_strategy != "concat", {"interleave_probs", "mix_strategy"},
                "needs mix_strategy: interleave_under, interleave_over or interleave_once");
  rules.require(
      c.interleave_probs.size() == c.dataset.size(), {"interleave_probs", "dataset"},
      fmt::format("expected one share for each of {} datasets, found {}", c.dataset.size(), c.interleave_probs.size()));
  constexpr double kRounding = 1e-6;
  const double sum = std::accumulate(c.interleave_probs.begin(), c.interleave_probs.end(), 0.0);
  rules.require(std::abs(sum - 1) <= kRounding, {"interleave_probs"},
                fmt::format("expected shares whose sum is 1, found a sum of {:.6g}", sum));
}

void check_data(Rules& rules, const TrainConfig& c) {
  rules.require(!(c.mask_history && c.train_on_prompt), {"mask_history", "train_on_prompt"},
                "can't be true together with train_on_prompt ---> set one of them");
  rules.require(c.val_size < 1 || std::trunc(c.val_size) == c.val_size, {"val_size"},
                fmt::format("expected a share below 1 or a whole number of samples, found {}", c.val_size));
  rules.require(c.val_size == 0 || c.eval_dataset.empty(), {"val_size", "eval_dataset"},
                "can't be given together with eval_dataset ---> set one of them");
  const std::string with_thoughts = c.template_name.value_or("qwen3");
  rules.require(c.enable_thinking || with_thoughts != "qwen3", {"enable_thinking", "template"},
                fmt::format("expected true with {}, found false ---> template: qwen3_nothink writes no thoughts",
                            c.template_name ? "template qwen3" : "the model's own template"));
}

void check_evaluation(Rules& rules, const TrainConfig& c) {
  const bool has_data = c.val_size > 0 || !c.eval_dataset.empty();
  constexpr const char* kNoData = "needs held-out data, found none ---> set eval_dataset or val_size";
  rules.require(c.eval_strategy == "no" || has_data, {"eval_strategy", "eval_dataset", "val_size"}, kNoData);
  rules.require(!c.eval_steps || has_data || c.eval_strategy != "no", {"eval_steps", "eval_dataset", "val_size"},
                kNoData);
  rules.require(!c.eval_on_start || has_data, {"eval_on_start", "eval_dataset", "val_size"}, kNoData);
  rules.require(!c.load_best_model_at_end || c.eval_strategy != "no", {"load_best_model_at_end", "eval_strategy"},
                "needs evaluations to choose by ---> set eval_strategy");
  rules.require(!c.load_best_model_at_end || c.save_strategy == c.eval_strategy,
                {"load_best_model_at_end", "save_strategy", "eval_strategy"},
                fmt::format("expected the same save_strategy and eval_strategy, found {} and {}", c.save_strategy,
                            c.eval_strategy));
  const int64_t eval_steps = c.eval_steps.value_or(c.logging_steps);
  const bool both_count = c.save_strategy == "steps" && c.eval_strategy == "steps";
  rules.require(
      !c.load_best_model_at_end || !both_count || c.save_steps % eval_steps == 0,
      {"load_best_model_at_end", "save_steps", "eval_steps"},
      fmt::format("expected save_steps to be a multiple of eval_steps, found {} and {}", c.save_steps, eval_steps));
  rules.require(c.num_generation_samples == 0 || c.eval_strategy != "no" || c.eval_on_start,
                {"num_generation_samples", "eval_strategy"}, "needs evaluations to answer at ---> set eval_strategy");
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

void check_schedule(Rules& rules, const LoadedConfig& loaded) {
  const TrainConfig& c = loaded.config;
  const LrSchedulerKwargs& k = c.lr_scheduler_kwargs;
  const std::string section = "lr_scheduler_kwargs.", &type = c.lr_scheduler_type;
  const std::vector<std::string> taken = kwargs_of_schedule(type);
  TrainConfig copy = c;
  for (const ConfigKey& key : config_keys(copy)) {
    if (!key.name.starts_with(section) || format_value(key.field) == "null") continue;
    const bool takes = std::find(taken.begin(), taken.end(), key.name.substr(section.size())) != taken.end();
    rules.require(takes, {key.name.c_str(), "lr_scheduler_type"},
                  taken.empty() ? fmt::format("lr_scheduler_type {} takes none of these ---> remove it", type)
                                : fmt::format("expected one of {} with lr_scheduler_type {} ---> remove it",
                                              fmt::join(taken, ", "), type));
  }
  const bool to_min_lr = type == "cosine_with_min_lr" || type == "cosine_warmup_with_min_lr";
  rules.require(!to_min_lr || k.min_lr.has_value() != k.min_lr_rate.has_value(),
                {"lr_scheduler_type", "lr_scheduler_kwargs.min_lr", "lr_scheduler_kwargs.min_lr_rate"},
                fmt::format("{} needs one of lr_scheduler_kwargs.min_lr and lr_scheduler_kwargs.min_lr_rate, found {}",
                            type, k.min_lr ? "both" : "none"));
  rules.require(!k.min_lr || *k.min_lr <= c.learning_rate, {"lr_scheduler_kwargs.min_lr", "learning_rate"},
                fmt::format("expected at most learning_rate ({}), found {}", c.learning_rate, k.min_lr.value_or(0)));
  const double lr_end = k.lr_end.value_or(1e-7);
  rules.require(type != "polynomial" || lr_end < c.learning_rate,
                {k.lr_end ? "lr_scheduler_kwargs.lr_end" : "learning_rate", "lr_scheduler_type", "learning_rate"},
                k.lr_end
                    ? fmt::format("expected below learning_rate ({}), found {}", c.learning_rate, lr_end)
                    : fmt::format("expected above lr_scheduler_kwargs.lr_end ({}), found {}", lr_end, c.learning_rate));
  const double cycles = k.num_cycles.value_or(1);
  rules.require(type != "cosine_with_restarts" || (cycles >= 1 && std::trunc(cycles) == cycles),
                {"lr_scheduler_kwargs.num_cycles", "lr_scheduler_type"},
                fmt::format("expected a whole number, at least 1, with {}, found {}", type, cycles));
  rules.require(type != "warmup_stable_decay" || k.num_decay_steps,
                {"lr_scheduler_type", "lr_scheduler_kwargs.num_decay_steps"},
                "warmup_stable_decay needs lr_scheduler_kwargs.num_decay_steps, found none");
  const int64_t phases = c.warmup_steps + k.num_stable_steps.value_or(0) + k.num_decay_steps.value_or(0);
  rules.require(!k.num_decay_steps || c.max_steps <= 0 || phases <= c.max_steps,
                {"lr_scheduler_kwargs.num_decay_steps", "max_steps", "warmup_steps"},
                fmt::format("expected warm-up, stable and decay steps of at most max_steps ({}) together, found {}",
                            c.max_steps, phases));
}

void check_pruning(Rules& rules, const LoadedConfig& loaded) {
  const PruningConfig& p = loaded.config.pruning;
  rules.require(p.token.method != "qtuning" || p.sample.method == "qtuning",
                {"pruning.token.method", "pruning.sample.method"},
                fmt::format("qtuning tokens need pruning.sample.method: qtuning, found {}", p.sample.method));
  rules.require(p.sample.method != "score_file" || p.sample.score_file,
                {"pruning.sample.method", "pruning.sample.score_file"},
                "score_file needs the file with the ratings ---> set pruning.sample.score_file");
  rules.require(!p.sample.kept_quadrants.empty(), {"pruning.sample.kept_quadrants"},
                "expected at least one of Q1, Q2, Q3, Q4, found none ---> Q2 and Q4 are usual");
  const bool compares = p.token.method == "rho1" || p.token.method == "tokencleaning";
  rules.require(!compares || p.token.reference_model, {"pruning.token.method", "pruning.token.reference_model"},
                fmt::format("{} needs a model to compare with ---> set pruning.token.reference_model", p.token.method));
  // Someone who sets an option of a method that was never named believes that the run prunes.
  const bool prunes = p.sample.method != "none" || p.token.method != "none";
  rules.require(
      p.score_dtype != "fp8" || (loaded.config.bf16 && !loaded.config.ops.reference && !loaded.config.use_cpu),
      {"pruning.score_dtype", "bf16"},
      "fp8 goes with training in bfloat16 on a GPU ---> set bf16: true without use_cpu and ops.reference, or "
      "remove pruning.score_dtype");
  for (const char* key : {"pruning.scope", "pruning.iterations"}) {
    rules.require(
        prunes || loaded.origins.at(key) == "default" || loaded.origins.at("pruning.sample.method") != "default",
        {key, "pruning.sample.method"},
        "has no effect without a method ---> add pruning.sample.method: qtuning, or remove it");
  }
  for (const std::string section : {"pruning.sample.", "pruning.token."}) {
    const std::string method = section + "method";
    if (loaded.origins.at(method) != "default") continue;
    for (const auto& [key, origin] : loaded.origins) {
      const bool given = origin != "default" && key.starts_with(section);
      rules.require(
          !given, {key.c_str(), method.c_str()},
          fmt::format("has no effect without a method ---> add {}: qtuning, or none to prune nothing", method));
    }
  }
}

void check_not_yet(Rules& rules, const LoadedConfig& loaded) {
  TrainConfig config = loaded.config;
  for (const ConfigKey& key : config_keys(config)) {
    const NotYetRule* rule = find_not_yet(key.name);
    if (rule == nullptr) continue;
    const std::string value = format_value(key.field);
    const bool available = std::find(rule->available.begin(), rule->available.end(), value) != rule->available.end();
    const bool is_default = loaded.origins.at(key.name) == "default";
    rules.require(
        available, {key.name.c_str()},
        fmt::format("expected {}, found {}{}: not available in this version{}", fmt::join(rule->available, ", "), value,
                    is_default ? " (the default)" : "", rule->instead.empty() ? "" : " ---> " + rule->instead));
  }
}

}  // namespace

const std::vector<NotYetRule>& not_yet_available() {
  static const std::vector<NotYetRule> rules = {
      {"lr_scheduler_type",
       {"linear", "cosine", "constant", "constant_with_warmup", "cosine_with_restarts", "polynomial", "inverse_sqrt",
        "cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay"},
       ""},
      {"pruning.score_dtype", {"null", "fp8"}, "remove it: scores are computed in the type of training"},
      {"pruning.score_every", {"1"}, ""},
  };
  return rules;
}

const NotYetRule* find_not_yet(const std::string& key) {
  const std::vector<NotYetRule>& rules = not_yet_available();
  const auto rule = std::find_if(rules.begin(), rules.end(), [&](const NotYetRule& r) { return r.key == key; });
  return rule == rules.end() ? nullptr : &*rule;
}

std::vector<std::string> check_config(const CheckedConfig& checked) {
  const TrainConfig& config = checked.loaded.config;
  Rules rules(checked);
  check_required(rules, config);
  check_folders(rules, config);
  check_adapter(rules, config);
  check_data(rules, config);
  check_mixing(rules, config);
  check_length(rules, config);
  check_schedule(rules, checked.loaded);
  check_evaluation(rules, config);
  check_pruning(rules, checked.loaded);
  check_not_yet(rules, checked.loaded);
  return std::move(rules.faults);
}

}  // namespace qtune
