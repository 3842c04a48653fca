#include "data_parallel.h"

#include <ATen/ops/stack.h>
#include <ATen/ops/sum.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "qtune/base/error.h"
#include "qtune/batch/balance.h"
#include "qtune/optim/optimizer.h"
#include "qtune/score/score_pass.h"

namespace qtune {
namespace {

template <class T>
void append(std::string& bytes, const std::vector<T>& values) {
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

/// Takes values off the front of what a rank sent.
class Reader {
 public:
  Reader(int rank, std::string bytes) : rank_(rank), bytes_(std::move(bytes)) {}

  template <class T>
  std::vector<T> take(size_t count) {
    if (bytes_.size() - at_ < count * sizeof(T)) {
      throw DistError(
          fmt::format("rank {}: expected {} more values, found {} bytes ---> do all ranks run the same "
                      "program on the same data?",
                      rank_, count, bytes_.size() - at_));
    }
    std::vector<T> values(count);
    std::memcpy(values.data(), bytes_.data() + at_, count * sizeof(T));
    at_ += count * sizeof(T);
    return values;
  }

 private:
  int rank_;
  std::string bytes_;
  size_t at_ = 0;
};

std::vector<Reader> readers_of(std::vector<std::string> texts) {
  std::vector<Reader> readers;
  for (std::string& text : texts) readers.emplace_back(static_cast<int>(readers.size()), std::move(text));
  return readers;
}

/// Equal for equal values; other values give another sum, but for a chance of one in 2^32 and for swapped places.
at::Tensor sum_of_bits(const at::Tensor& values) {
  const at::ScalarType bits = values.element_size() == 4 ? at::kInt : at::kShort;
  return values.view(bits).sum(at::kLong);
}

/// "model.layers.12.mlp.up_proj.weight", with or without what PEFT puts before it. -1: of no layer.
int64_t layer_of(const std::string& name) {
  constexpr std::string_view kLayers = "layers.";
  const size_t at = name.find(kLayers);
  if (at == std::string::npos) return -1;
  int64_t layer = -1;
  std::from_chars(name.data() + at + kLayers.size(), name.data() + name.size(), layer);
  return layer;
}

}  // namespace

std::vector<int> scoring_ranks(std::span<const TokenizedSample* const> samples, int64_t micro_batch, int world_size) {
  std::vector<int> ranks(samples.size(), 0);
  if (world_size == 1) return ranks;
  const auto group = static_cast<size_t>(micro_batch);
  std::vector<int64_t> tokens((samples.size() + group - 1) / group, 0);
  for (size_t i = 0; i < samples.size(); ++i) tokens[i / group] += samples[i]->num_tokens();
  const std::vector<int> rank_of_group = balance_by_tokens(tokens, world_size);
  for (size_t i = 0; i < samples.size(); ++i) ranks[i] = rank_of_group[i / group];
  return ranks;
}

std::vector<SampleScores> gather_scores(Communicator& communicator, std::span<const TokenizedSample* const> samples,
                                        std::span<const int> ranks, const std::vector<ScoreArray>& arrays,
                                        std::vector<SampleScores> own) {
  if (communicator.world_size() == 1) return own;
  std::string bytes;
  for (const SampleScores& scores : own) {
    // Kept as doubles, computed as floats.
    for (const ScoreArray array : arrays)
      append(bytes, std::vector<float>((scores.*array).begin(), (scores.*array).end()));
  }
  std::vector<Reader> readers = readers_of(communicator.gather_bytes(bytes));
  std::vector<SampleScores> all;
  all.reserve(samples.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    SampleScores scores = unscored(*samples[i]);
    Reader& reader = readers[static_cast<size_t>(ranks[i])];
    for (const ScoreArray array : arrays) {
      const std::vector<float> values = reader.take<float>(scores.positions.size());
      (scores.*array).assign(values.begin(), values.end());
    }
    all.push_back(std::move(scores));
  }
  return all;
}

std::vector<int> training_ranks(std::span<const PackedSample> kept, int world_size) {
  std::vector<int64_t> tokens;
  for (const PackedSample& sample : kept) tokens.push_back(static_cast<int64_t>(sample.input_ids.size()));
  return balance_by_tokens(tokens, world_size);
}

std::vector<double> gather_values(Communicator& communicator, std::span<const int> ranks, std::span<const double> own) {
  std::string bytes;
  append(bytes, std::vector<double>(own.begin(), own.end()));
  std::vector<Reader> readers = readers_of(communicator.gather_bytes(bytes));
  std::vector<double> all;
  for (const int rank : ranks) all.push_back(readers[static_cast<size_t>(rank)].take<double>(1).front());
  return all;
}

void share_weights(Communicator& communicator, Model& model) {
  std::vector<Communicator::Pending> pending;
  for (const ShardSlice& slice : shard_slices(model, communicator.world_size())) {
    const at::Tensor values = model.parameters()[slice.tensor].best_values().view({-1});
    pending.push_back(communicator.start_broadcast(values.narrow(0, slice.begin, slice.size), slice.rank));
  }
  for (Communicator::Pending& p : pending) p.wait();
  if (model.options().compute_dtype != at::kFloat) model.refresh_compute_weights();  // of an adapter's masters
}

void check_equal_weights(Communicator& communicator, Model& model) {
  if (communicator.world_size() == 1) return;
  std::vector<const Parameter*> parameters;
  for (const Parameter& p : model.base_parameters()) parameters.push_back(&p);
  if (model.lora()) {
    for (const Parameter& p : model.parameters()) parameters.push_back(&p);
  }
  std::vector<at::Tensor> sums;
  for (const Parameter* p : parameters) sums.push_back(sum_of_bits(p->best_values()));
  const at::Tensor own = at::stack(sums).to(at::kCPU);
  const auto texts = communicator.gather_bytes(
      {static_cast<const char*>(own.data_ptr()), static_cast<size_t>(own.numel()) * sizeof(int64_t)});
  const auto sum_at = [](const std::string& text, size_t i) {
    return text.substr(i * sizeof(int64_t), sizeof(int64_t));
  };
  for (size_t rank = 1; rank < texts.size(); ++rank) {
    for (size_t i = 0; i < parameters.size(); ++i) {
      if (sum_at(texts[rank], i) == sum_at(texts[0], i)) continue;
      throw DistError(
          fmt::format("{}: rank {} has other values than rank 0 ---> do all ranks read the same model and checkpoint?",
                      parameters[i]->name, rank));
    }
  }
}

GradientReducer::GradientReducer(Model& model, Communicator& communicator, at::ScalarType dtype)
    : communicator_(communicator),
      dtype_(dtype),
      layers_(static_cast<size_t>(model.config().num_layers)),
      next_layer_(model.config().num_layers - 1) {
  if (communicator.world_size() == 1) return;
  for (const Parameter& p : model.parameters()) {
    const int64_t layer = layer_of(p.name);
    (layer < 0 ? rest_ : layers_.at(static_cast<size_t>(layer))).push_back(p.gradient);
  }
}

void GradientReducer::start(const std::vector<at::Tensor>& gradients) {
  Started started{.pending = {}, .gradients = gradients, .sent = {}};
  if (dtype_ != at::kFloat) {
    for (const at::Tensor& gradient : gradients) started.sent.push_back(gradient.to(dtype_));
  }
  started.pending = communicator_.start_all_reduce_sum(dtype_ == at::kFloat ? gradients : started.sent);
  started_.push_back(std::move(started));
}

void GradientReducer::layer_done(int64_t layer) {
  if (layer != next_layer_) throw Error(fmt::format("layer_done: expected layer {}, found {}", next_layer_, layer));
  --next_layer_;
  start(layers_[static_cast<size_t>(layer)]);
}

void GradientReducer::finish() {
  while (next_layer_ >= 0) layer_done(next_layer_);
  start(rest_);
  for (Started& started : started_) {
    started.pending.wait();
    for (size_t i = 0; i < started.sent.size(); ++i) started.gradients[i].copy_(started.sent[i]);
  }
  started_.clear();
}

}  // namespace qtune
