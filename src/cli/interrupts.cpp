#include "interrupts.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "qtune/base/error.h"

namespace qtune {
namespace {

volatile std::sig_atomic_t interrupts = 0;
int wake_pipe[2] = {-1, -1};  // a handler can't be waited for, a pipe can
struct sigaction old_action;

void on_interrupt(int) {
  const int saved = errno;
  interrupts = interrupts + 1;
  [[maybe_unused]] const ssize_t ignored = ::write(wake_pipe[1], "", 1);
  errno = saved;
}

}  // namespace

Interrupts::Interrupts() {
  if (::pipe(wake_pipe) != 0) throw Error(fmt::format("chat: cannot make a pipe: {}", std::strerror(errno)));
  for (const int fd : wake_pipe) ::fcntl(fd, F_SETFL, O_NONBLOCK);
  interrupts = 0;
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, &old_action);
}

Interrupts::~Interrupts() {
  sigaction(SIGINT, &old_action, nullptr);
  for (int& fd : wake_pipe) {
    ::close(fd);
    fd = -1;
  }
}

int Interrupts::count() const { return interrupts; }

void Interrupts::forget() {
  interrupts = 0;
  char bytes[64];
  while (::read(wake_pipe[0], bytes, sizeof bytes) > 0) {
  }
}

int Interrupts::descriptor() const { return wake_pipe[0]; }

InputLines::Event InputLines::next(const Interrupts& source, std::string& line) {
  while (true) {
    if (const size_t end = buffer_.find('\n'); end != std::string::npos || (ended_ && !buffer_.empty())) {
      line = buffer_.substr(0, end);
      buffer_.erase(0, end == std::string::npos ? end : end + 1);
      if (line.ends_with('\r')) line.pop_back();
      return Event::kLine;
    }
    if (ended_) return Event::kEnd;
    pollfd waiting[2] = {{source.descriptor(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    if (::poll(waiting, 2, -1) < 0 && errno != EINTR)
      throw Error(fmt::format("standard input: cannot read: {}", std::strerror(errno)));
    if (source.count() > 0) return Event::kInterrupted;
    if (waiting[1].revents == 0) continue;
    char bytes[4096];
    const ssize_t count = ::read(STDIN_FILENO, bytes, sizeof bytes);
    if (count < 0 && errno != EINTR) throw Error(fmt::format("standard input: cannot read: {}", std::strerror(errno)));
    if (count == 0) ended_ = true;
    if (count > 0) buffer_.append(bytes, static_cast<size_t>(count));
  }
}

}  // namespace qtune
