// A program run beside this one: it ends when this one is killed, and hears of Ctrl-C from it alone.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace qtune {

class ChildProcess {
 public:
  /// Starts `program` with stdout and stderr at the end of `log`. `environment`: "NAME=value", besides this process's.
  /// When this process dies it gets SIGTERM. Throws: Error with the system's reason.
  ChildProcess(const std::filesystem::path& program, const std::vector<std::string>& arguments,
               const std::vector<std::string>& environment, const std::filesystem::path& log);
  /// One that still runs is killed.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  /// Once it has ended: its exit code, 128 + the number of the signal that ended it.
  std::optional<int> exit_code();

  /// To it and its children.
  void send(int signal) const;

 private:
  pid_t pid_ = -1;
  std::optional<int> exit_code_;
};

}  // namespace qtune
