// qtune report: runs and sweeps as one HTML file.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "commands.h"
#include "output_check.h"
#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/log.h"
#include "qtune/config/config_key.h"
#include "qtune/formats/model_config.h"
#include "qtune/prune/scores_file.h"
#include "qtune/report/report.h"
#include "qtune/text/load_samples.h"
#include "qtune/train/config_options.h"
#include "streams.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

struct ReportArguments {
  std::vector<std::string> folders;
  std::string out, scores;
  bool texts = true;
};

/// Saliences of each sample's trainable tokens, by its id.
using Saliences = std::unordered_map<std::string, std::vector<double>>;

Saliences read_saliences(const std::string& scores_file, const LoadedConfig& loaded) {
  const PrunerOptions options = pruner_options(loaded.config);
  Saliences found;
  for (const SampleScores& s : read_scores(scores_file).samples)
    found[s.id] = token_salience(s.nll, s.span, options.lambda, options.neighbours);
  return found;
}

LoadedSamples load_run_samples(const LoadedConfig& loaded) {
  const ModelConfig model = read_model_config(loaded.config.model_name_or_path);
  LoadedSamples samples = load_samples(sample_options(loaded, DatasetUse::kTraining, model));
  if (samples.tokenizer) return samples;
  try {
    samples.tokenizer = Tokenizer::load_tokenizer(loaded.config.model_name_or_path);
  } catch (const CheckpointError&) {
    // Pre-tokenized data needs none: its ids are shown.
  }
  return samples;
}

/// The texts of one run's samples.
class RunTexts {
 public:
  RunTexts(LoadedSamples samples, Saliences saliences, size_t max_tokens)
      : samples_(std::move(samples)), saliences_(std::move(saliences)), max_tokens_(max_tokens) {
    if (const auto tokenizer = samples_.tokenizer)
      decode_ = [tokenizer](std::span<const int32_t> ids) { return tokenizer->decode(ids); };
    for (size_t i = 0; i < samples_.samples.size(); ++i) indices_.emplace(samples_.samples[i].id.name(), i);
  }

  std::map<std::string, SampleText> find(std::span<const std::string> ids) const {
    std::map<std::string, SampleText> texts;
    for (const std::string& id : ids) {
      const auto index = indices_.find(id);
      if (index == indices_.end()) continue;
      const TokenizedSample sample = samples_.samples[index->second];
      SampleText text = sample_text(sample, decode_, max_tokens_);
      const auto salience = saliences_.find(id);
      // Scores of another tokenization say nothing about these tokens.
      if (salience != saliences_.end() && salience->second.size() == trainable_positions(sample).size())
        text.salience = salience->second;
      texts.emplace(id, std::move(text));
    }
    return texts;
  }

 private:
  LoadedSamples samples_;
  Saliences saliences_;
  size_t max_tokens_;
  DecodeIds decode_;
  std::unordered_map<std::string, size_t> indices_;
};

ReportedRun reported_run(const fs::path& folder, const ReportArguments& arguments, const ReportLimits& limits) {
  ReportedRun run{.data = read_run(folder)};
  if (!arguments.texts || !run.data.config || run.data.judgements.empty()) return run;
  const Saliences saliences =
      arguments.scores.empty() ? Saliences() : read_saliences(arguments.scores, *run.data.config);
  try {
    const auto texts =
        std::make_shared<RunTexts>(load_run_samples(*run.data.config), saliences, limits.max_tokens_of_text);
    run.find_texts = [texts](std::span<const std::string> ids) { return texts->find(ids); };
    if (!saliences.empty())
      run.text_note = fmt::format("token salience is that of {}, not of the step a sample was judged in",
                                  fs::path(arguments.scores).filename().string());
  } catch (const Error& e) {
    run.text_note = fmt::format("samples are shown without their texts: {}", e.what());
    spdlog::warn("{}: {}", run.data.name, run.text_note);
  }
  return run;
}

/// A single folder's report lies in it.
fs::path output_path(const ReportArguments& arguments) {
  if (!arguments.out.empty()) return arguments.out;
  return arguments.folders.size() == 1 ? fs::path(arguments.folders[0]) / "report.html" : "report.html";
}

int run_report(const ReportArguments& arguments) {
  const ReportLimits limits;
  const fs::path path = output_path(arguments);
  check_output("--out", path.string(), OutputKind::kPage, {arguments.scores});
  Report report;
  for (const std::string& folder : arguments.folders) {
    if (is_sweep_folder(folder)) {
      report.sweeps.push_back(read_sweep_table(folder));
    } else {
      report.runs.push_back(reported_run(folder, arguments, limits));
    }
  }
  const std::string page = render_report(report, limits);
  write_file_atomic(path, page);
  spdlog::info("report of {} runs and {} sweeps, {}", report.runs.size(), report.sweeps.size(),
               format_bytes(page.size()));
  write_output(path.string() + "\n");
  flush_output();
  return kExitOk;
}

}  // namespace

void add_report_command(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<ReportArguments>();
  CLI::App* command = app.add_subcommand("report", "Write runs and sweeps as one HTML file that needs nothing else");
  command->add_option("run", arguments->folders, "folders of runs (output_dir) or sweeps")->required();
  command->add_option("--out", arguments->out, "the file (RUN/report.html; with several folders ./report.html)");
  command->add_option("--scores", arguments->scores,
                      "scores file (qtune score) of these samples: their tokens are coloured by salience");
  command->add_flag("--texts,!--no-texts", arguments->texts, "the samples' texts are in the report (default)");
  command->callback([arguments, &action] { action = [arguments] { return run_report(*arguments); }; });
}

}  // namespace qtune
