#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "qtune/base/file.h"
#include "qtune/data/record_reader.h"
#include "read_json.h"
#include "record_source.h"

namespace qtune {
namespace {

constexpr int kEnd = -1;
constexpr int64_t kMaxSkippedBytes = 2 * kMaxRecordBytes;

enum class LineEnd { kNewline, kEndOfFile, kTooLong };

/// Bytes of a file, one at a time, with the number of the line they stand in.
class ByteReader {
 public:
  explicit ByteReader(const std::string& file) : file_(file), buffer_(size_t{1} << 18) {
    std::error_code ignored;
    if (std::filesystem::is_directory(file, ignored)) {
      throw DataError(fmt::format("{}: expected a file, found a folder ---> name the data file in it", file));
    }
    errno = 0;
    in_.open(file, std::ios::binary);
    if (!in_) {
      throw DataError(fmt::format("{}: expected a readable data file, found: {} ---> check the path", file,
                                  errno == 0 ? "cannot open" : std::strerror(errno)));
    }
    if (peek() == 0xEF) skip_byte_order_mark();
    check_encoding();
  }

  const std::string& file() const { return file_; }
  int64_t line() const { return line_; }

  int peek() {
    if (at_ == size_) fill();
    return at_ < size_ ? static_cast<unsigned char>(buffer_[at_]) : kEnd;
  }

  int get() {
    const int c = peek();
    if (c == kEnd) return kEnd;
    ++at_;
    if (c == '\n') ++line_;
    return c;
  }

  /// Appends the rest of the current line (without its LF) to `text`, at most kMaxRecordBytes of it.
  LineEnd read_line(std::string& text) {
    const int64_t first = line_;
    int64_t length = 0;
    while (peek() != kEnd) {
      const char* start = buffer_.data() + at_;
      const void* end = std::memchr(start, '\n', size_ - at_);
      const size_t count = end ? static_cast<size_t>(static_cast<const char*>(end) - start) : size_ - at_;
      length += static_cast<int64_t>(count);
      if (length <= kMaxRecordBytes) text.append(start, count);
      at_ += count;
      if (end) {
        get();
        return length <= kMaxRecordBytes ? LineEnd::kNewline : LineEnd::kTooLong;
      }
      // Not text with lines at all.
      if (length > kMaxSkippedBytes) throw too_long(first);
    }
    return length <= kMaxRecordBytes ? LineEnd::kEndOfFile : LineEnd::kTooLong;
  }

  DataError too_long(int64_t line) const {
    return DataError(fmt::format("{}:{}: expected a record of at most {}, found a longer one ---> split or remove it",
                                 file_, line, format_bytes(kMaxRecordBytes)));
  }

 private:
  void fill() {
    at_ = size_ = 0;
    if (!in_.good()) return;
    in_.read(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
    size_ = static_cast<size_t>(in_.gcount());
    if (in_.bad()) throw DataError(fmt::format("{}:{}: reading failed ---> check the disk", file_, line_));
  }

  void check_encoding() {
    const int first = peek(), second = size_ > 1 ? static_cast<unsigned char>(buffer_[1]) : kEnd;
    const auto refuse = [&](const char* found) {
      throw DataError(fmt::format("{}: expected UTF-8 text, found {} ---> convert the file", file_, found));
    };
    if ((first == 0xFF && second == 0xFE) || (first == 0xFE && second == 0xFF)) refuse("UTF-16");
    if (first == 0x1F && second == 0x8B) refuse("gzip's compressed data");
  }

  void skip_byte_order_mark() {
    if (size_ >= 3 && std::memcmp(buffer_.data(), "\xEF\xBB\xBF", 3) == 0) at_ = 3;
  }

  std::string file_;
  std::ifstream in_;
  std::vector<char> buffer_;
  size_t at_ = 0, size_ = 0;
  int64_t line_ = 1;
};

bool is_space(int c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

bool is_blank(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return is_space(c); });
}

class JsonLinesSource : public RecordSource {
 public:
  explicit JsonLinesSource(std::unique_ptr<ByteReader> bytes) : bytes_(std::move(bytes)) {}

  bool advance() override {
    while (true) {
      line_ = bytes_->line();
      text_.clear();
      if (bytes_->peek() == kEnd) return false;
      end_ = bytes_->read_line(text_);
      if (end_ == LineEnd::kTooLong) {
        std::string().swap(text_);
        throw BadRecord(fmt::format("{}:{}: expected a record of at most {}, found a longer line", bytes_->file(),
                                    line_, format_bytes(kMaxRecordBytes)));
      }
      if (!is_blank(text_)) return true;
    }
  }

  int64_t line() const override { return line_; }

  void parse(JsonRecord& record) override {
    record.line = line_;
    record.place = fmt::format("{}:{}", bytes_->file(), line_);
    read_json_object(text_, {.file = bytes_->file(), .first_line = line_, .last = end_ == LineEnd::kEndOfFile},
                     record.value);
  }

  std::string text() override { return text_.substr(0, text_.find_last_not_of('\r') + 1); }

 private:
  std::unique_ptr<ByteReader> bytes_;
  std::string text_;
  int64_t line_ = 0;
  LineEnd end_ = LineEnd::kNewline;
};

/// Finds the end of each element by counting brackets outside of strings, and parses element by element.
class JsonArraySource : public RecordSource {
 public:
  explicit JsonArraySource(std::unique_ptr<ByteReader> bytes) : bytes_(std::move(bytes)) { bytes_->get(); }

  bool advance() override {
    if (done_) return false;
    skip_space();
    if (index_ == 0 && bytes_->peek() == ']') {
      finish();
      return false;
    }
    first_line_ = bytes_->line();
    ++index_;
    read_element();
    return true;
  }

  int64_t line() const override { return index_; }

  void parse(JsonRecord& record) override {
    record.line = index_;
    record.place = fmt::format("{}:{} (record {}, from line {})", bytes_->file(), index_, index_, first_line_);
    read_json_object(
        text_,
        {.file = bytes_->file(), .first_line = first_line_, .suffix = fmt::format(" (record {} of the array)", index_)},
        record.value);
  }

  std::string text() override {
    std::string compact;
    bool in_string = false, escaped = false;
    for (const char c : text_) {
      if (in_string || !is_space(c)) compact.push_back(c);
      if (c == '"' && !escaped) in_string = !in_string;
      escaped = in_string && !escaped && c == '\\';
    }
    return compact;
  }

 private:
  void skip_space() {
    while (is_space(bytes_->peek())) bytes_->get();
  }

  void finish() {
    bytes_->get();
    skip_space();
    if (bytes_->peek() != kEnd) {
      throw DataError(
          fmt::format("{}:{}: expected the end of the file after the array's \"]\", found more text ---> "
                      "remove it, or write one record a line",
                      bytes_->file(), bytes_->line()));
    }
    done_ = true;
  }

  void read_element() {
    text_.clear();
    int64_t depth = 0;
    bool in_string = false, escaped = false;
    while (true) {
      const int c = bytes_->peek();
      if (c == kEnd) {
        throw DataError(
            fmt::format("{}:{}: expected \"]\" at the end of the array, found the end of the file in record {} "
                        "---> the file is cut off: write it again",
                        bytes_->file(), bytes_->line(), index_));
      }
      if (!in_string && depth == 0 && c == ']') return finish();
      bytes_->get();
      if (!in_string && depth == 0 && c == ',') return;
      if (in_string) {
        if (!escaped && c == '"') in_string = false;
        escaped = !escaped && c == '\\';
      } else if (c == '"') {
        in_string = true;
      } else if (c == '{' || c == '[') {
        ++depth;
      } else if ((c == '}' || c == ']') && depth > 0) {
        --depth;
      }
      text_.push_back(static_cast<char>(c));
      if (static_cast<int64_t>(text_.size()) > kMaxRecordBytes) throw bytes_->too_long(first_line_);
    }
  }

  std::unique_ptr<ByteReader> bytes_;
  std::string text_;
  int64_t index_ = 0, first_line_ = 0;
  bool done_ = false;
};

}  // namespace

std::unique_ptr<RecordSource> open_json(const std::string& file) {
  auto bytes = std::make_unique<ByteReader>(file);
  // Blank lines before the first record are read here, so that line numbers stay right.
  while (is_space(bytes->peek())) bytes->get();
  if (bytes->peek() == '[') return std::make_unique<JsonArraySource>(std::move(bytes));
  return std::make_unique<JsonLinesSource>(std::move(bytes));
}

}  // namespace qtune
