#include "qtune/eval/generate.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "qtune/base/error.h"
#include "qtune/base/rng.h"

namespace qtune {

int32_t choose_token(std::vector<float> logits, const GenerateOptions& options, double draw) {
  if (options.temperature <= 0) {
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const size_t k = options.top_k > 0 ? std::min(static_cast<size_t>(options.top_k), order.size()) : order.size();
  // Ties by id, so that a seed gives the same text everywhere.
  const auto likelier = [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  std::partial_sort(order.begin(), order.begin() + static_cast<int64_t>(k), order.end(), likelier);
  order.resize(k);
  std::vector<double> weights;
  const double top = logits[static_cast<size_t>(order[0])];
  for (const int32_t id : order) {
    weights.push_back(std::exp((logits[static_cast<size_t>(id)] - top) / options.temperature));
  }
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  size_t count = 0;
  double held = 0;
  while (count < k && (count == 0 || held < options.top_p * total)) held += weights[count++];
  double rest = draw * held;
  for (size_t i = 0; i < count; ++i) {
    rest -= weights[i];
    if (rest < 0) return order[i];
  }
  return order[count - 1];
}

std::vector<int32_t> generate(Model& model, const std::vector<int32_t>& prompt_ids, const GenerateOptions& options,
                              const std::function<bool(int32_t)>& on_token) {
  const int64_t prompt = static_cast<int64_t>(prompt_ids.size()), positions = model.config().max_positions;
  if (prompt == 0) throw Error("generate: the prompt has no token");
  if (prompt >= positions) {
    throw Error(fmt::format("generate: the prompt has {} tokens, the model {} positions", prompt, positions));
  }
  const int64_t room = std::min(options.max_new_tokens, positions - prompt);
  KeyValueCache cache = model.make_cache(prompt + room);
  CounterRng rng(options.seed, 0x67656e);
  std::vector<int32_t> generated, next = prompt_ids;
  while (static_cast<int64_t>(generated.size()) < room) {
    const at::Tensor logits = model.next_token_logits(next, cache);
    if (!at::isfinite(logits).all().item<bool>()) {
      throw NonFiniteError(
          fmt::format("generate: expected finite logits, found others behind token {} ---> the model's weights are "
                      "broken, or too large for this --dtype",
                      prompt + static_cast<int64_t>(generated.size())));
    }
    const float* values = logits.data_ptr<float>();
    const int32_t id = choose_token({values, values + logits.numel()}, options, rng.next_unit());
    generated.push_back(id);
    if (!on_token(id)) break;
    if (std::find(options.stop_ids.begin(), options.stop_ids.end(), id) != options.stop_ids.end()) break;
    next = {id};
  }
  return generated;
}

}  // namespace qtune
