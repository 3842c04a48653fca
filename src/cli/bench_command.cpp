// qtune bench: speed of a training step and of its kernels on this machine.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "commands.h"
#include "device_option.h"
#include "dtype_option.h"
#include "number_range.h"
#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/bench/kernel_bench.h"
#include "qtune/bench/step_bench.h"

namespace qtune {
namespace {

using Json = nlohmann::ordered_json;

struct BenchArguments {
  std::string dtype = "bfloat16", device = "auto";
  bool json = false;
  // step
  std::string model, finetuning_type = "full", score_dtype = "null";
  double sample_keep = 0.125, token_keep = 0.5;
  bool gradient_checkpointing = false, plain = false;
  int64_t batch_size = 8, accumulation = 4, length = 256, steps = 5;
  // kernels; 0: by the device
  int64_t rows = 0, hidden = 0;
  std::vector<int64_t> vocab_sizes;
};

std::string milliseconds(double seconds) { return fmt::format("{:.3f}", seconds * 1e3); }

Json to_json(const StepBenchResult& r, const DevicePeaks& peaks) {
  return {{"step_seconds", r.step_seconds},
          {"seconds",
           {{"score", r.score_seconds},
            {"decide", r.decide_seconds},
            {"train", r.train_seconds},
            {"optimizer", r.optimizer_seconds}}},
          {"samples", r.num_samples},
          {"tokens", r.num_tokens},
          {"kept_samples", r.kept_samples},
          {"kept_tokens", r.kept_tokens},
          {"targets", r.targets},
          {"samples_per_second", r.samples_per_second()},
          {"tokens_per_second", r.tokens_per_second()},
          {"peak_memory_bytes", r.peak_memory_bytes},
          {"step_flops", r.step_flops},
          {"step_bytes", r.step_bytes},
          {"roofline_share", roofline_share(r, peaks)}};
}

std::string text_of(const char* name, const StepBenchResult& r, const DevicePeaks& peaks) {
  return fmt::format(
      "{:<8} {:>9} ms a step: score {}, decide {}, train {}, optimizer {}\n"
      "         {:.1f} samples/s, {:.0f} tokens/s; {} of {} samples and {} targets trained\n"
      "         memory {}; {:.1f} % of the roofline ({:.2f} TFLOP and {:.2f} GB a step at {:.2f} TFLOP/s and {:.1f} "
      "GB/s)\n",
      name, milliseconds(r.step_seconds), milliseconds(r.score_seconds), milliseconds(r.decide_seconds),
      milliseconds(r.train_seconds), milliseconds(r.optimizer_seconds), r.samples_per_second(), r.tokens_per_second(),
      r.kept_samples, r.num_samples, r.targets, format_bytes(static_cast<uint64_t>(r.peak_memory_bytes)),
      100 * roofline_share(r, peaks), r.step_flops / 1e12, r.step_bytes / 1e9, peaks.flops / 1e12, peaks.bytes / 1e9);
}

int run_step(const BenchArguments& a) {
  StepBenchOptions options{.model = a.model,
                           .model_options = {.compute_dtype = parse_compute_dtype(a.dtype),
                                             .device = device_from(a.device),
                                             .gradient_checkpointing = a.gradient_checkpointing},
                           .num_samples = a.batch_size * a.accumulation,
                           .micro_batch = a.batch_size,
                           .length = a.length,
                           .num_steps = static_cast<int>(a.steps)};
  if (a.finetuning_type == "lora") options.model_options.adapter = AdapterOptions{};
  StepBenchOptions pruning = options;
  pruning.pruner.sample_method = pruning.pruner.token_method = "qtuning";
  pruning.score_type = a.score_dtype == "fp8" ? ScoreType::kFp8 : ScoreType::kCompute;
  pruning.pruner.sample_keep = a.sample_keep;
  pruning.pruner.token_keep = a.token_keep;
  // First the one that takes less memory.
  std::optional<StepBenchResult> pruned;
  if (!a.plain) pruned = bench_step(pruning);
  const StepBenchResult all = bench_step(options);
  const DevicePeaks peaks = measure_peaks(options.model_options.device, options.model_options.compute_dtype);
  Json out = {{"model", a.model},
              {"device", options.model_options.device.str()},
              {"dtype", a.dtype},
              {"finetuning_type", a.finetuning_type},
              {"batch_size", a.batch_size},
              {"gradient_accumulation_steps", a.accumulation},
              {"length", a.length},
              {"product_flops_per_second", peaks.flops},
              {"copy_bytes_per_second", peaks.bytes},
              {"all_data", to_json(all, peaks)}};
  std::string text = text_of("all data", all, peaks);
  if (pruned) {
    // What is possible as long as every sample is scored once, at the arithmetic rate of training on all data.
    const double kept = pruned->train_flops / all.train_flops;
    const double bound = all.step_seconds / (pruned->score_seconds + kept * all.train_seconds + all.optimizer_seconds);
    const double gain = all.step_seconds / pruned->step_seconds;
    out["qtuning"] = to_json(*pruned, peaks);
    out["speedup"] = gain;
    out["bound"] = bound;
    text += text_of("qtuning", *pruned, peaks);
    text += fmt::format("{:.2f} x the samples/s of all data; bound {:.2f} x, {:.1f} % of it\n", gain, bound,
                        100 * gain / bound);
  }
  fmt::print("{}", a.json ? out.dump(1) + "\n" : text);
  return kExitOk;
}

int run_kernels(const BenchArguments& a) {
  KernelBenchOptions options{.device = device_from(a.device), .compute_dtype = parse_compute_dtype(a.dtype)};
  const bool cpu = options.device.is_cpu();
  options.num_rows = a.rows > 0 ? a.rows : cpu ? 512 : 8192;
  options.hidden_size = a.hidden > 0 ? a.hidden : cpu ? 576 : 2048;
  options.intermediate_size = 4 * options.hidden_size;
  options.num_heads = options.num_kv_heads = options.hidden_size / 64;
  if (!a.vocab_sizes.empty()) options.vocab_sizes = a.vocab_sizes;
  if (options.hidden_size % 64 != 0) {
    throw ConfigError(fmt::format("--hidden: expected a multiple of 64, found {}", options.hidden_size));
  }
  Json rows = Json::array();
  std::string text = fmt::format("{} rows, hidden {}, {}\n{:<26} {:>12} {:>12} {:>10} {:>8}\n", options.num_rows,
                                 options.hidden_size, a.dtype, "", "median ms", "min ms", "", "share");
  for (const KernelResult& r : bench_kernels(options)) {
    const bool memory = r.num_bytes > 0;
    const double rate = static_cast<double>(memory ? r.num_bytes : r.num_flops) / r.timing.median_seconds;
    rows.push_back({{"name", r.name},
                    {"median_seconds", r.timing.median_seconds},
                    {"min_seconds", r.timing.min_seconds},
                    {"runs", r.timing.num_runs},
                    {memory ? "bytes_per_second" : "flops_per_second", rate},
                    {"share", r.share}});
    text +=
        fmt::format("{:<26} {:>12} {:>12} {:>10} {:>7.2f} x\n", r.name, milliseconds(r.timing.median_seconds),
                    milliseconds(r.timing.min_seconds),
                    memory ? fmt::format("{:.1f} GB/s", rate / 1e9) : fmt::format("{:.2f} TF/s", rate / 1e12), r.share);
  }
  text += "share: of the copy's bytes a second, or of the arithmetic rate of the bare product of the same shape\n";
  const Json out = {{"device", options.device.str()},
                    {"dtype", a.dtype},
                    {"rows", options.num_rows},
                    {"hidden", options.hidden_size},
                    {"kernels", std::move(rows)}};
  fmt::print("{}", a.json ? out.dump(1) + "\n" : text);
  return kExitOk;
}

void add_common(CLI::App& command, BenchArguments& a) {
  add_dtype_option(command, a.dtype);
  add_device_option(command, a.device);
  command.add_flag("--json", a.json, "JSON on the standard output");
}

}  // namespace

void add_bench_command(CLI::App& app, Action& action) {
  auto a = std::make_shared<BenchArguments>();
  CLI::App* command = app.add_subcommand("bench", "Speed of a training step, or of its kernels, on this machine");
  command->require_subcommand(1);
  CLI::App* step = command->add_subcommand("step", "Steps on made-up text: all data against Q-Tuning");
  step->add_option("--model", a->model, "Model folder")->required();
  step->add_option("--finetuning-type", a->finetuning_type)
      ->check(CLI::IsMember({"full", "lora"}))
      ->capture_default_str();
  step->add_option("--batch-size", a->batch_size, "Samples of a micro-batch")
      ->check(number_between(1, 4096))
      ->capture_default_str();
  step->add_option("--accumulation", a->accumulation, "Micro-batches of a step")
      ->check(number_between(1, 4096))
      ->capture_default_str();
  step->add_option("--length", a->length, "Tokens of a sample, half of them trained")
      ->check(number_between(2, 1 << 20))
      ->capture_default_str();
  step->add_option("--steps", a->steps, "Measured steps")->check(number_between(1, 1000))->capture_default_str();
  step->add_option("--sample-keep", a->sample_keep)->check(number_between(1e-6, 1.0))->capture_default_str();
  step->add_option("--token-keep", a->token_keep)->check(number_between(1e-6, 1.0))->capture_default_str();
  step->add_option("--score-dtype", a->score_dtype, "Of Q-Tuning's score pass; null: the compute type")
      ->check(CLI::IsMember({"null", "fp8"}))
      ->capture_default_str();
  step->add_flag("--gradient-checkpointing", a->gradient_checkpointing);
  step->add_flag("--plain", a->plain, "All data only");
  add_common(*step, *a);
  step->callback([a, &action] { action = [a] { return run_step(*a); }; });

  CLI::App* kernels = command->add_subcommand("kernels", "Ops one by one, beside a copy and a bare product");
  kernels->add_option("--rows", a->rows, "Default: 8192 on a GPU, 512 on the CPU")->check(number_between(1, 1 << 24));
  kernels->add_option("--hidden", a->hidden, "Default: 2048 on a GPU, 576 on the CPU")
      ->check(number_between(64, 1 << 16));
  kernels->add_option("--vocab", a->vocab_sizes, "Default: 32000 49152 128256 151936")
      ->check(number_between(2, 1 << 22));
  add_common(*kernels, *a);
  kernels->callback([a, &action] { action = [a] { return run_kernels(*a); }; });
}

}  // namespace qtune
