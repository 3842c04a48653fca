// Threads that share the lines of qtune tokenize; they stay, since tokenizers remember words by thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace qtune {

class TokenizeWorkers {
 public:
  /// The calling thread is one of them.
  explicit TokenizeWorkers(int num_threads);
  ~TokenizeWorkers();
  TokenizeWorkers(const TokenizeWorkers&) = delete;
  TokenizeWorkers& operator=(const TokenizeWorkers&) = delete;

  /// Calls work(0), ..., work(count - 1), each once, in any order and on any thread; returns when all are done.
  /// Throws: the first of what the calls threw.
  void for_each_index(size_t count, const std::function<void(size_t)>& work);

 private:
  void take_part();
  void serve();

  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable start_, done_;
  const std::function<void(size_t)>* work_ = nullptr;
  size_t count_ = 0, round_ = 0, num_working_ = 0;
  std::atomic<size_t> next_{0};
  std::exception_ptr failure_;
  bool stop_ = false;
};

}  // namespace qtune
