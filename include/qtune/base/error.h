// Exceptions that carry the exit code of the process (docs/architecture.md, "Exit codes").
// Libraries throw; only main turns an exception into an exit code.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

namespace qtune {

inline constexpr int kExitOk = 0;
inline constexpr int kExitError = 1;        // a bug or an unforeseen failure
inline constexpr int kExitUsage = 2;        // wrong use or config
inline constexpr int kExitData = 3;         // a data file
inline constexpr int kExitCheckpoint = 4;   // a checkpoint, model or tokenizer file
inline constexpr int kExitDistributed = 5;  // a rank died or hung
inline constexpr int kExitNonFinite = 6;    // loss or gradient norm not finite
inline constexpr int kExitInterrupted = 130;

/// Message form, one line: "WHERE: what was expected, what was found ---> what to do".
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, int exit_code = kExitError)
      : std::runtime_error(message), exit_code_(exit_code) {}
  int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

/// Wrong use or configuration. May carry several faults, one a line.
class ConfigError : public Error {
 public:
  explicit ConfigError(const std::string& message) : Error(message, kExitUsage) {}
};

class DataError : public Error {
 public:
  explicit DataError(const std::string& message) : Error(message, kExitData) {}
};

class CheckpointError : public Error {
 public:
  explicit CheckpointError(const std::string& message) : Error(message, kExitCheckpoint) {}
};

/// A rank died, hung, or can't be reached. One message a job: a rank that has nothing to add throws it empty.
class DistError : public Error {
 public:
  explicit DistError(const std::string& message) : Error(message, kExitDistributed) {}
};

class NonFiniteError : public Error {
 public:
  explicit NonFiniteError(const std::string& message) : Error(message, kExitNonFinite) {}
};

/// "did you mean X?" candidates: the name in `known` with the smallest edit distance to `name`, or "" when none is near
/// (more than a third of the letters differ).
std::string nearest_name(const std::string& name, const std::vector<std::string>& known);

}  // namespace qtune
