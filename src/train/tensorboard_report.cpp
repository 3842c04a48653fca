#include "tensorboard_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "output_dir.h"
#include "qtune/base/error.h"
#include "qtune/config/print_config.h"
#include "qtune/text/tokenizer.h"

namespace qtune {
namespace {

/// 0: the run's logs begin here, too.
int64_t first_step_of(const TrainingRun& run) {
  const bool goes_on = run.resumed_from && is_own_checkpoint(*run.resumed_from, run.output_dir);
  return goes_on ? run.state.step + 1 : 0;
}

DecodeIds decoder_of(const std::string& model_folder) {
  try {
    const std::shared_ptr<const Tokenizer> tokenizer = Tokenizer::load_tokenizer(model_folder);
    return [tokenizer](std::span<const int32_t> ids) { return tokenizer->decode(ids); };
  } catch (const CheckpointError&) {
    return {};  // pre-tokenized data needs none
  }
}

/// Indented by four: Markdown then shows it as it is.
std::string code_block(const std::string& text) {
  std::string block = "    ";
  for (const char c : text) {
    block += c;
    if (c == '\n') block += "    ";
  }
  return block;
}

std::string shown(double score) { return std::isfinite(score) ? fmt::format("{:.3f}", score) : "-"; }

std::string sample_markdown(const TokenizedSample& sample, const SampleDecision& fate, const DecodeIds& decode) {
  const std::vector<int32_t> trainable = trainable_positions(sample);
  TokenizedSample in_loss = sample;
  std::ranges::fill(in_loss.trained, 0);
  for (const int32_t k : fate.kept_tokens) in_loss.trained[static_cast<size_t>(trainable[static_cast<size_t>(k)])] = 1;
  const std::string id = code_block(terminal_safe(sample.id.name()));
  return fmt::format(
      "{}\n\n{}, perplexity {}, entropy {}; {} of {} tokens in the loss, between \u27e6 and \u27e7:\n\n{}\n", id,
      quadrant_name(fate.quadrant), shown(fate.perplexity), shown(fate.entropy), fate.kept_tokens.size(),
      trainable.size(), code_block(marked_text(in_loss, decode, MarkStyle::kBrackets)));
}

}  // namespace

bool reports_to_tensorboard(const TrainConfig& config) {
  return std::ranges::any_of(config.report_to,
                             [](const std::string& name) { return name == "tensorboard" || name == "all"; });
}

TensorBoardReport::TensorBoardReport(const TrainingRun& run)
    : writer_(run.output_dir, first_step_of(run)), decode_(decoder_of(run.config().model_name_or_path)) {
  if (first_step_of(run) == 0) writer_.write_text(0, "config", code_block(to_yaml(run.config())) + "\n");
}

void TensorBoardReport::write(const EvalMetrics& metrics) {
  writer_.write(metrics);
  for (const SampleGeneration& g : metrics.generations) {
    const std::string markdown = fmt::format("prompt:\n\n{}\n\nexpected:\n\n{}\n\nanswered:\n\n{}\n",
                                             code_block(g.prompt), code_block(g.expected), code_block(g.text));
    writer_.write_text(metrics.step, "answers/" + terminal_safe(g.id), markdown);
  }
}

void TensorBoardReport::write(const StepResult& result) {
  const std::vector<SampleDecision>& fates = result.decision.samples;
  writer_.write(result.metrics, fates);
  const auto first_kept = std::ranges::find_if(fates, [](const SampleDecision& fate) { return fate.kept; });
  if (first_kept == fates.end()) return;
  const auto& sample = result.samples[static_cast<size_t>(std::distance(fates.begin(), first_kept))];
  writer_.write_text(result.metrics.step, "first_kept_sample", sample_markdown(sample, *first_kept, decode_));
}

}  // namespace qtune
