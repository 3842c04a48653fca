// A GGUF file taken apart into its keys, in their stored form, so that two files can be compared.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>

namespace qtune {

class GgufEntries {
 public:
  /// Key -> type and value, byte by byte. For well-formed files only.
  static std::map<std::string, std::string> read(std::string_view file) {
    GgufEntries reader(file.substr(4 + 4 + 8));
    std::map<std::string, std::string> entries;
    for (auto left = reader.take<uint64_t>(); left > 0; --left) {
      std::string key = reader.text();
      const size_t begin = file.size() - reader.rest_.size();
      reader.skip_value(reader.take<uint32_t>());
      const size_t end = file.size() - reader.rest_.size();
      if (!entries.emplace(std::move(key), file.substr(begin, end - begin)).second)
        throw std::runtime_error("a key twice");
    }
    return entries;
  }

 private:
  explicit GgufEntries(std::string_view rest) : rest_(rest) {}

  template <class T>
  T take() {
    T value;
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_.remove_prefix(sizeof value);
    return value;
  }

  std::string text() {
    const auto size = take<uint64_t>();
    std::string out(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return out;
  }

  void skip_value(uint32_t type) {
    constexpr size_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type == 8) {
      text();
    } else if (type == 9) {
      const auto element = take<uint32_t>();
      for (auto left = take<uint64_t>(); left > 0; --left) skip_value(element);
    } else {
      rest_.remove_prefix(kSizes[type]);
    }
  }

  std::string_view rest_;
};

}  // namespace qtune
