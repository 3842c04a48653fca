// Files: reading whole, mapping read-only, and writing so that a reader never sees half a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace qtune {

/// The exit code of a failed write: kExitCheckpoint where there is no room (a full disk, a quota, a limit of a file's
/// size), which is no bug; else kExitError.
int write_exit_code(int reason);

/// Whole content of a file. Throws: Error naming the path and the system's reason.
std::string read_file(const std::filesystem::path& path);

/// Writes beside the target, fsyncs, renames: the target holds the old or the new content, never a part.
/// Throws: Error naming the path and the reason (disk full, ...); the half-written file is removed.
void write_file_atomic(const std::filesystem::path& path, std::string_view content);

/// Sequential writer with the same promise: the target appears, whole and synced, only at commit().
/// Not committed (an exception passed by): the half-written file is removed.
/// A target that is a link stays one: the file it leads to is replaced. A target that is no regular file (a pipe, a
/// device, /dev/stdout on either) is written directly, as the bytes come.
class AtomicFileWriter {
 public:
  /// Throws: Error naming the path and the reason.
  explicit AtomicFileWriter(std::filesystem::path target);
  ~AtomicFileWriter();
  AtomicFileWriter(const AtomicFileWriter&) = delete;
  AtomicFileWriter& operator=(const AtomicFileWriter&) = delete;

  /// Throws: Error naming the path and the reason.
  void write(const void* data, size_t num_bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

 private:
  std::filesystem::path target_, temporary_;  // temporary_ empty: the target is written directly
  int fd_ = -1;
};

/// fsync of a folder, so that renames in it survive a power cut.
void sync_folder(const std::filesystem::path& folder);

/// Read-only memory map of a whole file. An empty file maps to an empty span.
class MappedFile {
 public:
  /// Throws: Error naming the path and the reason.
  explicit MappedFile(const std::filesystem::path& path);
  /// The same from an open descriptor, which is not kept; `name` is for messages.
  MappedFile(int descriptor, const std::filesystem::path& name);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }
  const std::filesystem::path& path() const { return path_; }

 private:
  void map(int descriptor);

  std::filesystem::path path_;
  void* data_ = nullptr;
  size_t size_ = 0;
};

/// Lets go of the memory that holds these bytes of a file map; they can still be read, from the file again. So the
/// peak of a program that copies a mapped file piece by piece is one copy and a piece. Empty: nothing happens.
void release_pages(std::span<const std::byte> mapped);

/// "12.3 MiB" and the like, for messages.
std::string format_bytes(uint64_t num_bytes);

}  // namespace qtune
