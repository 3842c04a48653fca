#include "run_state.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "qtune/base/error.h"
#include "qtune/base/file.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kStateFile = "sweep_run.json";
constexpr std::array<std::pair<RunStatus, const char*>, 5> kStatusNames = {{{RunStatus::kNew, "new"},
                                                                            {RunStatus::kStarted, "started"},
                                                                            {RunStatus::kTrained, "trained"},
                                                                            {RunStatus::kFinished, "finished"},
                                                                            {RunStatus::kFailed, "failed"}}};

const char* status_name(RunStatus status) {
  return std::find_if(kStatusNames.begin(), kStatusNames.end(), [&](const auto& s) { return s.first == status; })
      ->second;
}

RunState parse_state(const Json& json) {
  const std::string name = json.at("status").get<std::string>();
  const auto status =
      std::find_if(kStatusNames.begin(), kStatusNames.end(), [&](const auto& s) { return s.second == name; });
  if (status == kStatusNames.end()) throw std::runtime_error("unknown status " + name);
  return {.status = status->first,
          .settings = json.at("settings").get<RunSettings>(),
          .eval = json.at("eval").get<std::string>(),
          .exit_code = json.at("exit_code").get<int>(),
          .fault = json.at("fault").get<std::string>()};
}

}  // namespace

RunSettings settings_of(const TrainConfig& config) {
  TrainConfig copy = config;
  RunSettings settings;
  for (const ConfigKey& key : config_keys(copy)) {
    const bool counts = key.effect == KeyEffect::kTraining || key.group == "Evaluation";
    if (counts) settings[key.name] = format_value(key.field);
  }
  return settings;
}

std::string eval_text(const std::optional<SweepEval>& eval) {
  if (!eval) return "";
  return fmt::format("tasks={} data_dir={} limit={} style={}", fmt::join(eval->tasks, ","), eval->data_dir,
                     eval->limit.value_or("none"), eval->style.value_or("default"));
}

RunState read_run_state(const fs::path& run_folder) {
  const fs::path file = run_folder / kStateFile;
  if (!fs::exists(file)) return {};
  try {
    return parse_state(Json::parse(read_file(file)));
  } catch (const std::exception& e) {
    throw DataError(
        fmt::format("{}: expected the state of a sweep's run, found something else ({}) ---> remove the "
                    "run's folder to run it again",
                    file.string(), e.what()));
  }
}

void write_run_state(const fs::path& run_folder, const RunState& state) {
  fs::create_directories(run_folder);
  const Json json = {{"status", status_name(state.status)},
                     {"exit_code", state.exit_code},
                     {"fault", state.fault},
                     {"eval", state.eval},
                     {"settings", state.settings}};
  write_file_atomic(run_folder / kStateFile, json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::string difference(const RunSettings& then, const RunSettings& now) {
  const RunSettings defaults = settings_of(TrainConfig{});
  const auto value_in = [&](const RunSettings& settings, const std::string& key) {
    const auto found = settings.find(key);
    if (found != settings.end()) return found->second;
    const auto usual = defaults.find(key);
    return usual == defaults.end() ? std::string("none") : usual->second;
  };
  std::vector<std::string> parts;
  RunSettings all = then;
  all.insert(now.begin(), now.end());
  for (const auto& [key, ignored] : all) {
    const std::string a = value_in(then, key), b = value_in(now, key);
    if (a != b) parts.push_back(fmt::format("{}: {}, now {}", key, a, b));
  }
  return fmt::format("{}", fmt::join(parts, "; "));
}

FolderContent content_of(const fs::path& run_folder) {
  FolderContent content;
  if (!fs::is_directory(run_folder)) return content;
  for (const auto& entry : fs::directory_iterator(run_folder)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && name.starts_with("checkpoint-")) content.has_checkpoint = true;
    const bool trained = name == "model.safetensors" || name == "adapter_model.safetensors";
    if (trained || name == "metrics.jsonl") content.has_anything = true;
  }
  content.has_anything = content.has_anything || content.has_checkpoint;
  return content;
}

}  // namespace qtune
