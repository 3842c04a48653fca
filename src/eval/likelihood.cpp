#include "qtune/eval/likelihood.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/logsumexp.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "qtune/base/error.h"
#include "qtune/batch/pack.h"

namespace qtune {
namespace {

/// Tokens of contexts in one pass of the model.
constexpr size_t kMaxContextRows = 512;

/// One continuation on its way.
struct Continuation {
  std::span<const int32_t> ids;
  KeyValueCache cache;  // of the context and the first `num_scored - 1` of ids
  size_t num_scored = 0;
  double logprob = 0;
};

/// ln p of `ids` under rows of logits.
std::vector<double> logprobs_of(const at::Tensor& logits_SV, const std::vector<int32_t>& ids) {
  const at::Tensor normalizer_S = at::logsumexp(logits_SV, {1});
  std::vector<double> logprobs;
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    const double value = static_cast<double>(logits_SV.data_ptr<float>()[row * logits_SV.size(1) + ids[i]]) -
                         static_cast<double>(normalizer_S.data_ptr<float>()[row]);
    if (!std::isfinite(value)) {
      throw NonFiniteError(
          "eval: expected finite log-likelihoods, found others ---> the model's weights are broken, or too large for "
          "this --dtype");
    }
    logprobs.push_back(value);
  }
  return logprobs;
}

/// Runs all but the last of `ids` into the cache.
void run_ahead(Model& model, std::span<const int32_t> ids, KeyValueCache& cache) {
  while (ids.size() > kMaxContextRows) {
    model.next_token_logits({{.ids = ids.first(kMaxContextRows), .cache = &cache}});
    ids = ids.subspan(kMaxContextRows);
  }
  if (ids.size() > 1) model.next_token_logits({{.ids = ids.first(ids.size() - 1), .cache = &cache}});
}

/// The end of the context that leaves room for its longest continuation: all tokens but the last one are read.
std::span<const int32_t> fitting_context(const ContinuationRequest& request, int64_t positions) {
  size_t longest = 0;
  for (const auto& ids : request.continuations) longest = std::max(longest, ids.size());
  const auto room = positions + 1 - static_cast<int64_t>(longest);
  if (longest == 0 || request.context.empty() || room < 1) {
    throw Error(
        fmt::format("likelihood: expected a context, and continuations of 1 to {} tokens, found {} and up to {}",
                    positions, request.context.size(), longest));
  }
  const std::span<const int32_t> all(request.context);
  return all.last(std::min(all.size(), static_cast<size_t>(room)));
}

/// The first token of every continuation is predicted by the context's last.
std::vector<Continuation> start(Model& model, const ContinuationRequest& request) {
  const std::span<const int32_t> context = fitting_context(request, model.config().max_positions);
  KeyValueCache cache = model.make_cache();
  run_ahead(model, context, cache);
  const at::Tensor logits_1V = model.next_token_logits({{.ids = context.last(1), .cache = &cache}});
  std::vector<Continuation> started;
  for (const auto& ids : request.continuations) {
    started.push_back(
        {.ids = ids, .cache = cache.clone(), .num_scored = 1, .logprob = logprobs_of(logits_1V, {ids[0]})[0]});
  }
  return started;
}

void advance(Model& model, const std::vector<Continuation*>& running) {
  std::vector<SequenceTokens> tokens;
  std::vector<int32_t> targets;
  for (Continuation* c : running) {
    tokens.push_back({.ids = c->ids.subspan(c->num_scored - 1, 1), .cache = &c->cache});
    targets.push_back(c->ids[c->num_scored]);
  }
  const std::vector<double> logprobs = logprobs_of(model.next_token_logits(tokens), targets);
  for (size_t i = 0; i < running.size(); ++i) {
    running[i]->logprob += logprobs[i];
    ++running[i]->num_scored;
  }
}

void finish(Model& model, std::vector<std::vector<Continuation>>& group) {
  while (true) {
    std::vector<Continuation*> running;
    for (auto& continuations : group) {
      for (Continuation& c : continuations) {
        if (c.num_scored < c.ids.size()) running.push_back(&c);
      }
    }
    if (running.empty()) return;
    advance(model, running);
  }
}

}  // namespace

void continuation_logprobs(Model& model, std::span<const ContinuationRequest> requests, int64_t batch_size,
                           const std::function<void(size_t, const std::vector<double>&)>& on_done) {
  std::vector<size_t> order(requests.size());
  std::iota(order.begin(), order.end(), size_t{0});
  // The longest first: what does not fit into memory shows at once.
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return requests[a].context.size() > requests[b].context.size(); });
  for (size_t next = 0; next < order.size();) {
    const size_t first = next;
    std::vector<std::vector<Continuation>> group;
    for (size_t count = 0; next < order.size() && (group.empty() || static_cast<int64_t>(count) < batch_size); ++next) {
      group.push_back(start(model, requests[order[next]]));
      count += group.back().size();
    }
    finish(model, group);
    for (size_t i = 0; i < group.size(); ++i) {
      std::vector<double> logprobs;
      for (const Continuation& c : group[i]) logprobs.push_back(c.logprob);
      on_done(order[first + i], logprobs);
    }
  }
}

std::vector<double> whole_text_nll(Model& model, const std::vector<std::vector<int32_t>>& texts) {
  std::vector<PackedSample> samples;
  for (const auto& ids : texts) {
    if (ids.size() < 2)
      throw Error(fmt::format("likelihood: expected a text of at least 2 tokens, found {}", ids.size()));
    PackedSample sample{.input_ids = {ids.begin(), ids.end() - 1}, .rows = {}, .targets = {ids.begin() + 1, ids.end()}};
    sample.rows.resize(sample.input_ids.size());
    std::iota(sample.rows.begin(), sample.rows.end(), 0);
    samples.push_back(std::move(sample));
  }
  if (texts.empty()) return {};
  const at::Tensor nll = model.score(pack(samples)).nll_N.to(at::kCPU);
  const float* next = nll.data_ptr<float>();
  std::vector<double> means;
  for (const auto& ids : texts) {
    const double sum = std::accumulate(next, next + ids.size() - 1, 0.0);
    if (!std::isfinite(sum)) {
      throw NonFiniteError(
          "eval: expected finite losses, found others ---> the model's weights are broken, or too large for this "
          "--dtype");
    }
    next += ids.size() - 1;
    means.push_back(sum / static_cast<double>(ids.size()));
  }
  return means;
}

}  // namespace qtune
