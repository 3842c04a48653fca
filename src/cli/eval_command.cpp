// qtune eval: benchmarks in the conventions of lm-evaluation-harness or OpenCompass, and held-out loss.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>

#include "adapter_option.h"
#include "commands.h"
#include "device_option.h"
#include "dtype_option.h"
#include "number_range.h"
#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/hash.h"
#include "qtune/base/log.h"
#include "qtune/base/stop_signals.h"
#include "qtune/eval/held_out_loss.h"
#include "qtune/eval/out_folder.h"
#include "qtune/eval/run_task.h"
#include "qtune/formats/model_config.h"
#include "qtune/text/special_ids.h"
#include "qtune/train/config_options.h"
#include "streams.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct EvalArguments {
  std::string model, adapter, data_dir, data, out, style = "lm-eval", template_name, system, shot_turns = "multi";
  std::string dtype = "float32", device = "auto";
  std::vector<std::string> tasks, prompts;
  int64_t limit = 0, batch_size = 16;
  std::optional<int64_t> num_fewshot, max_new_tokens;
  bool apply_chat_template = false;
};

/// The texts' side of the model folder.
struct TextParts {
  explicit TextParts(const EvalArguments& a)
      : config(read_model_config(a.model)), tokenizer(Tokenizer::load_tokenizer(a.model)) {
    check_fits_model(*tokenizer, config.vocab_size, a.model);
    texts.tokenizer = tokenizer.get();
    texts.text_start = read_text_start(a.model, *tokenizer);
    texts.max_positions = config.max_positions;
    texts.stop_ids = config.eos_ids;
    if (a.apply_chat_template) {
      chat_template = make_chat_template(a.template_name, a.model);
      texts.chat_template = &*chat_template;
      if (const auto id = end_of_turn_id(*chat_template, *tokenizer)) texts.stop_ids.push_back(*id);
    }
    texts.stream.silent_ids.insert(texts.stop_ids.begin(), texts.stop_ids.end());
    for (const auto& [id, text] : read_special_ids(a.model, tokenizer.get()).texts) texts.stream.silent_ids.insert(id);
  }

  ModelConfig config;
  std::unique_ptr<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;
  EvalTexts texts;
};

/// One form for all paths to the same place; what does not exist is taken as it is written.
std::string place_of(const std::string& path) {
  std::error_code failed;
  const fs::path place = fs::weakly_canonical(path, failed);
  if (failed) return path;
  return (place.has_filename() ? place : place.parent_path()).string();
}

/// Which files a folder has, how long they are and when they were written: weights are too long to be hashed.
Json folder_identity(const char* option, const std::string& folder) {
  if (std::error_code ignored; !fs::is_directory(folder, ignored)) {
    throw CheckpointError(fmt::format("{}: {}: expected a folder, found {} ---> check the path", option, folder,
                                      fs::exists(folder, ignored) ? "something else" : "nothing there"));
  }
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string kind = entry.path().extension().string();
    if (!entry.is_regular_file() || (kind != ".json" && kind != ".safetensors" && kind != ".model" && kind != ".jinja"))
      continue;
    files.push_back(fmt::format("{} {} {}", entry.path().filename().string(), entry.file_size(),
                                entry.last_write_time().time_since_epoch().count()));
  }
  std::sort(files.begin(), files.end());
  std::string all;
  for (const std::string& file : files) all += file + "\n";
  return {{"folder", place_of(folder)}, {"files", hex64(hash64(all))}};
}

Json identity_of(const EvalArguments& a) {
  Json identity = {{"model", folder_identity("--model", a.model)}, {"adapter", nullptr}, {"dtype", a.dtype}};
  if (!a.adapter.empty()) identity["adapter"] = folder_identity("--adapter", a.adapter);
  return identity;
}

EvalSettings settings_of(const EvalArguments& a) {
  return {.style = a.style == "lm-eval" ? EvalStyle::kLmEval : EvalStyle::kOpenCompass,
          .data_dir = a.data_dir,
          .out = a.out,
          .limit = static_cast<size_t>(a.limit),
          .batch_size = a.batch_size,
          .turns = a.shot_turns == "multi" ? ShotTurns::kMultiTurn : ShotTurns::kOneMessage,
          .system = a.system,
          .identity = identity_of(a)};
}

/// --prompt TASK=TEMPLATE. "\n" is written as such by a shell's $'...'; nothing is unescaped here.
void set_prompts(const EvalArguments& a, std::vector<EvalTask>& tasks) {
  for (const std::string& option : a.prompts) {
    const size_t equals = option.find('=');
    const std::string name = option.substr(0, equals);
    const auto task = std::find_if(tasks.begin(), tasks.end(), [&](const EvalTask& t) { return t.name == name; });
    if (equals == std::string::npos || task == tasks.end()) {
      throw ConfigError(fmt::format("--prompt: expected TASK=TEMPLATE with a task of --tasks, found \"{}\"", option));
    }
    task->prompt.question = option.substr(equals + 1);
  }
}

std::vector<EvalTask> chosen_tasks(const EvalArguments& a, EvalStyle style) {
  std::vector<EvalTask> tasks;
  for (const std::string& name : a.tasks) {
    if (name == kLossTask) continue;
    EvalTask task = find_eval_task(name, style);
    if (a.num_fewshot) task.num_fewshot = *a.num_fewshot;
    if (a.max_new_tokens) task.max_new_tokens = *a.max_new_tokens;
    tasks.push_back(std::move(task));
  }
  set_prompts(a, tasks);
  return tasks;
}

bool wants_loss(const EvalArguments& a) {
  return std::find(a.tasks.begin(), a.tasks.end(), kLossTask) != a.tasks.end();
}

void check_arguments(const EvalArguments& a, bool has_tasks) {
  if (a.tasks.empty()) throw ConfigError("--tasks: expected names, found none ---> --tasks arc_easy,gsm8k");
  for (auto task = a.tasks.begin(); task != a.tasks.end(); ++task) {
    if (std::find(a.tasks.begin(), task, *task) != task)
      throw ConfigError("--tasks: expected each name once, found " + *task + " twice");
  }
  if (has_tasks && a.data_dir.empty())
    throw ConfigError("eval: expected --data-dir, found none ---> the folder with a folder a task");
  if (!a.template_name.empty() && !a.apply_chat_template && !wants_loss(a)) {
    throw ConfigError("--template: expected --apply-chat-template with it, found none ---> add it, or leave both away");
  }
  if (wants_loss(a) == a.data.empty()) throw ConfigError("eval: expected --data with the task loss, and only there");
}

LoadedSamples load_held_out(const EvalArguments& a, const ModelConfig& config) {
  LoadedConfig loaded;
  loaded.config.model_name_or_path = a.model;
  loaded.config.dataset = {a.data};
  if (!a.template_name.empty()) loaded.config.template_name = a.template_name;
  loaded.config.cutoff_len = std::numeric_limits<int32_t>::max();
  LoadSamplesOptions options = sample_options(loaded, DatasetUse::kTraining, config);
  options.untrained = UntrainedSamples::kKeep;
  return load_samples(options);
}

std::vector<MetricResult> run_all(Model& model, const EvalTexts& texts, const std::vector<PreparedTask>& tasks,
                                  const LoadedSamples* held_out, const EvalArguments& a, const EvalSettings& settings) {
  const StopSignals signals;
  std::vector<MetricResult> results;
  const auto add = [&](const std::vector<MetricResult>& more) {
    results.insert(results.end(), more.begin(), more.end());
    write_file_atomic(settings.out / "results.json", results_json(results).dump(2) + "\n");
  };
  try {
    for (const PreparedTask& task : tasks) add(run_task(model, texts, task, settings));
    if (held_out != nullptr) {
      const Json data = {{"file", place_of(a.data)}, {"samples", hex64(held_out->samples.hash())}};
      add(run_held_out_loss(model, held_out->samples, data, settings));
    }
  } catch (const Error& e) {
    if (e.exit_code() != kExitInterrupted) throw;
    throw Error("eval: interrupted ---> the same command goes on", kExitInterrupted);
  }
  return results;
}

int run_eval(const EvalArguments& a) {
  const EvalSettings settings = settings_of(a);
  const std::vector<EvalTask> tasks = chosen_tasks(a, settings.style);
  check_arguments(a, !tasks.empty());
  const TextParts parts(a);
  std::vector<PreparedTask> prepared;
  for (const EvalTask& task : tasks) prepared.push_back(prepare_task(task, parts.texts, settings));
  std::optional<LoadedSamples> held_out;
  if (wants_loss(a)) held_out = load_held_out(a, parts.config);
  const EvalOutFolder out(settings.out);
  Model model = Model::load(a.model, {.compute_dtype = parse_compute_dtype(a.dtype),
                                      .device = device_from(a.device),
                                      .adapter = adapter_from(a.adapter)});
  const auto results = run_all(model, parts.texts, prepared, held_out ? &*held_out : nullptr, a, settings);
  write_output(results_table(results));
  flush_output();
  return kExitOk;
}

void add_prompt_options(CLI::App& command, EvalArguments& a) {
  command.add_option("--num-fewshot", a.num_fewshot, "Solved questions before each; default: the task's own")
      ->check(number_at_least(0));
  command.add_option("--prompt", a.prompts, "TASK=TEMPLATE: another question text, Jinja over the row's columns")
      ->allow_extra_args(false);
  command.add_option("--system", a.system, "Text before all, or the chat's system message");
  auto* chat = command.add_flag("--apply-chat-template", a.apply_chat_template, "Prompts go through the chat template");
  command.add_option("--template", a.template_name, "Chat template by LLaMA-Factory's name; default: the model's own");
  command.add_option("--fewshot-turns", a.shot_turns, "In a chat template: each solved question a turn, or all in one")
      ->check(CLI::IsMember({"multi", "one"}))
      ->needs(chat)
      ->capture_default_str();
  command.add_option("--max-new-tokens", a.max_new_tokens, "An answer's most tokens; default: the task's own")
      ->check(number_at_least(1));
}

}  // namespace

void add_eval_command(CLI::App& app, Action& action) {
  auto a = std::make_shared<EvalArguments>();
  CLI::App* command =
      app.add_subcommand("eval", "Benchmarks (arc_easy, gsm8k, ...) and held-out loss, with standard errors");
  command->add_option("--model", a->model, "Model folder")->required();
  add_adapter_option(*command, a->adapter);
  command->add_option("--tasks", a->tasks, "arc_easy,arc_challenge,gsm8k,squad,triviaqa,math,loss")
      ->delimiter(',')
      ->required();
  command->add_option("--data-dir", a->data_dir, "Folder with TASK/{train,validation,test}.{jsonl,json,parquet}");
  command->add_option("--data", a->data, "Held-out samples of the task loss");
  command->add_option("--out", a->out, "Folder of results.json and the answers; an evaluation that is there goes on")
      ->required();
  command->add_option("--style", a->style, "Whose prompts and scores")
      ->check(CLI::IsMember({"lm-eval", "opencompass"}))
      ->capture_default_str();
  command->add_option("--limit", a->limit, "Only the first so many questions of each task; 0: all")
      ->check(number_at_least(0))
      ->capture_default_str();
  add_prompt_options(*command, *a);
  command->add_option("--batch-size", a->batch_size, "Texts computed at a time")
      ->check(number_between(1, 1 << 16))
      ->capture_default_str();
  add_dtype_option(*command, a->dtype);
  add_device_option(*command, a->device);
  command->callback([a, &action] { action = [a] { return run_eval(*a); }; });
}

}  // namespace qtune
