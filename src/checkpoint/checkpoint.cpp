#include "qtune/checkpoint/checkpoint.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <regex>
#include <vector>

#include "checkpoint_folders.h"
#include "optimizer_files.h"
#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/hash.h"
#include "qtune/base/log.h"
#include "qtune/base/temporary_name.h"
#include "qtune/model/save_model.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// One list of the state's fields: writing and reading walk it.
template <class State, class Visit>
void for_each_field(State& s, Visit&& visit) {
  visit("step", s.step);
  visit("epoch", s.epoch);
  visit("total_steps", s.total_steps);
  visit("num_updates", s.num_updates);
  visit("tokens_seen", s.tokens_seen);
  visit("tokens_scored", s.tokens_scored);
  visit("tokens_trained", s.tokens_trained);
  visit("metrics_bytes", s.metrics_bytes);
  visit("decisions_bytes", s.decisions_bytes);
  visit("decisions_file", s.decisions_file);
  visit("last_eval_step", s.last_eval_step);
  visit("best_step", s.best_step);
  visit("best_eval_loss", s.best_eval_loss);
  visit("evaluations_since_best", s.evaluations_since_best);
  visit("seed", s.seed);
  visit("num_samples", s.num_samples);
  visit("samples_per_step", s.samples_per_step);
  visit("world_size", s.world_size);
  visit("data_hash", s.data_hash);
  visit("eval_hash", s.eval_hash);
}

void write_manifest(const fs::path& folder) {
  json files = json::object();
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {  // chat templates lie in a folder of their own
    if (!entry.is_regular_file()) continue;
    files[entry.path().lexically_relative(folder).generic_string()] = {{"bytes", entry.file_size()},
                                                                       {"xxh3", hex64(hash_file(entry.path()))}};
  }
  write_file_atomic(folder / kManifestFile, json{{"files", files}}.dump(1) + "\n");
}

/// Better said before half of it is written.
void check_space(const fs::path& output_dir, Model& model, CheckpointContent content) {
  int64_t trained = 0;
  bool sliced_masters = false;
  for (const Parameter& p : model.parameters()) {
    trained += p.compute.numel();
    sliced_masters = sliced_masters || p.master_begin;
  }
  const uint64_t needed = checkpoint_bytes(trained, content, sliced_masters);
  std::error_code failed;
  const fs::space_info space = fs::space(output_dir, failed);
  if (!failed && space.available < needed) {
    throw CheckpointError(
        fmt::format("{}: a checkpoint needs {}, the disk has {} left ---> free some space, or keep "
                    "fewer checkpoints (save_total_limit)",
                    output_dir.string(), format_bytes(needed), format_bytes(space.available)));
  }
}

void fill(const fs::path& file, const TensorView* view, const std::string& name, const at::Tensor& target) {
  if (view == nullptr) throw CheckpointError(fmt::format("{}: tensor {} is missing", file.string(), name));
  if (at::IntArrayRef(view->shape) != target.sizes() || view->dtype != Dtype::kF32) {
    throw CheckpointError(
        fmt::format("{}: tensor {}: expected float32 {}, found {} {} ---> the checkpoint belongs to "
                    "another model",
                    file.string(), name, shape_text(target.sizes()), dtype_name(view->dtype), shape_text(view->shape)));
  }
  const at::Tensor host = target.is_cpu() ? target : at::empty(target.sizes(), target.scalar_type());
  std::memcpy(host.data_ptr(), view->bytes.data(), view->bytes.size());
  if (!target.is_cpu()) target.copy_(host);
}

void check_same_adapter(const fs::path& checkpoint, const LoraConfig& now) {
  const LoraConfig then = LoraAdapter(checkpoint).config();
  const auto check = [&](const char* what, const std::string& found, const std::string& expected) {
    if (found == expected) return;
    throw CheckpointError(
        fmt::format("{}: {}: the checkpoint has {}, this run {} ---> use the run's own config, or set "
                    "overwrite_output_dir: true to start anew",
                    (checkpoint / kLoraConfigFile).string(), what, found, expected));
  };
  check("lora_rank", fmt::format("{}", then.rank), fmt::format("{}", now.rank));
  check("lora_target", fmt::format("{}", fmt::join(then.targets, ", ")),
        fmt::format("{}", fmt::join(now.targets, ", ")));
  check("lora_alpha", fmt::format("{:g} (scale {:g})", then.alpha, then.scale()),
        fmt::format("{:g} (scale {:g})", now.alpha, now.scale()));
}

void load_trained(const fs::path& checkpoint, Model& model, const StoredState& stored) {
  const fs::path adapter = checkpoint / kLoraWeightsFile;
  if (fs::exists(adapter) != model.lora().has_value()) {
    throw CheckpointError(
        fmt::format("{}: expected a checkpoint of finetuning_type: {}, found one of {} ---> use the "
                    "run's own config, or set overwrite_output_dir: true to start anew",
                    checkpoint.string(), model.lora() ? "lora" : "full", model.lora() ? "full" : "lora"));
  }
  if (model.lora()) {
    check_same_adapter(checkpoint, *model.lora());
    const SafetensorsFile file(adapter);
    for (const Parameter& p : model.parameters()) fill(adapter, file.find(p.name), p.name, p.master);
    model.refresh_compute_weights();
    return;
  }
  const ModelWeights weights(checkpoint);
  for (Parameter& p : model.parameters()) {
    if (!p.master_begin) {
      fill(checkpoint, weights.find(p.name), p.name, p.master);
    } else {
      const at::Tensor values = at::empty(p.compute.sizes(), at::kFloat);
      fill(checkpoint, weights.find(p.name), p.name, values);
      assign(p, values);
    }
    // Where masters were sliced, the weights' file has them rounded.
    const std::string name = std::string(kMasterTensor) + "." + p.name;
    if (p.master.defined() && stored.has(name)) stored.fill(name, p.master_begin.value_or(0), p.master.view({-1}));
  }
  model.refresh_compute_weights();
}

fs::path unfinished(fs::path target) { return target += ".tmp"; }

/// All but the optimizer and the manifest.
void write_run(const fs::path& output_dir, const fs::path& folder, Model& model, const TrainerState& state,
               const CheckpointSource& source) {
  check_space(output_dir, model, source.content);
  fs::remove_all(folder);
  fs::create_directories(folder);
  save_trained(model, source.model_folder, folder, Dtype::kF32);
  write_file_atomic(folder / "config.yaml", source.config_yaml);
  write_trainer_state(folder, state);
}

void commit(const fs::path& output_dir, const fs::path& folder, const fs::path& target) {
  if (const std::string missing = missing_shards(folder); !missing.empty()) {
    throw CheckpointError(fmt::format("{}: {} ---> do all ranks see one output_dir?", folder.string(), missing));
  }
  write_manifest(folder);
  make_room_for_checkpoint(target);
  fs::rename(folder, target);
  sync_folder(output_dir);
}

/// What went wrong, or nothing.
std::string fault_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const std::exception& e) {
    return *e.what() == '\0' ? "unknown" : e.what();
  }
  return "";
}

}  // namespace

uint64_t checkpoint_bytes(int64_t num_trained, CheckpointContent content, bool sliced_masters) {
  constexpr uint64_t kRest = 16 << 20;  // tokenizer, config, states
  const uint64_t weights = 4 * static_cast<uint64_t>(num_trained);
  if (content == CheckpointContent::kModelOnly) return weights + kRest;
  return (sliced_masters ? 4 : 3) * weights + kRest;
}

fs::path save_checkpoint(const fs::path& output_dir, Model& model, Optimizer& optimizer, const TrainerState& state,
                         const CheckpointSource& source) {
  return save_sharded_checkpoint(output_dir, model, optimizer, state, source,
                                 [](const std::string& own) { return std::vector<std::string>{own}; });
}

fs::path save_sharded_checkpoint(const fs::path& output_dir, Model& model, Optimizer& optimizer,
                                 const TrainerState& state, const CheckpointSource& source,
                                 const std::function<std::vector<std::string>(const std::string&)>& agree) {
  const fs::path target = checkpoint_path(output_dir, state.step), folder = unfinished(target);
  const bool first = optimizer.shard().rank == 0;
  const auto all_well = [&](const std::string& own_fault) {
    for (const std::string& fault : agree(own_fault)) {
      if (fault.empty()) continue;
      std::error_code ignored;
      if (first) fs::remove_all(folder, ignored);
      throw CheckpointError(fault);
    }
  };
  all_well(fault_of([&] {
    if (first) write_run(output_dir, folder, model, state, source);
  }));
  all_well(fault_of([&] {
    if (source.content == CheckpointContent::kResumable) write_optimizer(folder, optimizer);
  }));
  all_well(fault_of([&] {
    if (first) commit(output_dir, folder, target);
  }));
  return target;
}

std::optional<std::string> fault_of_checkpoint(const fs::path& checkpoint) {
  try {
    const json manifest = json::parse(read_file(checkpoint / kManifestFile));
    for (const auto& [name, expected] : manifest.at("files").items()) {
      const fs::path file = checkpoint / name;
      const uint64_t size = fs::exists(file) ? static_cast<uint64_t>(fs::file_size(file)) : 0;
      if (!fs::exists(file)) return name + " is missing";
      if (size != expected.at("bytes").get<uint64_t>()) {
        return fmt::format("{} has {} bytes, the manifest says {}", name, size, expected.at("bytes").get<uint64_t>());
      }
      if (hex64(hash_file(file)) != expected.at("xxh3").get<std::string>()) return name + ": checksum differs";
    }
    if (!manifest["files"].contains(kStateFile)) return std::string(kStateFile) + " is not in the manifest";
    const std::string missing = missing_shards(checkpoint);
    return missing.empty() ? std::nullopt : std::optional(missing);
  } catch (const json::exception&) {
    return std::string(kManifestFile) + " is damaged";
  } catch (const std::exception& e) {  // a file system's, too: an older checkpoint may still be read
    return e.what();
  }
}

std::optional<fs::path> newest_checkpoint(const fs::path& output_dir) {
  for (const fs::path& checkpoint : list_checkpoints(output_dir)) {
    auto fault = fault_of_checkpoint(checkpoint);
    if (!fault && optimizer_files(checkpoint).empty()) fault = "it holds the model only (save_only_model)";
    if (!fault) return checkpoint;
    spdlog::warn("{}: can't be resumed from: {}", checkpoint.string(), *fault);
  }
  return std::nullopt;
}

void write_trainer_state(const fs::path& folder, const TrainerState& state) {
  json fields;
  for_each_field(state, [&](const char* name, const auto& value) { fields[name] = value; });
  write_file_atomic(folder / kStateFile, fields.dump(1) + "\n");
}

TrainerState read_trainer_state(const fs::path& checkpoint) {
  const fs::path path = checkpoint / kStateFile;
  TrainerState state;
  try {
    const json fields = json::parse(read_file(path));
    for_each_field(state, [&](const char* name, auto& value) { fields.at(name).get_to(value); });
  } catch (const json::exception& e) {
    throw CheckpointError(fmt::format("{}: {}", path.string(), e.what()));
  }
  return state;
}

void load_weights(const fs::path& checkpoint, Model& model) {
  load_trained(checkpoint, model, StoredState(checkpoint));
}

void load_checkpoint(const fs::path& checkpoint, Model& model, Optimizer& optimizer) {
  if (optimizer_files(checkpoint).empty()) {
    throw CheckpointError(
        fmt::format("{}: {} is missing ---> it was saved with save_only_model and can't be resumed; "
                    "name it as model_name_or_path to start from its weights",
                    checkpoint.string(), kOptimizerFile));
  }
  const StoredState stored(checkpoint);
  load_trained(checkpoint, model, stored);
  for (ParameterState& s : optimizer.state()) {
    for (const auto& [moment, target] : {std::pair{"exp_avg.", s.exp_avg}, std::pair{"exp_avg_sq.", s.exp_avg_sq}}) {
      const std::string name = moment + s.name;
      if (optimizer.shard().count == 1 && !stored.is_sharded()) {
        fill(stored.place(), stored.whole(name), name, target);
      } else {
        stored.fill(name, s.begin, target);
      }
    }
  }
}

void remove_unfinished_files(const fs::path& output_dir) {
  static const std::regex kUnfinished(R"(checkpoint-\d+\.tmp)");  // of no process alone: all ranks write there
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(output_dir)) {
    if (std::regex_match(entry.path().filename().string(), kUnfinished)) found.push_back(entry.path());
  }
  for (const fs::path& path : found) fs::remove_all(path);
  remove_leftovers_in(output_dir);
}

}  // namespace qtune
