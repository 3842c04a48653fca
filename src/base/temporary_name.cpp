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

/// Removes what is named TARGET.tmp-PID-SERIAL where `is_leftover(TARGET, PID)`.
template <class IsLeftover>
void remove_where(const std::filesystem::path& folder, const IsLeftover& is_leftover) {
  std::vector<std::filesystem::path> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    const size_t mark = name.rfind(kMark);
    if (mark == std::string::npos || mark == 0) continue;
    const std::optional<pid_t> process = process_of(std::string_view(name).substr(mark + kMark.size()));
    if (process && is_leftover(name.substr(0, mark), *process)) found.push_back(entry.path());
  }
  for (const std::filesystem::path& path : found) std::filesystem::remove_all(path, ignored);
}

}  // namespace

std::filesystem::path temporary_name(const std::filesystem::path& target, int serial) {
  std::filesystem::path name = target;
  name += fmt::format("{}{}-{}", kMark, ::getpid(), serial);
  return name;
}

void remove_leftovers(const std::filesystem::path& target) {
  remove_where(target.has_parent_path() ? target.parent_path() : ".",
               [own = target.filename().string()](const std::string& name, pid_t process) {
                 return name == own && is_gone(process);
               });
}

void remove_leftovers_in(const std::filesystem::path& folder) {
  remove_where(folder, [](const std::string&, pid_t process) { return process == ::getpid() || is_gone(process); });
}

}  // namespace qtune
