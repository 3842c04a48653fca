// What the commands write, and where it goes wrong: the standard output, and files that the user named.
#pragma once

#include <string>
#include <string_view>

#include "qtune/base/file.h"

namespace qtune {

/// Throws: Error with the system's reason. What is buffered comes out in flush_output().
void write_output(std::string_view text);

/// Throws: Error with the system's reason (disk full, ...).
void flush_output();

/// The file of an option. Throws: ConfigError naming the option when it can't be made, since the path is at fault.
AtomicFileWriter open_named_file(const char* option, const std::string& path);

}  // namespace qtune
