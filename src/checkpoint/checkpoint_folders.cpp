#include "checkpoint_folders.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/log.h"
#include "qtune/base/temporary_name.h"
#include "qtune/checkpoint/checkpoint.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kSuperseded = ".superseded";

std::optional<int64_t> step_of(const fs::path& folder) {
  const std::string name = folder.filename().string(), prefix = "checkpoint-";
  if (!name.starts_with(prefix)) return std::nullopt;
  int64_t step = 0;
  const char *first = name.data() + prefix.size(), *last = name.data() + name.size();
  const auto [end, error] = std::from_chars(first, last, step);
  if (error != std::errc() || end != last) return std::nullopt;
  return step;
}

}  // namespace

fs::path checkpoint_path(const fs::path& output_dir, int64_t step) {
  return output_dir / fmt::format("checkpoint-{}", step);
}

std::vector<fs::path> list_checkpoints(const fs::path& output_dir, int64_t after_step) {
  std::vector<std::pair<int64_t, fs::path>> found;
  if (!fs::is_directory(output_dir)) return {};
  for (const auto& entry : fs::directory_iterator(output_dir)) {
    const auto step = step_of(entry.path());
    if (step && *step > after_step && entry.is_directory()) found.emplace_back(*step, entry.path());
  }
  std::sort(found.rbegin(), found.rend());
  std::vector<fs::path> folders;
  for (auto& [step, path] : found) folders.push_back(std::move(path));
  return folders;
}

bool is_qtune_checkpoint(const fs::path& checkpoint) {
  try {
    return json::parse(read_file(checkpoint / kManifestFile)).at("files").at(kStateFile).contains("xxh3");
  } catch (const json::exception&) {
    return false;
  } catch (const Error&) {
    return false;
  }
}

std::vector<fs::path> list_own_checkpoints(const fs::path& output_dir, int64_t after_step) {
  std::vector<fs::path> found = list_checkpoints(output_dir, after_step);
  std::erase_if(found, [](const fs::path& checkpoint) { return !is_qtune_checkpoint(checkpoint); });
  return found;
}

void remove_checkpoint(const fs::path& checkpoint) {
  const fs::path leftover = temporary_name(checkpoint, 0);
  fs::rename(checkpoint, leftover);
  fs::remove_all(leftover);
}

std::vector<fs::path> set_later_checkpoints_aside(const fs::path& output_dir, int64_t step) {
  std::vector<fs::path> later = list_own_checkpoints(output_dir, step);
  std::reverse(later.begin(), later.end());
  for (fs::path& checkpoint : later) {
    const fs::path aside = fs::path(checkpoint) += kSuperseded;
    fs::remove_all(aside);
    fs::rename(checkpoint, aside);
    checkpoint = aside;
  }
  if (!later.empty()) sync_folder(output_dir);
  return later;
}

std::vector<fs::path> remove_superseded_checkpoints(const fs::path& output_dir) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(output_dir)) {
    const fs::path& path = entry.path();
    if (path.extension() == kSuperseded && step_of(path.stem()) && is_qtune_checkpoint(path)) found.push_back(path);
  }
  for (const fs::path& path : found) remove_checkpoint(path);
  return found;
}

void remove_old_checkpoints(const fs::path& output_dir, int64_t keep, int64_t last_step, int64_t best_step) {
  const bool has_best = best_step >= 0 && best_step != last_step && fs::exists(checkpoint_path(output_dir, best_step));
  if (has_best) keep = std::max<int64_t>(1, keep - 1);  // of the others
  for (const fs::path& checkpoint : list_own_checkpoints(output_dir)) {
    if (step_of(checkpoint) > last_step || (has_best && step_of(checkpoint) == best_step)) continue;
    if (--keep < 0) remove_checkpoint(checkpoint);
  }
}

void make_room_for_checkpoint(const fs::path& target) {
  if (is_qtune_checkpoint(target)) return remove_checkpoint(target);
  if (!fs::exists(fs::symlink_status(target))) return;
  fs::path aside;
  for (int serial = 1; aside.empty() || fs::exists(fs::symlink_status(aside)); ++serial) {
    aside = target.string() + fmt::format(".other-{}", serial);
  }
  fs::rename(target, aside);
  spdlog::warn("{}: in the way of a checkpoint, and not one of qtune's: it is now {}", target.string(), aside.string());
}

}  // namespace qtune
