// The Error-Uncertainty plane: a point a judgement, thresholds a step, texts of samples.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>

#include "pack.h"
#include "report_json.h"

namespace qtune {
namespace {

using Json = nlohmann::ordered_json;

struct StepRange {
  int64_t step = 0;
  size_t begin = 0, end = 0;  // of run.judgements
};

std::vector<StepRange> ranges_of_steps(const RunData& run) {
  std::vector<StepRange> ranges;
  for (size_t i = 0; i < run.judgements.size(); ++i) {
    const int64_t step = run.judgements[i].step;
    if (ranges.empty() || ranges.back().step != step) ranges.push_back({.step = step, .begin = i, .end = i});
    ranges.back().end = i + 1;
  }
  return ranges;
}

uint32_t flags_of(const Judgement& j) {
  return static_cast<uint32_t>(j.quadrant) | (j.kept ? 8U : 0U) | (j.supplement ? 16U : 0U);
}

/// By step; none where a step's samples have no common thresholds.
std::map<int64_t, Thresholds> thresholds_of(const RunData& run) {
  std::map<int64_t, Thresholds> found;
  // Each micro-batch had its own; the alpha in the metrics is that of one of them.
  if (run.config && run.config->config.pruning.scope == "micro") return found;
  std::map<int64_t, std::optional<double>> alphas;
  for (const StepMetrics& m : run.steps) alphas[m.step] = m.alpha;
  for (const StepRange& range : ranges_of_steps(run)) {
    const auto judged = std::span(run.judgements).subspan(range.begin, range.end - range.begin);
    if (const auto t = thresholds_of_step(judged, alphas[range.step])) found.emplace(range.step, *t);
  }
  return found;
}

Json threshold_json(const std::map<int64_t, Thresholds>& thresholds, int64_t step) {
  const auto found = thresholds.find(step);
  if (found == thresholds.end()) return nullptr;
  const Thresholds& t = found->second;
  return Json::array({short_number(t.ppl_lo), short_number(t.ppl_hi), short_number(t.ent_lo), short_number(t.ent_hi)});
}

/// Samples in the order in which their texts are wanted: those that are judged most often and never, or always, kept
/// come first, as the page's tables do; then all others, spread evenly over the ids.
std::vector<uint32_t> samples_by_interest(const RunData& run, const std::vector<size_t>& shown, size_t max_texts) {
  std::map<uint32_t, std::pair<int64_t, int64_t>> counts;  // judged, kept
  for (const size_t i : shown) {
    auto& [judged, kept] = counts[run.judgements[i].sample];
    ++judged;
    kept += run.judgements[i].kept ? 1 : 0;
  }
  std::vector<std::pair<int64_t, uint32_t>> extreme;
  std::vector<uint32_t> others;
  for (const auto& [sample, count] : counts) {
    const auto [judged, kept] = count;
    if (kept == 0 || kept == judged)
      extreme.emplace_back(-judged, sample);
    else
      others.push_back(sample);
  }
  std::ranges::sort(extreme);
  std::vector<uint32_t> order;
  const size_t first = std::min(extreme.size(), max_texts / 4);
  for (size_t i = 0; i < first; ++i) order.push_back(extreme[i].second);
  for (size_t i = first; i < extreme.size(); ++i) others.push_back(extreme[i].second);
  std::ranges::sort(others);
  const size_t room = max_texts - std::min(max_texts, first), taken = std::min(room, others.size());
  for (size_t i = 0; i < taken; ++i) order.push_back(others[i * others.size() / taken]);
  return order;
}

size_t bytes_of(const SampleText& text) {
  size_t bytes = 0;
  for (const std::string& piece : text.pieces) bytes += piece.size() + 3;
  return bytes;
}

Json json_of(const SampleText& text) {
  Json json = {{"pieces", text.pieces}, {"trainable", text.trainable}};
  if (text.salience.empty()) return json;
  std::vector<double> logarithms;
  for (const double s : text.salience) logarithms.push_back(std::log(std::max(s, 1e-30)));
  json["salience"] = packed_reals(logarithms);
  return json;
}

/// Which trainable tokens a judgement kept: null where all or none.
Json kept_json(const Judgement& j, const SampleText& text) {
  size_t num_tokens = 0;
  for (const int32_t n : text.trainable) num_tokens += static_cast<size_t>(n);
  if (!j.kept || j.kept_tokens.size() == num_tokens) return nullptr;
  std::vector<bool> flags(num_tokens);
  for (const int32_t k : j.kept_tokens) {
    if (static_cast<size_t>(k) < num_tokens) flags[static_cast<size_t>(k)] = true;
  }
  return packed_bits(flags);
}

}  // namespace

std::vector<size_t> shown_judgements(const RunData& run, size_t max_judgements) {
  const std::vector<StepRange> ranges = ranges_of_steps(run);
  size_t num_steps = ranges.size();
  if (run.judgements.size() > max_judgements) {
    num_steps = std::max<size_t>(1, num_steps * max_judgements / run.judgements.size());
  }
  for (;; --num_steps) {
    std::vector<size_t> shown;
    for (size_t k = 1; k <= num_steps; ++k) {
      const StepRange& range = ranges[k * ranges.size() / num_steps - 1];  // the last one is the run's last
      for (size_t i = range.begin; i < range.end; ++i) shown.push_back(i);
    }
    if (shown.size() <= max_judgements || num_steps <= 1) return shown;
  }
}

Json plane_json(const RunData& run, const std::vector<size_t>& shown) {
  const std::map<int64_t, Thresholds> thresholds = thresholds_of(run);
  Json steps = Json::array(), begins = Json::array(), lines = Json::array();
  std::vector<double> log_ppl, entropy;
  std::vector<uint32_t> samples, flags, tokens;
  int64_t last = -1;
  for (const size_t i : shown) {
    const Judgement& j = run.judgements[i];
    if (j.step != last) {
      steps.push_back(last = j.step);
      begins.push_back(samples.size());
      lines.push_back(threshold_json(thresholds, j.step));
    }
    samples.push_back(j.sample);
    log_ppl.push_back(std::log(j.perplexity));
    entropy.push_back(j.entropy);
    flags.push_back(flags_of(j));
    tokens.push_back(static_cast<uint32_t>(std::min<size_t>(j.kept_tokens.size(), 65535)));
  }
  return {{"count", shown.size()},
          {"of", run.judgements.size()},
          {"steps", std::move(steps)},
          {"begins", std::move(begins)},
          {"thresholds", std::move(lines)},
          {"sample", packed_integers(samples, 4)},
          {"log_ppl", packed_reals(log_ppl)},
          {"entropy", packed_reals(entropy)},
          {"flags", packed_integers(flags, 1)},
          {"tokens", packed_integers(tokens, 2)}};
}

Json texts_json(const ReportedRun& run, const std::vector<size_t>& shown, const TextLimits& limits) {
  Json texts = Json::object(), kept = Json::object();
  if (!run.find_texts || shown.empty()) return {{"texts", texts}, {"kept", kept}};
  const std::vector<uint32_t> wanted = samples_by_interest(run.data, shown, limits.max_texts);
  std::vector<std::string> ids;
  for (const uint32_t sample : wanted) ids.push_back(run.data.sample_ids[sample]);
  const std::map<std::string, SampleText> found = run.find_texts(ids);
  std::map<uint32_t, const SampleText*> by_sample;
  size_t bytes = 0;
  for (const uint32_t sample : wanted) {
    const auto text = found.find(run.data.sample_ids[sample]);
    if (text == found.end() || bytes + bytes_of(text->second) > limits.max_bytes) continue;
    bytes += bytes_of(text->second);
    by_sample.emplace(sample, &text->second);
    texts[std::to_string(sample)] = json_of(text->second);
  }
  for (size_t k = 0; k < shown.size(); ++k) {
    const Judgement& j = run.data.judgements[shown[k]];
    const auto text = by_sample.find(j.sample);
    if (text == by_sample.end()) continue;
    Json flags = kept_json(j, *text->second);
    if (!flags.is_null()) kept[std::to_string(k)] = std::move(flags);
  }
  return {{"texts", std::move(texts)}, {"kept", std::move(kept)}};
}

}  // namespace qtune
