#include "lora_weights.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "qtune/base/error.h"
#include "qtune/base/rng.h"
#include "qtune/ops/elementwise.h"

namespace qtune {
namespace {

constexpr uint64_t kInitStream = 0x6c6f7261;  // "lora": apart from other users of the seed

/// Where a module lies: in which of a layer's matrices, and which of its rows.
struct Place {
  std::string_view module, section;  // "q_proj", "self_attn"
  LinearWeights LayerWeights::*matrix;
  int64_t first_row, outputs, inputs;
};

std::vector<Place> places_of(const ModelConfig& c, const LoraConfig& lora) {
  const int64_t d = c.hidden_size, f = c.intermediate_size, q = c.num_heads * c.head_dim,
                kv = c.num_kv_heads * c.head_dim;
  std::vector<Place> places = {
      {"q_proj", "self_attn", &LayerWeights::qkv, 0, q, d},       {"k_proj", "self_attn", &LayerWeights::qkv, q, kv, d},
      {"v_proj", "self_attn", &LayerWeights::qkv, q + kv, kv, d}, {"o_proj", "self_attn", &LayerWeights::out, 0, d, q},
      {"gate_proj", "mlp", &LayerWeights::gate_up, 0, f, d},      {"up_proj", "mlp", &LayerWeights::gate_up, f, f, d},
      {"down_proj", "mlp", &LayerWeights::down, 0, d, f}};
  std::erase_if(places, [&](const Place& place) { return !lora.has_target(place.module); });
  return places;
}

std::string module_name(int64_t layer, const Place& place) {
  return fmt::format("model.layers.{}.{}.{}", layer, place.section, place.module);
}

void check_shape_of(const LoraAdapter& adapter, const std::string& name, const TensorView& view,
                    const std::vector<int64_t>& expected) {
  if (view.shape == expected) return;
  throw CheckpointError(
      fmt::format("{}: tensor {}: expected shape {} (from the model's config.json), found {} ---> the "
                  "adapter belongs to another model",
                  adapter.weights_path().string(), name, shape_text(expected), shape_text(view.shape)));
}

void check_adapter(const LoraAdapter& adapter, const ModelConfig& config) {
  const LoraConfig& lora = adapter.config();
  std::set<std::string, std::less<>> expected;
  for (int64_t i = 0; i < config.num_layers; ++i) {
    for (const Place& place : places_of(config, lora)) {
      const std::string name = module_name(i, place);
      const auto found = adapter.modules().find(name);
      if (found == adapter.modules().end()) {
        throw CheckpointError(
            fmt::format("{}: tensor {} is missing ---> qtune takes adapters of all of a model's layers",
                        adapter.weights_path().string(), lora_a_name(name)));
      }
      check_shape_of(adapter, lora_a_name(name), *found->second.a, {lora.rank, place.inputs});
      check_shape_of(adapter, lora_b_name(name), *found->second.b, {place.outputs, lora.rank});
      expected.insert(name);
    }
  }
  for (const auto& [name, module] : adapter.modules()) {
    if (expected.contains(name)) continue;
    throw CheckpointError(fmt::format("{}: tensor {} is not an adapter of the model that config.json describes",
                                      adapter.weights_path().string(), lora_a_name(name)));
  }
}

/// As PEFT's kaiming_uniform with a = sqrt(5).
void fill_uniform(const at::Tensor& a, uint64_t seed, uint64_t stream) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(a.size(1)));
  CounterRng rng(seed, kInitStream + stream);
  float* values = a.data_ptr<float>();
  for (int64_t i = 0; i < a.numel(); ++i) values[i] = static_cast<float>((2 * rng.next_unit() - 1) * bound);
}

WeightTensors rows_of(const WeightTensors& w, int64_t first, int64_t count) {
  const auto part = [&](const at::Tensor& t) { return t.defined() ? t.narrow(0, first, count) : t; };
  return {.compute = part(w.compute), .master = part(w.master), .gradient = part(w.gradient)};
}

class LoraBuilder {
 public:
  LoraBuilder(ModelWeightTensors& weights, const ModelOptions& options, const LoraAdapter* files)
      : weights_(weights), options_(options), files_(files), rank_(weights.lora->rank) {}

  void add_layer(int64_t index, const std::vector<Place>& places) {
    LayerWeights& layer = weights_.layers[static_cast<size_t>(index)];
    for (const Place& place : places) {
      LoraWeights& lora = (layer.*place.matrix).lora;
      if (!lora.a.compute.defined()) {
        const int64_t count =
            std::count_if(places.begin(), places.end(), [&](const Place& p) { return p.matrix == place.matrix; });
        lora.a = allocate_weight({count * rank_, place.inputs}, options_.compute_dtype, options_);
      }
      const auto number = static_cast<int64_t>(lora.modules.size());
      LoraWeights::Module module{.name = module_name(index, place),
                                 .first_row = place.first_row,
                                 .rows = place.outputs,
                                 .dropout_stream = num_modules_++,
                                 .a = rows_of(lora.a, number * rank_, rank_),
                                 .b = allocate_weight({place.outputs, rank_}, options_.compute_dtype, options_)};
      fill(module);
      lora.modules.push_back(std::move(module));
    }
  }

 private:
  void fill(const LoraWeights::Module& module) {
    const auto values_of = [](const WeightTensors& w) { return w.master.defined() ? w.master : w.compute; };
    if (files_ != nullptr) {
      const LoraAdapter::Module& file = files_->modules().at(module.name);
      read_weight(*file.a, values_of(module.a));
      read_weight(*file.b, values_of(module.b));
    } else {
      const at::Tensor a = at::empty(module.a.compute.sizes(), at::kFloat);
      fill_uniform(a, options_.adapter->seed, module.dropout_stream);
      convert_into(a.to(options_.device), values_of(module.a));
      values_of(module.b).zero_();
    }
    for (const bool is_a : {true, false}) {
      const WeightTensors& w = is_a ? module.a : module.b;
      if (w.master.defined()) convert_into(w.master, w.compute);
      weights_.lora_parameters.push_back({.name = is_a ? lora_a_name(module.name) : lora_b_name(module.name),
                                          .compute = w.compute,
                                          .master = w.master,
                                          .gradient = w.gradient});
    }
  }

  ModelWeightTensors& weights_;
  const ModelOptions& options_;
  const LoraAdapter* files_;
  int64_t rank_;
  uint64_t num_modules_ = 0;
};

}  // namespace

LoraConfig check_lora_files(const std::filesystem::path& folder, const ModelConfig& config) {
  const LoraAdapter adapter(folder);
  check_adapter(adapter, config);
  return adapter.config();
}

void add_lora(ModelWeightTensors& weights, const std::filesystem::path& folder, const ModelConfig& config,
              const ModelOptions& options) {
  std::optional<LoraAdapter> files;
  if (!options.adapter->folder.empty()) {
    files.emplace(options.adapter->folder);
    check_adapter(*files, config);
    warn_of_other_base(*files, folder);
  }
  weights.lora = files ? files->config() : options.adapter->config;
  LoraBuilder builder(weights, options, files ? &*files : nullptr);
  const std::vector<Place> places = places_of(config, *weights.lora);
  for (int64_t i = 0; i < config.num_layers; ++i) builder.add_layer(i, places);
}

int64_t count_lora_parameters(const ModelConfig& config, const LoraConfig& lora) {
  int64_t sum = 0;
  for (const Place& place : places_of(config, lora)) sum += lora.rank * (place.inputs + place.outputs);
  return sum * config.num_layers;
}

}  // namespace qtune
