// Logging: what eyes read goes to stderr through spdlog; what a program reads goes to stdout or a file.
#pragma once

#include <spdlog/spdlog.h>

namespace qtune {

/// Default logger on stderr, short form ("warning: ..."; plain text for info). Call once in main.
void setup_logging();

/// To every sink but the console: what another process says there.
void log_to_files(spdlog::level::level_enum level, const std::string& text);

}  // namespace qtune
