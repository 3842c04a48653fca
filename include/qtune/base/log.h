// Logging: what eyes read goes to stderr through spdlog; what a program reads goes to stdout or a file.
#pragma once

#include <spdlog/spdlog.h>

#include <filesystem>

namespace qtune {

/// Default logger on stderr, short form ("warning: ..."; plain text for info). Call once in main.
void setup_logging();

/// Also appends every message, with time and level, to `path` (a run's train.log).
/// Throws: Error naming the path when it can't be opened.
void add_log_file(const std::filesystem::path& path);

}  // namespace qtune
