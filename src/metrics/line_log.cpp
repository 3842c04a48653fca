#include "qtune/metrics/line_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/log.h"

namespace qtune {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const char* verb) {
  const int reason = errno;
  const char* hint = reason == ENOSPC ? " ---> free some space on that disk and resume the run" : "";
  throw CheckpointError(fmt::format("{}: cannot {}: {}{}", path.string(), verb, std::strerror(reason), hint));
}

int64_t size_of(int fd, const std::filesystem::path& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) fail(path, "stat");
  return info.st_size;
}

/// Position behind the last newline among the first `limit` bytes.
int64_t end_of_last_line(int fd, int64_t limit, const std::filesystem::path& path) {
  char block[4096];
  while (limit > 0) {
    const int64_t begin = std::max<int64_t>(0, limit - static_cast<int64_t>(sizeof block));
    const ssize_t n = ::pread(fd, block, static_cast<size_t>(limit - begin), begin);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail(path, "read");
    for (ssize_t i = n; i > 0; --i)
      if (block[i - 1] == '\n') return begin + i;
    limit = begin;
  }
  return 0;
}

}  // namespace

LineLog::LineLog(std::filesystem::path path, LogPosition start, int64_t max_part_bytes)
    : path_(std::move(path)), max_part_bytes_(max_part_bytes) {
  if (start.part < 0 || start.bytes < 0)
    throw Error(fmt::format("{}: expected a position in the log, found part {} byte {}", path_.string(), start.part,
                            start.bytes));
  int64_t part = start.part;
  while (part > 0 && !std::filesystem::exists(path_of(part))) --part;
  const bool lost_part = part != start.part;
  open_part(part);
  const int64_t size = size_of(fd_, path_of(part));
  const int64_t wanted = lost_part ? size : start.bytes;
  const int64_t end = end_of_last_line(fd_, std::min(size, wanted), path_of(part));
  if (lost_part || end != start.bytes)
    spdlog::warn(
        "{}: expected the run's lines up to byte {} of part {}, found whole lines up to byte {} of part {} ---> "
        "lines are missing; the log goes on from there",
        path_.string(), start.bytes, start.part, end, part);
  cut_to(end);
  for (int64_t later = part + 1; std::filesystem::remove(path_of(later)); ++later) {
  }
}

LineLog::~LineLog() {
  if (fd_ >= 0) ::close(fd_);
}

std::filesystem::path LineLog::path_of(int64_t part) const {
  if (part == 0) return path_;
  std::filesystem::path numbered = path_;
  numbered.replace_extension(fmt::format(".{}{}", part, path_.extension().string()));
  return numbered;
}

void LineLog::open_part(int64_t part) {
  const std::filesystem::path path = path_of(part);
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) fail(path, "open");
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
  position_ = {.part = part, .bytes = 0};
}

void LineLog::cut_to(int64_t bytes) {
  if (::ftruncate(fd_, bytes) != 0) fail(path_of(position_.part), "truncate");
  position_.bytes = bytes;
}

void LineLog::write(std::string_view lines) {
  if (lines.empty()) return;
  if (position_.bytes >= max_part_bytes_) {
    sync();
    open_part(position_.part + 1);
    cut_to(0);
  }
  while (!lines.empty()) {
    const ssize_t n = ::write(fd_, lines.data(), lines.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(path_of(position_.part), "write");
    lines.remove_prefix(static_cast<size_t>(n));
    position_.bytes += n;
  }
}

LogPosition LineLog::sync() {
  // Character devices and pipes (a test's /dev/full, a user's /dev/stdout) have nothing to sync.
  if (::fsync(fd_) != 0 && errno != EINVAL) fail(path_of(position_.part), "sync");
  return position_;
}

}  // namespace qtune
