#include "qtune/base/temporary_name.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <optional>
#include <string>
#include <vector>

namespace qtune {
namespace {

constexpr std::string_view kMark = ".tmp-";

/// The process in "PID-SERIAL"; nullopt for other texts.
std::optional<pid_t> process_of(std::string_view text) {
  pid_t process = 0;
  int serial = 0;
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, process);
  if (first.ec != std::errc() || process < 1 || first.ptr == end || *first.ptr != '-') return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, end, serial);
  if (second.ec != std::errc() || second.ptr != end || serial < 0) return std::nullopt;
  return process;
}

bool is_gone(pid_t process) { return ::kill(process, 0) != 0 && errno == ESRCH; }

}  // namespace

std::filesystem::path temporary_name(const std::filesystem::path& target, int serial) {
  std::filesystem::path name = target;
  name += fmt::format("{}{}-{}", kMark, ::getpid(), serial);
  return name;
}

void remove_leftovers(const std::filesystem::path& target) {
  const std::filesystem::path folder = target.has_parent_path() ? target.parent_path() : ".";
  const std::string start = target.filename().string() + std::string(kMark);
  std::vector<std::filesystem::path> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(start)) continue;
    const std::optional<pid_t> process = process_of(std::string_view(name).substr(start.size()));
    if (process && is_gone(*process)) found.push_back(entry.path());
  }
  for (const std::filesystem::path& path : found) std::filesystem::remove_all(path, ignored);
}

}  // namespace qtune
