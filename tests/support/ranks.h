// Ranks as real processes of this host, forked from the test.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "qtune/dist/launch.h"
#include "support/temp_dir.h"

namespace qtune {

inline int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

/// What became of a rank: its exit code (128 + signal when killed), and what it said on stderr.
struct RankEnd {
  int exit_code = -1;
  std::string said;
};

/// Runs `body` as each rank; what it returns is its exit code. The parent must not have used LibTorch's threads.
class Ranks {
 public:
  Ranks(int world_size, const std::function<int(const Launch&)>& body) {
    const int port = free_port();
    for (int rank = 0; rank < world_size; ++rank) {
      std::fflush(nullptr);
      const pid_t pid = ::fork();
      if (pid != 0) {
        pids_.push_back(pid);
        continue;
      }
      EXPECT_NE(std::freopen(log_of(rank).c_str(), "w", stderr), nullptr);
      const Launch launch{.rank = rank,
                          .world_size = world_size,
                          .local_rank = rank,
                          .local_world_size = world_size,
                          .launcher = "test",
                          .host = "host" + std::to_string(rank),
                          .master_addr = "127.0.0.1",
                          .master_port = port};
      int code = 1;
      try {
        code = body(launch);
        if (testing::Test::HasFailure()) code = 99;
      } catch (const std::exception& e) {
        std::fprintf(stderr, "exception: %s\n", e.what());
      }
      std::fflush(nullptr);
      ::_exit(code);
    }
  }
  ~Ranks() {
    for (const pid_t pid : pids_) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
  }
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  void signal(int rank, int number) const { ::kill(pids_[static_cast<size_t>(rank)], number); }

  /// Waits for a rank, at most so long: then it is killed, and its exit code is -1.
  RankEnd wait(int rank, std::chrono::seconds most = std::chrono::seconds(60)) {
    const auto end = std::chrono::steady_clock::now() + most;
    int status = 0;
    RankEnd result;
    const pid_t pid = pids_[static_cast<size_t>(rank)];
    while (::waitpid(pid, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > end) {
        ::kill(pid, SIGKILL);
        ::waitpid(pid, &status, 0);
        result.said = text_of(rank) + " (hung)";
        return result;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    result.said = text_of(rank);
    return result;
  }

  std::vector<RankEnd> wait_all() {
    std::vector<RankEnd> ends;
    for (size_t rank = 0; rank < pids_.size(); ++rank) ends.push_back(wait(static_cast<int>(rank)));
    return ends;
  }

  std::filesystem::path file(const std::string& name) const { return folder_ / name; }

 private:
  std::string log_of(int rank) const { return (folder_ / ("rank" + std::to_string(rank))).string(); }
  std::string text_of(int rank) const {
    std::ifstream in(log_of(rank));
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }

  TempDir folder_;
  std::vector<pid_t> pids_;
};

}  // namespace qtune
