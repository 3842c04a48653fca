// qtune convert: a model folder from a GGUF file, or from a folder with weights of another type or in other shards; or
// a GGUF file from a folder.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>

#include "commands.h"
#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/base/stop_signals.h"
#include "qtune/formats/convert.h"
#include "qtune/formats/convert_to_gguf.h"

namespace qtune {
namespace {

struct Arguments {
  std::string in, out, to = "hf", adapter, dtype, shard_size;
};

/// "5GB" -> 5'000'000'000, as the reference library counts; KiB, MiB, GiB are powers of 1024.
uint64_t parse_size(const std::string& text) {
  if (text == "0") return 0;
  static const std::map<std::string, double> kUnits = {{"KB", 1e3},      {"MB", 1e6},      {"GB", 1e9},
                                                       {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};
  const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const auto unit = kUnits.find(text.substr(digits));
  const double number = digits > 0 && text[0] != '.' ? std::strtod(text.c_str(), nullptr) : 0;
  if (unit == kUnits.end() || std::count(text.begin(), text.end(), '.') > 1 || !(number > 0 && number < 1e6)) {
    throw ConfigError(fmt::format(
        "--shard-size: expected a size like 5GB or 500MB, found \"{}\" ---> give a number and a unit", text));
  }
  return static_cast<uint64_t>(number * unit->second);
}

ConvertSummary run_to_hf(const Arguments& arguments) {
  static const std::map<std::string, Dtype> kDtypes = {
      {"bf16", Dtype::kBF16}, {"f16", Dtype::kF16}, {"f32", Dtype::kF32}};
  ConvertOptions options;
  if (arguments.dtype == "q8_0") {
    throw ConfigError("--dtype: expected bf16, f16 or f32 for a model folder, found q8_0 ---> --to gguf has it");
  }
  if (!arguments.dtype.empty()) options.dtype = kDtypes.at(arguments.dtype);
  options.adapter = arguments.adapter;
  if (!arguments.shard_size.empty()) options.shard_bytes = parse_size(arguments.shard_size);
  return convert_to_hf(arguments.in, arguments.out, options);
}

ConvertSummary run_to_gguf(const Arguments& arguments) {
  static const std::map<std::string, GgmlType> kTypes = {
      {"bf16", GgmlType::kBF16}, {"f16", GgmlType::kF16}, {"f32", GgmlType::kF32}, {"q8_0", GgmlType::kQ8_0}};
  if (!arguments.shard_size.empty()) {
    throw ConfigError("--shard-size: expected none with --to gguf, which writes one file ---> leave it out");
  }
  GgufOutOptions options;
  if (!arguments.dtype.empty()) options.type = kTypes.at(arguments.dtype);
  options.adapter = arguments.adapter;
  return convert_hf_to_gguf(arguments.in, arguments.out, options);
}

int run_convert(const Arguments& arguments) {
  const StopSignals signals;
  try {
    const ConvertSummary summary = arguments.to == "gguf" ? run_to_gguf(arguments) : run_to_hf(arguments);
    spdlog::info("{}: {}", arguments.out, summary.describe());
  } catch (const Error& e) {
    if (e.exit_code() == kExitInterrupted) {
      throw Error(fmt::format("{}: interrupted before it was whole ---> run it again", arguments.out),
                  kExitInterrupted);
    }
    // What the system refused (a full disk, no rights) concerns model files here.
    if (e.exit_code() == kExitError) throw CheckpointError(e.what());
    throw;
  }
  return kExitOk;
}

}  // namespace

void add_convert_command(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("convert", "Make a model folder from a GGUF file or another folder, or a GGUF file of one");
  command->add_option("IN", arguments->in, "GGUF file (llama architecture, byte-level BPE) or model folder")
      ->required();
  command->add_option("OUT", arguments->out, "Folder to write, new or empty; with --to gguf a file")->required();
  command->add_option("--to", arguments->to, "Format to write")
      ->check(CLI::IsMember({"hf", "gguf"}))
      ->capture_default_str();
  command
      ->add_option("--dtype", arguments->dtype,
                   "Type of the weights; q8_0 with --to gguf (default: bf16 from GGUF, from a folder as stored)")
      ->check(CLI::IsMember({"bf16", "f16", "f32", "q8_0"}));
  command->add_option("--adapter", arguments->adapter, "LoRA adapter (PEFT's folder) to merge into the weights");
  command->add_option("--shard-size", arguments->shard_size,
                      "Most bytes of one weights file, like 500MB (default: 5GB); 0: all in one file");
  command->callback([arguments, &action] { action = [arguments] { return run_convert(*arguments); }; });
}

}  // namespace qtune
