#include "json_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "qtune/base/file.h"
#include "qtune/data/record_reader.h"

namespace qtune {
namespace {

constexpr int kEnd = -1;

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

  /// Appends the rest of the current line (without its LF) to `text`. False when nothing was left in the file.
  bool read_line(std::string& text) {
    if (peek() == kEnd) return false;
    const int64_t line = line_;
    while (peek() != kEnd) {
      const char* start = buffer_.data() + at_;
      const void* end = std::memchr(start, '\n', size_ - at_);
      const size_t length = end ? static_cast<size_t>(static_cast<const char*>(end) - start) : size_ - at_;
      text.append(start, length);
      if (static_cast<int64_t>(text.size()) > kMaxRecordBytes) throw too_long(line);
      at_ += length;
      if (end) {
        get();
        break;
      }
    }
    return true;
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

/// nlohmann's reason without its own error number, position and the file's raw bytes.
std::string parse_reason(const std::string& what) {
  size_t start = what.find("syntax error");
  if (start == std::string::npos) start = what.find("] ") == std::string::npos ? 0 : what.find("] ") + 2;
  std::string reason = what.substr(start, what.find("; last read:") - start);
  std::replace_if(
      reason.begin(), reason.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return reason.substr(0, 160);
}

/// Parses one record. `first_line`: the file's line in which `text` starts.
nlohmann::json parse_record(const std::string& text, const std::string& file, int64_t first_line,
                            const std::string& suffix) {
  const auto fault = [&](const std::string& what, size_t byte) {
    const size_t end = std::min(byte == 0 ? 0 : byte - 1, text.size());
    const int64_t line = first_line + std::count(text.begin(), text.begin() + static_cast<int64_t>(end), '\n');
    const size_t break_before = end == 0 ? std::string::npos : text.rfind('\n', end - 1);
    const size_t column = end - (break_before == std::string::npos ? 0 : break_before + 1) + 1;
    return BadRecord(fmt::format("{}:{}: expected a JSON object, found at column {}{}: {}{}", file, line, column,
                                 suffix, parse_reason(what), kFixLineHint));
  };
  nlohmann::json value;
  try {
    value = nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& e) {
    throw fault(e.what(), e.byte);
  } catch (const nlohmann::json::exception& e) {
    throw fault(e.what(), 0);
  }
  if (!value.is_object()) {
    throw BadRecord(fmt::format("{}:{}: expected a JSON object{}, found {}{}", file, first_line, suffix,
                                value.type_name(), kFixLineHint));
  }
  return value;
}

class JsonLinesSource : public JsonSource {
 public:
  explicit JsonLinesSource(std::unique_ptr<ByteReader> bytes) : bytes_(std::move(bytes)) {}

  bool next(JsonRecord& record) override {
    while (true) {
      record.line = bytes_->line();
      text_.clear();
      if (!bytes_->read_line(text_)) return false;
      if (!std::all_of(text_.begin(), text_.end(), [](char c) { return is_space(c); })) break;
    }
    record.place = fmt::format("{}:{}", bytes_->file(), record.line);
    record.value = parse_record(text_, bytes_->file(), record.line, "");
    return true;
  }

 private:
  std::unique_ptr<ByteReader> bytes_;
  std::string text_;
};

/// Finds the end of each element by counting brackets outside of strings, and parses element by element.
class JsonArraySource : public JsonSource {
 public:
  explicit JsonArraySource(std::unique_ptr<ByteReader> bytes) : bytes_(std::move(bytes)) { bytes_->get(); }

  bool next(JsonRecord& record) override {
    if (done_) return false;
    skip_space();
    if (index_ == 0 && bytes_->peek() == ']') {
      finish();
      return false;
    }
    const int64_t first_line = bytes_->line();
    read_element();
    record.line = ++index_;
    const std::string suffix = fmt::format(" (record {} of the array)", index_);
    record.place = fmt::format("{}:{} (record {}, from line {})", bytes_->file(), index_, index_, first_line);
    record.value = parse_record(text_, bytes_->file(), first_line, suffix);
    return true;
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
    const int64_t first_line = bytes_->line();
    int64_t depth = 0;
    bool in_string = false, escaped = false;
    while (true) {
      const int c = bytes_->peek();
      if (c == kEnd) {
        throw DataError(
            fmt::format("{}:{}: expected \"]\" at the end of the array, found the end of the file in record {} "
                        "---> the file is cut off: write it again",
                        bytes_->file(), bytes_->line(), index_ + 1));
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
      if (static_cast<int64_t>(text_.size()) > kMaxRecordBytes) throw bytes_->too_long(first_line);
    }
  }

  std::unique_ptr<ByteReader> bytes_;
  std::string text_;
  int64_t index_ = 0;
  bool done_ = false;
};

}  // namespace

std::unique_ptr<JsonSource> open_json(const std::string& file) {
  auto bytes = std::make_unique<ByteReader>(file);
  // Blank lines before the first record are read here, so that line numbers stay right.
  while (is_space(bytes->peek())) bytes->get();
  if (bytes->peek() == '[') return std::make_unique<JsonArraySource>(std::move(bytes));
  return std::make_unique<JsonLinesSource>(std::move(bytes));
}

}  // namespace qtune
