// qtune select: the pruning decision alone, on any scores file.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "commands.h"
#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/prune/pruner.h"
#include "qtune/prune/scores_file.h"
#include "streams.h"

namespace qtune {
namespace {

struct SelectOptions {
  std::string scores;
  std::string thresholds;  // file to write them to; empty: none
  std::string neighbours = "sum", supplement_tokens = "by_side";
  PrunerOptions pruner{.sample_method = "qtuning", .token_method = "qtuning"};
};

std::string line_of(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

void note_skipped(const std::string& scores, const std::vector<std::string>& skipped) {
  if (skipped.empty()) return;
  const size_t num_shown = std::min<size_t>(skipped.size(), 5);
  spdlog::info("{}: samples without a trained token skipped: {} ({}{})", scores, skipped.size(),
               fmt::join(skipped.begin(), skipped.begin() + static_cast<std::ptrdiff_t>(num_shown), ", "),
               num_shown < skipped.size() ? ", ..." : "");
}

int run_select(SelectOptions options) {
  options.pruner.neighbours = parse_neighbours(options.neighbours);
  options.pruner.supplement_tokens = parse_supplement_tokens(options.supplement_tokens);
  const Pruner pruner = make_pruner(options.pruner);
  const ScoresFile file = read_scores(options.scores);
  note_skipped(options.scores, file.skipped);
  if (file.samples.empty())
    throw DataError(options.scores +
                    ": expected at least one sample with a trained token, found none ---> check the file");

  const PruneDecision decision = pruner.decide(file.samples, {});
  if (!options.thresholds.empty()) {
    AtomicFileWriter thresholds = open_named_file("--thresholds", options.thresholds);
    thresholds.write(line_of(to_json(decision.thresholds.value())));
    thresholds.commit();
  }
  for (const SampleDecision& sample : decision.samples) write_output(line_of(to_json(sample)));
  flush_output();
  return kExitOk;
}

}  // namespace

void add_select_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<SelectOptions>();
  PrunerOptions& pruner = options->pruner;
  CLI::App* command = app.add_subcommand("select", "Decide on a scores file which samples and tokens Q-Tuning keeps");
  command->add_option("scores", options->scores, "scores file as qtune score writes it; - reads the standard input")
      ->required();
  command->add_option("--sample-keep", pruner.sample_keep, "share of samples kept, above 0 and up to 1")
      ->capture_default_str();
  command->add_option("--token-keep", pruner.token_keep, "share of a pruned sample's tokens kept, above 0 and up to 1")
      ->capture_default_str();
  command->add_option("--lambda", pruner.lambda, "weight of the neighbours in a token's salience, 0 to 1")
      ->capture_default_str();
  command->add_option("--neighbours", options->neighbours, "how two neighbours enter: sum or mean")
      ->capture_default_str();
  command->add_flag("--reverse,!--no-reverse", pruner.reverse, "keep the tokens with the highest salience");
  command->add_option("--iterations", pruner.iterations, "rounds of the bisection")->capture_default_str();
  command
      ->add_option("--supplement-tokens", options->supplement_tokens,
                   "tokens of kept samples from outside Q2 and Q4: by_side, keep or prune")
      ->capture_default_str();
  command->add_flag("--keep-end-of-turn,!--no-keep-end-of-turn", pruner.keep_end_of_turn,
                    "keep end-of-turn tokens before all others (default)");
  command->add_option("--thresholds", options->thresholds, "file for alpha, beta and the four thresholds (JSON)");
  command->callback([options, &action] { action = [options] { return run_select(*options); }; });
}

}  // namespace qtune
