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

/// The file of an option; what stopped processes have left of it is removed first.
/// Throws: ConfigError naming the option when it can't be made, since the path is at fault; Error of a full disk or a
/// signal as AtomicFileWriter does.
AtomicFileWriter open_named_file(const char* option, const std::string& path);

/// Throws as open_named_file would. A pipe or a device is taken to be writable: opening it would be noticed.
void check_named_file(const char* option, const std::string& path);

}  // namespace qtune
