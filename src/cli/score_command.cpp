// qtune score: the score pass alone, one line a sample.
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <memory>

#include "adapter_option.h"
#include "commands.h"
#include "device_option.h"
#include "dtype_option.h"
#include "number_range.h"
#include "output_check.h"
#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/log.h"
#include "qtune/base/stop_signals.h"
#include "qtune/formats/model_config.h"
#include "qtune/ops/fp8.h"
#include "qtune/prune/scores_file.h"
#include "qtune/score/score_pass.h"
#include "qtune/train/config_options.h"
#include "streams.h"

namespace qtune {
namespace {

struct ScoreArguments {
  std::string model, adapter, data, config, out, template_name, dtype = "float32", device = "auto";
  std::vector<std::string> overrides;  // key=value, with --config
  int64_t batch_size = 8;
};

/// With --config the samples are those of a training run; with --data the file alone decides, with default keys and
/// nothing cut away.
LoadedConfig data_config(const ScoreArguments& a) {
  if (!a.config.empty()) {
    std::vector<std::string> overrides = a.overrides;
    overrides.push_back("model_name_or_path=" + a.model);
    LoadedConfig loaded = load_train_config(a.config, overrides);
    log_notes(loaded);
    return loaded;
  }
  LoadedConfig loaded;
  loaded.config.model_name_or_path = a.model;
  loaded.config.dataset = {a.data};
  if (!a.template_name.empty()) loaded.config.template_name = a.template_name;
  loaded.config.cutoff_len = std::numeric_limits<int32_t>::max();
  return loaded;
}

void check_finite(const SampleScores& scores) {
  for (size_t k = 0; k < scores.nll.size(); ++k) {
    if (std::isfinite(scores.nll[k]) && std::isfinite(scores.entropy[k])) continue;
    throw NonFiniteError(
        fmt::format("{}: expected finite scores, found nll {} and entropy {} at token {} ---> the model's weights are "
                    "broken, or too large for this --dtype",
                    scores.id, scores.nll[k], scores.entropy[k], scores.positions[k]));
  }
}

/// Before anything is loaded.
void check_out(const ScoreArguments& a, const LoadSamplesOptions& options) {
  std::vector<std::string> inputs{a.config};
  for (const DatasetSpec& spec : options.datasets) {
    const std::vector<std::string> files = data_files(spec);
    inputs.insert(inputs.end(), files.begin(), files.end());
  }
  check_output("--out", a.out, OutputKind::kScores, inputs);
}

ScoreType score_type(const ScoreArguments& a, const ModelConfig& model, const at::Device& device) {
  if (a.dtype != "fp8") return ScoreType::kCompute;
  check_fp8_sizes("--dtype fp8", model);
  if (device.is_cuda() && !has_fp8(device)) {
    throw ConfigError(
        "--dtype fp8: expected a GPU of compute capability 8.9 or newer, found an older one ---> bfloat16");
  }
  if (device.is_cpu()) {
    spdlog::info("--dtype fp8: rounded as on a GPU, computed by plain ops: to compare decisions, not for speed");
  }
  return ScoreType::kFp8;
}

void write_scores(Model& model, const SampleSet& samples, const ScoreArguments& a, ScoreType type) {
  const StopSignals signals;
  size_t num_scored = 0;
  try {
    AtomicFileWriter out = open_named_file("--out", a.out);
    while (num_scored < samples.size()) {
      throw_if_stopped();
      std::vector<TokenizedSample> group;
      for (size_t i = num_scored; i < std::min(samples.size(), num_scored + static_cast<size_t>(a.batch_size)); ++i) {
        group.push_back(samples[i]);
      }
      for (const SampleScores& scores : score_pass(model, pointers_to(group), a.batch_size, type)) {
        check_finite(scores);
        out.write(scores_line(scores) + "\n");
      }
      num_scored += group.size();
    }
    out.commit();
  } catch (const Error& e) {
    if (e.exit_code() != kExitInterrupted) throw;
    throw Error(fmt::format("{}: interrupted after {} of {} samples, nothing is kept ---> run it again", a.out,
                            num_scored, samples.size()),
                kExitInterrupted);
  }
}

int run_score(const ScoreArguments& a) {
  const LoadedConfig loaded_config = data_config(a);
  const ModelConfig model_config = read_model_config(a.model);
  LoadSamplesOptions options = sample_options(loaded_config, DatasetUse::kTraining, model_config);
  options.untrained = UntrainedSamples::kKeep;
  check_out(a, options);
  check_named_file("--out", a.out);
  const LoadedSamples loaded = load_samples(options);
  const at::Device device = device_from(a.device);
  const ScoreType type = score_type(a, model_config, device);
  Model model =
      Model::load(a.model, {.compute_dtype = type == ScoreType::kFp8 ? at::kBFloat16 : parse_compute_dtype(a.dtype),
                            .device = device,
                            .adapter = adapter_from(a.adapter)});
  if (type == ScoreType::kFp8) model.prepare_fp8_scores();
  write_scores(model, loaded.samples, a, type);
  spdlog::info("{}: scored {}", a.out, loaded.summary());
  return kExitOk;
}

}  // namespace

void add_score_command(CLI::App& app, Action& action) {
  auto a = std::make_shared<ScoreArguments>();
  CLI::App* command = app.add_subcommand("score", "Loss and entropy of every trainable token, a line a sample");
  command->add_option("--model", a->model, "Model folder")->required();
  add_adapter_option(*command, a->adapter);
  auto* data = command->add_option("--data", a->data, "Data file or folder (.jsonl, .json, .parquet)");
  auto* config = command->add_option("--config", a->config, "Training config whose dataset is scored");
  data->excludes(config);
  command->add_option("--out", a->out, "File to write")->required();
  command->add_option("--template", a->template_name, "Chat template by LLaMA-Factory's name; default: the model's own")
      ->excludes(config);
  command->add_option("overrides", a->overrides, "With --config: key=value, in place of the file's")->needs(config);
  command->add_option("--batch-size", a->batch_size, "Samples computed at a time")
      ->check(number_at_least(1))
      ->capture_default_str();
  add_dtype_option(*command, a->dtype, {"float32", "bfloat16", "fp8"});
  add_device_option(*command, a->device);
  command->callback([a, &action] {
    if (a->data.empty() && a->config.empty()) throw ConfigError("score: expected --data or --config, found neither");
    action = [a] { return run_score(*a); };
  });
}

}  // namespace qtune
