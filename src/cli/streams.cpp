#include "streams.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "qtune/base/error.h"
#include "qtune/base/stop_signals.h"
#include "qtune/base/temporary_name.h"

namespace qtune {
namespace {

[[noreturn]] void fail() {
  const int reason = errno;
  if (reason == EINTR) throw_if_stopped();
  throw Error(fmt::format("standard output: cannot write: {} ---> check where it goes", std::strerror(reason)),
              write_exit_code(reason));
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
    remove_leftovers(path);
    return AtomicFileWriter(path);
  } catch (const Error& e) {
    if (e.exit_code() != kExitError) throw;
    throw ConfigError(fmt::format("{}: {} ---> give a path that can be written", option, e.what()));
  }
}

void check_named_file(const char* option, const std::string& path) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  if (!std::filesystem::exists(status) || std::filesystem::is_regular_file(status)) open_named_file(option, path);
}

}  // namespace qtune
