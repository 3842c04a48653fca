// qtune select: the pruning decision alone, on any scores file.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "commands.h"
#include "number_range.h"
#include "output_check.h"
#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/prune/pruner.h"
#include "qtune/prune/scores_file.h"
#include "streams.h"

namespace qtune {
namespace {

struct SelectOptions {
  std::string scores;
  std::string thresholds;                     // file to write them to; empty: none
  std::string reference_scores, base_scores;  // files of other models' scores; empty: none
  std::string neighbours = "sum", supplement_tokens = "by_side";
  std::vector<std::string> kept_quadrants = {"Q2", "Q4"}, pruned_quadrants = {"Q2"};
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

bool needs(const Pruner& pruner, ScoreArray array) {
  const std::vector<ScoreArray> arrays = pruner.needed_arrays();
  return std::find(arrays.begin(), arrays.end(), array) != arrays.end();
}

/// nll of the same samples under another model, from its own scores file, into `array`.
void add_nll_from(const std::string& path, ScoreArray array, const char* flag, std::vector<SampleScores>& samples) {
  if (path.empty())
    throw ConfigError(
        fmt::format("{}: expected a scores file, found none ---> the token method compares with the "
                    "scores of another model; write them with qtune score",
                    flag));
  ScoresFile other = read_scores(path);
  // Samples with one id: the first stands for the first, and so on. 1 and "1" are two ids.
  std::map<std::pair<std::string, bool>, std::deque<std::vector<double>>> nll_of;
  for (SampleScores& s : other.samples) nll_of[{s.id, s.id_is_number}].push_back(std::move(s.nll));
  for (SampleScores& s : samples) {
    auto& left = nll_of[{s.id, s.id_is_number}];
    if (left.empty() || left.front().size() != s.nll.size())
      throw DataError(
          fmt::format("{}: expected {} trained tokens of sample \"{}\", found {} ---> score the same data "
                      "with the same tokenizer",
                      path, s.nll.size(), s.id, left.empty() ? "no such sample" : std::to_string(left.front().size())));
    s.*array = std::move(left.front());
    left.pop_front();
  }
}

void add_other_scores(const SelectOptions& options, const Pruner& pruner, std::vector<SampleScores>& samples) {
  if (needs(pruner, &SampleScores::attention))
    throw ConfigError(
        fmt::format("--token-method: expected a method of scores alone, found {} ---> only qtune train "
                    "sees attention",
                    options.pruner.token_method));
  if (needs(pruner, &SampleScores::reference_nll))
    add_nll_from(options.reference_scores, &SampleScores::reference_nll, "--reference-scores", samples);
  if (needs(pruner, &SampleScores::base_nll)) {
    const std::string& base = options.base_scores.empty() ? options.scores : options.base_scores;
    if (base != options.scores) return add_nll_from(base, &SampleScores::base_nll, "--base-scores", samples);
    for (SampleScores& s : samples) s.base_nll = s.nll;
  }
}

void write_thresholds(const std::string& path, const PruneDecision& decision, const std::string& method) {
  if (path.empty()) return;
  if (!decision.thresholds)
    throw ConfigError("--thresholds: expected sample method qtuning, found " + method + " ---> only it has thresholds");
  AtomicFileWriter thresholds = open_named_file("--thresholds", path);
  thresholds.write(line_of(to_json(*decision.thresholds)));
  thresholds.commit();
}

int run_select(SelectOptions options) {
  options.pruner.kept_quadrants = parse_quadrants(options.kept_quadrants);
  options.pruner.pruned_quadrants = parse_quadrants(options.pruned_quadrants);
  options.pruner.neighbours = parse_neighbours(options.neighbours);
  options.pruner.supplement_tokens = parse_supplement_tokens(options.supplement_tokens);
  const Pruner pruner = make_pruner(options.pruner);
  if (!options.thresholds.empty()) {
    check_output("--thresholds", options.thresholds, OutputKind::kThresholds,
                 {options.scores, options.reference_scores, options.base_scores, options.pruner.score_file});
  }
  ScoresFile file = read_scores(options.scores);
  note_skipped(options.scores, file.skipped);
  if (file.samples.empty())
    throw DataError(options.scores +
                    ": expected at least one sample with a trained token, found none ---> check the file");

  add_other_scores(options, pruner, file.samples);
  const PruneDecision decision = pruner.decide(file.samples, {});
  write_thresholds(options.thresholds, decision, options.pruner.sample_method);
  for (const SampleDecision& sample : decision.samples) write_output(line_of(to_json(sample)));
  flush_output();
  return kExitOk;
}

/// Other methods than Q-Tuning, and its ablations.
void add_method_options(CLI::App& command, SelectOptions& options) {
  PrunerOptions& pruner = options.pruner;
  command.add_option("--sample-method", pruner.sample_method, "how samples are chosen, as pruning.sample.method")
      ->capture_default_str();
  command
      .add_option("--token-method", pruner.token_method,
                  "how tokens are chosen, as pruning.token.method but for fastv and sparsevlm")
      ->capture_default_str();
  command.add_option("--score-file", pruner.score_file, "ratings for --sample-method score_file");
  command
      .add_option("--prune-probability", pruner.prune_probability,
                  "chance to be dropped for --sample-method infobatch, 0 to below 1")
      ->capture_default_str();
  command.add_option("--seed", pruner.seed, "of random and infobatch")
      ->check(number_at_least(0))
      ->capture_default_str();
  command.add_option("--reference-scores", options.reference_scores,
                     "scores file of the reference model, for --token-method rho1 and tokencleaning");
  command.add_option("--base-scores", options.base_scores,
                     "scores file of the base model, for --token-method tokencleaning (default: the scores file)");
  command.add_option("--kept-quadrants", options.kept_quadrants, "quadrants whose samples are kept first (Q2,Q4)")
      ->delimiter(',');
  command.add_option("--pruned-quadrants", options.pruned_quadrants, "quadrants whose samples' tokens are pruned (Q2)")
      ->delimiter(',');
}

}  // namespace

void add_select_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<SelectOptions>();
  PrunerOptions& pruner = options->pruner;
  CLI::App* command = app.add_subcommand(
      "select", "Decide on a scores file which samples and tokens are kept, by Q-Tuning or another method");
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
  command->add_flag("--reverse,!--no-reverse", pruner.reverse, "keep the tokens at the other end of the ranking");
  command->add_option("--iterations", pruner.iterations, "rounds of the bisection")->capture_default_str();
  command
      ->add_option("--supplement-tokens", options->supplement_tokens,
                   "tokens of kept samples from outside Q2 and Q4: by_side, keep or prune")
      ->capture_default_str();
  command->add_flag("--keep-end-of-turn,!--no-keep-end-of-turn", pruner.keep_end_of_turn,
                    "keep end-of-turn tokens before all others (default)");
  command->add_option("--thresholds", options->thresholds, "file for alpha, beta and the four thresholds (JSON)");
  add_method_options(*command, *options);
  command->callback([options, &action] { action = [options] { return run_select(*options); }; });
}

}  // namespace qtune
