#include "qtune/base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "qtune/base/error.h"
#include "qtune/base/stop_signals.h"
#include "qtune/base/temporary_name.h"

namespace qtune {
namespace {

constexpr size_t kMostAtOnce = 16 << 20;  // between two pieces a signal can stop the writing

[[noreturn]] void fail(const std::filesystem::path& path, const char* verb) {
  const int reason = errno;
  std::string hint;
  if (reason == ENOSPC) hint = " ---> free some space on that disk and run again";
  throw Error(fmt::format("{}: cannot {}: {}{}", path.string(), verb, std::strerror(reason), hint),
              write_exit_code(reason));
}

class FileDescriptor {
 public:
  FileDescriptor(const std::filesystem::path& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC)) {
    if (fd_ < 0) fail(path, "open");
  }
  ~FileDescriptor() { ::close(fd_); }
  int get() const { return fd_; }

 private:
  int fd_;
};

/// Pipes, devices, folders: what a rename would put a file in the place of.
bool is_special_file(const std::filesystem::path& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode);
}

/// The path that a chain of links leads to, whether there is a file or not.
std::filesystem::path end_of_links(std::filesystem::path path) {
  constexpr int kMostLinks = 40;  // as many as Linux follows
  std::error_code ignored;
  for (int i = 0; i < kMostLinks && std::filesystem::is_symlink(path, ignored); ++i) {
    path = path.parent_path() / std::filesystem::read_symlink(path, ignored);  // an absolute one replaces the parent
  }
  return path;
}

}  // namespace

int write_exit_code(int reason) {
  return reason == ENOSPC || reason == EDQUOT || reason == EFBIG ? kExitCheckpoint : kExitError;
}

std::string read_file(const std::filesystem::path& path) {
  const FileDescriptor file(path, O_RDONLY);
  std::string content;
  char block[1 << 16];
  while (true) {
    const ssize_t n = ::read(file.get(), block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(path, "read");
    if (n == 0) return content;
    content.append(block, static_cast<size_t>(n));
  }
}

void write_file_atomic(const std::filesystem::path& path, std::string_view content) {
  AtomicFileWriter writer(path);
  writer.write(content);
  writer.commit();
}

AtomicFileWriter::AtomicFileWriter(std::filesystem::path target) : target_(std::move(target)) {
  static std::atomic<int> serial{0};
  if (is_special_file(target_)) {
    do {
      throw_if_stopped();
      fd_ = ::open(target_.c_str(), O_WRONLY | O_CLOEXEC);  // a pipe waits for its reader
    } while (fd_ < 0 && errno == EINTR);
    if (fd_ < 0) fail(target_, "open");
    return;
  }
  target_ = end_of_links(target_);
  temporary_ = temporary_name(target_, serial++);
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) fail(target_, "create");
}

AtomicFileWriter::~AtomicFileWriter() {
  if (fd_ < 0) return;
  ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFileWriter::write(const void* data, size_t num_bytes) {
  const char* p = static_cast<const char*>(data);
  while (num_bytes > 0) {
    throw_if_stopped();
    const ssize_t n = ::write(fd_, p, std::min(num_bytes, kMostAtOnce));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(target_, "write");
    p += n;
    num_bytes -= static_cast<size_t>(n);
  }
}

void AtomicFileWriter::commit() {
  throw_if_stopped();
  if (temporary_.empty()) {
    if (::close(std::exchange(fd_, -1)) != 0) fail(target_, "write");
    return;
  }
  while (::fsync(fd_) != 0) {
    if (errno != EINTR) fail(target_, "sync");
    throw_if_stopped();
  }
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail(target_, "rename");
  ::close(fd_);
  fd_ = -1;
  sync_folder(target_.has_parent_path() ? target_.parent_path() : std::filesystem::path("."));
}

void sync_folder(const std::filesystem::path& folder) {
  const FileDescriptor dir(folder, O_RDONLY | O_DIRECTORY);
  if (::fsync(dir.get()) != 0 && errno != EINVAL) fail(folder, "sync");
}

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) { map(FileDescriptor(path, O_RDONLY).get()); }

MappedFile::MappedFile(int descriptor, const std::filesystem::path& name) : path_(name) { map(descriptor); }

void MappedFile::map(int descriptor) {
  struct stat info {};
  if (::fstat(descriptor, &info) != 0) fail(path_, "stat");
  if (!S_ISREG(info.st_mode)) throw Error(fmt::format("{}: expected a regular file", path_.string()));
  size_ = static_cast<size_t>(info.st_size);
  if (size_ == 0) return;
  data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (data_ == MAP_FAILED) {
    data_ = nullptr;
    fail(path_, "map");
  }
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

void release_pages(std::span<const std::byte> mapped) {
  if (mapped.empty()) return;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(mapped.data()) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(mapped.data()) + mapped.size();
  // Advice: where the system can't take it, the pages merely stay.
  ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

std::string format_bytes(uint64_t num_bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(num_bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(units)) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", num_bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

}  // namespace qtune
