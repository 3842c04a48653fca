#include "streams.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "qtune/base/error.h"

namespace qtune {
namespace {

[[noreturn]] void fail() {
  throw Error(fmt::format("standard output: cannot write: {} ---> check where it goes", std::strerror(errno)));
}

}  // namespace

void write_output(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) fail();
}

void flush_output() {
  if (std::fflush(stdout) != 0) fail();
}

AtomicFileWriter open_named_file(const char* option, const std::string& path) {
  try {
    return AtomicFileWriter(path);
  } catch (const Error& e) {
    throw ConfigError(fmt::format("{}: {} ---> give a path that can be written", option, e.what()));
  }
}

}  // namespace qtune
