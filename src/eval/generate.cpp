#include "qtune/eval/generate.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <list>
#include <optional>

#include "qtune/base/error.h"
#include "qtune/base/rng.h"

namespace qtune {
namespace {

/// Prompt tokens in one pass of the model: enough for matrix products at full speed, and a bound on memory.
constexpr int64_t kMaxPromptRows = 512;
/// A common beginning shorter than this is not worth a pass of its own.
constexpr size_t kMinCommonPrefix = 16;
constexpr uint64_t kSamplingStream = 0x67656e;

/// One prompt on its way.
struct Sequence {
  size_t index = 0;
  std::vector<int32_t> ids;  // the prompt, then what was generated
  size_t prompt_size = 0;
  int64_t room = 0;  // tokens that may be generated
  bool ends_with_positions = false;
  KeyValueCache cache;               // of the first ids
  std::unordered_set<int32_t> seen;  // for the repetition penalty
  std::optional<FinishReason> finished;

  std::span<const int32_t> pending() const { return std::span(ids).subspan(static_cast<size_t>(cache.length)); }
  size_t num_generated() const { return ids.size() - prompt_size; }
  Generation result() const {
    return {.ids = {ids.begin() + static_cast<int64_t>(prompt_size), ids.end()},
            .reason = finished.value_or(FinishReason::kCancelled)};
  }
};

class Generator {
 public:
  Generator(Model& model, const GenerateOptions& options, size_t num_prompts)
      : model_(model), options_(options), num_prompts_(num_prompts) {}

  std::string place(size_t index) const {
    return num_prompts_ == 1 ? "generate" : fmt::format("generate: prompt {}", index + 1);
  }

  void check(size_t index, size_t prompt_size) const {
    const int64_t positions = model_.config().max_positions;
    if (prompt_size == 0) throw Error(place(index) + ": the prompt has no token");
    if (static_cast<int64_t>(prompt_size) >= positions) {
      throw Error(
          fmt::format("{}: the prompt has {} tokens, the model {} positions", place(index), prompt_size, positions));
    }
  }

  Sequence start(size_t index, const std::vector<int32_t>& prompt, KeyValueCache cache) const {
    check(index, prompt.size());
    const int64_t left = model_.config().max_positions - static_cast<int64_t>(prompt.size());
    Sequence s{.index = index,
               .ids = prompt,
               .prompt_size = prompt.size(),
               .room = std::clamp<int64_t>(options_.max_new_tokens, 0, left),
               .ends_with_positions = options_.max_new_tokens > left,
               .cache = std::move(cache)};
    if (s.room == 0) s.finished = FinishReason::kLength;
    if (penalizes()) s.seen.insert(prompt.begin(), prompt.end());
    return s;
  }

  /// One pass of the model. Of the sequences that have a new token then, `advanced` gets the indices in `sequences`.
  void step(const std::vector<Sequence*>& sequences, std::vector<size_t>& advanced) {
    std::vector<SequenceTokens> tokens;
    std::vector<size_t> taking_part;
    int64_t prompt_rows = 0;
    for (size_t i = 0; i < sequences.size(); ++i) {
      std::span<const int32_t> pending = sequences[i]->pending();
      if (pending.size() > 1) {
        const int64_t free = kMaxPromptRows - prompt_rows;
        if (free <= 0) continue;
        pending = pending.first(std::min(pending.size(), static_cast<size_t>(free)));
        prompt_rows += static_cast<int64_t>(pending.size());
      }
      tokens.push_back({.ids = pending, .cache = &sequences[i]->cache});
      taking_part.push_back(i);
    }
    const at::Tensor logits_SV = model_.next_token_logits(tokens);
    advanced.clear();
    std::vector<int64_t> rows;
    for (size_t k = 0; k < taking_part.size(); ++k) {
      if (!sequences[taking_part[k]]->pending().empty()) continue;  // a long prompt: more of it is to come
      advanced.push_back(taking_part[k]);
      rows.push_back(static_cast<int64_t>(k));
    }
    std::vector<int32_t> chosen(rows.size());
    at::parallel_for(0, static_cast<int64_t>(rows.size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) {
        const auto i = static_cast<size_t>(k);
        const int64_t v = logits_SV.size(1);
        chosen[i] =
            choose(*sequences[advanced[i]], {logits_SV.data_ptr<float>() + rows[i] * v, static_cast<size_t>(v)});
      }
    });
    for (size_t i = 0; i < advanced.size(); ++i) append(*sequences[advanced[i]], chosen[i]);
  }

 private:
  bool penalizes() const { return options_.sampling.repetition_penalty != 1; }

  int32_t choose(const Sequence& s, std::span<float> logits) const {
    float poison = 0;  // of finite values: 0
#pragma omp simd reduction(+ : poison)
    for (size_t i = 0; i < logits.size(); ++i) poison += logits[i] - logits[i];
    if (poison != 0 || std::isnan(poison)) {
      throw NonFiniteError(fmt::format(
          "{}: expected finite logits, found others behind token {} ---> the model's weights are broken, or "
          "too large for this --dtype",
          place(s.index), s.ids.size()));
    }
    if (penalizes()) penalize_repetition(logits, s.seen, options_.sampling.repetition_penalty);
    CounterRng rng(options_.sampling.seed, mix64(s.index) ^ kSamplingStream, s.num_generated());
    return choose_token(logits, options_.sampling, rng.next_unit());
  }

  void append(Sequence& s, int32_t id) {
    s.ids.push_back(id);
    if (penalizes()) s.seen.insert(id);
    if (std::find(options_.stop_ids.begin(), options_.stop_ids.end(), id) != options_.stop_ids.end()) {
      s.finished = FinishReason::kStop;
    } else if (static_cast<int64_t>(s.num_generated()) >= s.room) {
      s.finished = s.ends_with_positions ? FinishReason::kPositions : FinishReason::kLength;
    }
  }

  Model& model_;
  const GenerateOptions& options_;
  size_t num_prompts_;
};

size_t common_prefix(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

/// What all prompts begin with, but for at least one token of each.
size_t common_prefix(const std::vector<std::vector<int32_t>>& prompts) {
  if (prompts.size() < 2) return 0;
  size_t common = prompts[0].size() - 1;
  for (const auto& prompt : prompts) common = std::min({common, common_prefix(prompts[0], prompt), prompt.size() - 1});
  return common < kMinCommonPrefix ? 0 : common;
}

/// A cache that has seen `ids`, in passes of bounded size.
KeyValueCache compute_cache(Model& model, std::span<const int32_t> ids) {
  KeyValueCache cache = model.make_cache();
  while (!ids.empty()) {
    const auto part = ids.first(std::min(ids.size(), static_cast<size_t>(kMaxPromptRows)));
    model.next_token_logits({{.ids = part, .cache = &cache}});
    ids = ids.subspan(part.size());
  }
  return cache;
}

}  // namespace

PrefixCache make_prefix_cache(const Model& model) { return {.cache = model.make_cache(), .ids = {}}; }

Generation generate(Model& model, const std::vector<int32_t>& prompt_ids, const GenerateOptions& options,
                    const std::function<bool(int32_t)>& on_token) {
  PrefixCache prefix = make_prefix_cache(model);
  return generate(model, prompt_ids, options, on_token, prefix, {});
}

Generation generate(Model& model, const std::vector<int32_t>& prompt_ids, const GenerateOptions& options,
                    const std::function<bool(int32_t)>& on_token, PrefixCache& prefix,
                    const std::function<bool()>& cancelled) {
  Generator generator(model, options, 1);
  generator.check(0, prompt_ids.size());
  // At least one token must run: its logits are needed.
  prefix.cache.truncate(static_cast<int64_t>(std::min(common_prefix(prefix.ids, prompt_ids), prompt_ids.size() - 1)));
  Sequence s = generator.start(0, prompt_ids, std::move(prefix.cache));
  struct GiveBack {
    ~GiveBack() {
      prefix.ids.assign(s.ids.begin(), s.ids.begin() + s.cache.length);
      prefix.cache = std::move(s.cache);
    }
    Sequence& s;
    PrefixCache& prefix;
  } const give_back{s, prefix};
  std::vector<size_t> advanced;
  while (!s.finished) {
    if (cancelled && cancelled()) {
      s.finished = FinishReason::kCancelled;
      break;
    }
    generator.step({&s}, advanced);
    if (!advanced.empty() && !on_token(s.ids.back()) && s.finished != FinishReason::kStop) {
      s.finished = FinishReason::kCancelled;
    }
  }
  return s.result();
}

std::vector<Generation> generate_batch(Model& model, const std::vector<std::vector<int32_t>>& prompts,
                                       const GenerateOptions& options, const BatchOptions& batch) {
  Generator generator(model, options, prompts.size());
  for (size_t i = 0; i < prompts.size(); ++i) generator.check(i, prompts[i].size());
  const size_t common = common_prefix(prompts);
  const KeyValueCache shared =
      common > 0 ? compute_cache(model, std::span(prompts[0]).first(common)) : model.make_cache();
  std::vector<Generation> results(prompts.size());
  std::list<Sequence> active;  // never moved: the passes hold pointers
  std::vector<size_t> advanced;
  size_t next = 0;
  while (next < prompts.size() || !active.empty()) {
    while (next < prompts.size() && static_cast<int64_t>(active.size()) < std::max<int64_t>(batch.batch_size, 1)) {
      active.push_back(generator.start(next, prompts[next], shared.clone()));
      ++next;
    }
    std::vector<Sequence*> running;
    for (Sequence& s : active) {
      if (!s.finished) running.push_back(&s);
    }
    if (!running.empty()) generator.step(running, advanced);
    for (const size_t i : advanced) {
      Sequence& s = *running[i];
      if (batch.on_token && !batch.on_token(s.index, s.ids.back()) && s.finished != FinishReason::kStop) {
        s.finished = FinishReason::kCancelled;
      }
    }
    advanced.clear();
    for (auto s = active.begin(); s != active.end();) {
      if (!s->finished) {
        ++s;
        continue;
      }
      results[s->index] = s->result();
      if (batch.on_finished) batch.on_finished(s->index, results[s->index]);
      s = active.erase(s);
    }
  }
  return results;
}

const char* finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kCancelled:
      return "abort";
    case FinishReason::kLength:
    case FinishReason::kPositions:
      break;
  }
  return "length";
}

}  // namespace qtune
