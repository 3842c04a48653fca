// An append-only file of lines that a resumed run continues exactly where its checkpoint left it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>

namespace qtune {

/// End of what has been written: the part (0, unless the log is rotated) and the bytes in it. A checkpoint stores it.
struct LogPosition {
  int64_t part = 0;
  int64_t bytes = 0;
  bool operator==(const LogPosition&) const = default;
};

/// Lines go to `path`; once that holds `max_part_bytes` or more, the next ones go to path with .1, .2, ... before its
/// extension (decisions.jsonl, decisions.1.jsonl, ...). Parts are never renamed or removed: oldest first, in that
/// order. Only whole blocks of lines are written, so a crash leaves at most one broken line, at the end.
class LineLog {
 public:
  static constexpr int64_t kOnePart = std::numeric_limits<int64_t>::max();

  /// Opens the log at `start`: everything behind it is removed (start {}: everything).
  /// Where less than that is left, or `start` is inside a line, it goes on behind the last whole line before, with a
  /// warning. Throws: CheckpointError naming the path and the system's reason.
  explicit LineLog(std::filesystem::path path, LogPosition start = {}, int64_t max_part_bytes = kOnePart);
  ~LineLog();
  LineLog(const LineLog&) = delete;
  LineLog& operator=(const LineLog&) = delete;

  /// Appends `lines`, each with its newline; they are in the file on return. A block is never split over two parts.
  /// Throws: CheckpointError naming the path and the reason (disk full, ...).
  void write(std::string_view lines);

  /// Makes everything written survive a power cut, and says where it ends. Call it for each checkpoint.
  LogPosition sync();

  LogPosition position() const { return position_; }

 private:
  std::filesystem::path path_of(int64_t part) const;
  void open_part(int64_t part);
  void cut_to(int64_t bytes);

  std::filesystem::path path_;
  int64_t max_part_bytes_;
  LogPosition position_;
  int fd_ = -1;
};

}  // namespace qtune
