// A program run as a process of its own: its arguments, limits, output and end.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "qtune/base/file.h"
#include "support/temp_dir.h"

namespace qtune {

/// What becomes of a process that writes past its file size limit.
enum class FileLimitAction {
  kFailWrite,  // the write fails, as on a full disk
  kKill,       // the kernel kills it in the middle of the write
};

struct ProcessOptions {
  std::string input;                       // its standard input
  std::filesystem::path input_pipe;        // or this named pipe, which the test holds open
  std::optional<rlim_t> file_limit_bytes;  // no file may grow beyond this
  FileLimitAction at_limit = FileLimitAction::kFailWrite;
  std::chrono::seconds timeout{120};
  std::vector<std::string> environment;  // "NAME=value", besides the test's own
  std::filesystem::path directory;       // where it runs; empty: where the test does
};

struct ProcessResult {
  int exit_code = 0;  // 128 + signal when a signal ended it
  std::string out, err;

  /// Lines of stderr that start with `prefix`.
  std::vector<std::string> error_lines(const std::string& prefix) const {
    std::vector<std::string> lines;
    for (size_t begin = 0; begin < err.size();) {
      const size_t end = std::min(err.find('\n', begin), err.size());
      if (err.compare(begin, prefix.size(), prefix) == 0) lines.push_back(err.substr(begin, end - begin));
      begin = end + 1;
    }
    return lines;
  }
};

/// The built qtune, running. One thread computes, so that small jobs on a busy machine stay quick.
class QtuneProcess {
 public:
  explicit QtuneProcess(std::vector<std::string> arguments, const ProcessOptions& options = {})
      : deadline_(std::chrono::steady_clock::now() + options.timeout) {
    write_file_atomic(files_ / "in", options.input);
    arguments.insert(arguments.begin(), QTUNE_BINARY);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    variables_ = options.environment;
    std::vector<char*> environment = {threads_.data()};
    for (std::string& variable : variables_) environment.push_back(variable.data());
    for (char** entry = environ; *entry != nullptr; ++entry) {
      if (!std::string_view(*entry).starts_with("OMP_NUM_THREADS=")) environment.push_back(*entry);
    }
    environment.push_back(nullptr);
    const std::string in = options.input_pipe.empty() ? (files_ / "in").string() : options.input_pipe.string();
    const std::string out = (files_ / "out").string(), err = (files_ / "err").string();
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("fork failed");
    if (pid_ == 0) run_child(argv.data(), environment.data(), in, out, err, options);
  }
  ~QtuneProcess() {
    if (pid_ > 0 && !status_) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  QtuneProcess(const QtuneProcess&) = delete;
  QtuneProcess& operator=(const QtuneProcess&) = delete;

  void send(int signal) const { ::kill(pid_, signal); }
  pid_t pid() const { return pid_; }

  /// Polls until `reached` is true (returns true) or the process has ended (returns false).
  bool wait_until(const std::function<bool()>& reached) {
    while (!ended()) {
      if (reached()) return true;
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    return false;
  }

  std::string out_so_far() const { return so_far("out"); }
  std::string err_so_far() const { return so_far("err"); }

  ProcessResult wait() {
    while (!ended()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return {.exit_code = WIFSIGNALED(*status_) ? 128 + WTERMSIG(*status_) : WEXITSTATUS(*status_),
            .out = read_file(files_ / "out"),
            .err = read_file(files_ / "err")};
  }

 private:
  std::string so_far(const char* file) const {
    // The child makes its files, in its own time.
    return std::filesystem::exists(files_ / file) ? read_file(files_ / file) : "";
  }

  [[noreturn]] static void run_child(char** argv, char** environment, const std::string& in, const std::string& out,
                                     const std::string& err, const ProcessOptions& options) {
    const auto redirect = [](const std::string& path, int flags, int fd) {
      const int file = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
      if (file < 0 || ::dup2(file, fd) < 0) _exit(126);
    };
    redirect(in, O_RDONLY, STDIN_FILENO);
    redirect(out, O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
    redirect(err, O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
    if (!options.directory.empty() && ::chdir(options.directory.c_str()) != 0) _exit(126);
    if (options.file_limit_bytes) {
      const rlimit size{*options.file_limit_bytes, *options.file_limit_bytes}, no_core{0, 0};
      if (::setrlimit(RLIMIT_CORE, &no_core) != 0 || ::setrlimit(RLIMIT_FSIZE, &size) != 0) _exit(126);
      ::signal(SIGXFSZ, options.at_limit == FileLimitAction::kKill ? SIG_DFL : SIG_IGN);
    }
    ::execve(argv[0], argv, environment);
    _exit(127);
  }

  bool ended() {
    if (status_) return true;
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      status_ = status;
      return true;
    }
    if (std::chrono::steady_clock::now() > deadline_) {
      ::kill(pid_, SIGKILL);
      ADD_FAILURE() << "timed out: " << read_file(files_ / "err");
      ::waitpid(pid_, &status, 0);
      status_ = status;
    }
    return status_.has_value();
  }

  TempDir files_;
  std::string threads_ = "OMP_NUM_THREADS=1";
  std::vector<std::string> variables_;
  std::chrono::steady_clock::time_point deadline_;
  pid_t pid_ = -1;
  std::optional<int> status_;
};

inline ProcessResult run_process(std::vector<std::string> arguments, const ProcessOptions& options = {}) {
  return QtuneProcess(std::move(arguments), options).wait();
}

/// A failed command: this exit code, and one line that says why, the last on stderr.
inline void expect_one_error(const ProcessResult& result, int exit_code, const std::string& part) {
  EXPECT_EQ(result.exit_code, exit_code) << result.err;
  const std::vector<std::string> lines = result.error_lines("error: ");
  ASSERT_EQ(lines.size(), 1U) << result.err;
  EXPECT_NE(lines[0].find(part), std::string::npos) << lines[0] << "\nexpected: " << part;
  EXPECT_TRUE(result.err.ends_with(lines[0] + "\n")) << result.err;
}

}  // namespace qtune
