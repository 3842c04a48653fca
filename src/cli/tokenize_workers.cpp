#include "tokenize_workers.h"

#include <algorithm>

namespace qtune {
namespace {

constexpr size_t kShare = 32;  // lines taken at once

}  // namespace

TokenizeWorkers::TokenizeWorkers(int num_threads) {
  for (int i = 1; i < num_threads; ++i) threads_.emplace_back([this] { serve(); });
}

TokenizeWorkers::~TokenizeWorkers() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  start_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void TokenizeWorkers::take_part() {
  try {
    for (size_t first; (first = next_.fetch_add(kShare)) < count_;) {
      for (size_t i = first; i < std::min(first + kShare, count_); ++i) (*work_)(i);
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
    next_ = count_;
  }
}

void TokenizeWorkers::serve() {
  size_t seen = 0;
  std::unique_lock lock(mutex_);
  while (true) {
    start_.wait(lock, [&] { return stop_ || round_ != seen; });
    if (stop_) return;
    seen = round_;
    lock.unlock();
    take_part();
    lock.lock();
    if (--num_working_ == 0) done_.notify_one();
  }
}

void TokenizeWorkers::for_each_index(size_t count, const std::function<void(size_t)>& work) {
  {
    const std::lock_guard lock(mutex_);
    work_ = &work;
    count_ = count;
    next_ = 0;
    failure_ = nullptr;
    num_working_ = threads_.size();
    ++round_;
  }
  start_.notify_all();
  take_part();
  std::unique_lock lock(mutex_);
  done_.wait(lock, [&] { return num_working_ == 0; });
  if (failure_) std::rethrow_exception(failure_);
}

}  // namespace qtune
