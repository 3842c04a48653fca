// Files made by hand, right and wrong ones, for the tests of the formats.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "qtune/base/error.h"

namespace qtune {

/// Removes an old file first: ext4 flushes a file that was cut to nothing and written anew, which is slow in a loop.
inline void write_bytes(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// A safetensors file with this header and so many bytes of values (0, 1, 2, ..).
inline std::string safetensors_bytes(std::string_view header, size_t num_value_bytes) {
  const uint64_t length = header.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  bytes += header;
  for (size_t i = 0; i < num_value_bytes; ++i) bytes += static_cast<char>(i);
  return bytes;
}

/// Runs `action`, expects an exception of type E whose one-line message holds `part`.
template <class E, class F>
void expect_error(F action, std::string_view part) {
  try {
    action();
    ADD_FAILURE() << "no error, expected one with: " << part;
  } catch (const E& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr(std::string(part)));
    EXPECT_THAT(error.what(), testing::Not(testing::HasSubstr("\n")));
  }
}

/// Number of entries in a folder.
inline size_t num_entries(const std::filesystem::path& folder) {
  return static_cast<size_t>(
      std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()));
}

}  // namespace qtune
