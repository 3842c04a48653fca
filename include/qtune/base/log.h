// Logging: what eyes read goes to stderr through spdlog; what a program reads goes to stdout or a file.
#pragma once

#include <spdlog/spdlog.h>

namespace qtune {

/// Default logger on stderr, short form ("warning: ..."; plain text for info). Call once in main.
void setup_logging();

}  // namespace qtune
