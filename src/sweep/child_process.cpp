#include "child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>

#include "qtune/base/error.h"

extern char** environ;

namespace qtune {
namespace {

/// This process's environment with `changes` in it.
std::vector<std::string> changed_environment(const std::vector<std::string>& changes) {
  std::vector<std::string> result = changes;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view name = std::string_view(*entry).substr(0, std::string_view(*entry).find('=') + 1);
    bool changed = false;
    for (const std::string& change : changes) changed = changed || std::string_view(change).starts_with(name);
    if (!changed) result.emplace_back(*entry);
  }
  return result;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Between fork and exec only calls that are safe in a signal handler.
[[noreturn]] void run_child(const char* program, char** arguments, char** environment, int in, int out, pid_t parent) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) _exit(kExitInterrupted);  // died before prctl
  ::signal(SIGINT, SIG_DFL);
  ::signal(SIGTERM, SIG_DFL);
  if (::dup2(in, STDIN_FILENO) < 0 || ::dup2(out, STDOUT_FILENO) < 0 || ::dup2(out, STDERR_FILENO) < 0) _exit(126);
  ::execve(program, arguments, environment);
  _exit(127);
}

}  // namespace

ChildProcess::ChildProcess(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                           const std::vector<std::string>& environment, const std::filesystem::path& log) {
  std::vector<std::string> words = arguments, variables = changed_environment(environment);
  words.insert(words.begin(), "qtune");
  std::vector<char*> argv = pointers_to(words), envp = pointers_to(variables);
  const int in = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const int reason = errno;
  const pid_t parent = ::getpid();
  if (in >= 0 && out >= 0) pid_ = ::fork();
  if (pid_ == 0) run_child(program.c_str(), argv.data(), envp.data(), in, out, parent);
  const int fork_reason = errno;
  if (in >= 0) ::close(in);
  if (out >= 0) ::close(out);
  if (in < 0 || out < 0) throw Error(fmt::format("{}: cannot open: {}", log.string(), std::strerror(reason)));
  if (pid_ < 0) throw Error(fmt::format("cannot start a run: {}", std::strerror(fork_reason)));
}

ChildProcess::~ChildProcess() {
  if (pid_ <= 0 || exit_code_) return;
  send(SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

std::optional<int> ChildProcess::exit_code() {
  int status = 0;
  if (!exit_code_ && ::waitpid(pid_, &status, WNOHANG) == pid_) {
    exit_code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
  return exit_code_;
}

void ChildProcess::send(int signal) const {
  // Its group may not be there yet.
  if (::kill(-pid_, signal) != 0) ::kill(pid_, signal);
}

}  // namespace qtune
