// A function with a stack of its own that can stop in the middle and go on later. One operating system thread runs all
// fibers: the scheduler resumes one, which runs until it yields or ends.
#pragma once

#include <cstddef>

namespace qtune::simt {

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Makes the fiber ready to run `entry(argument)`, which must not throw. Not while one is under way.
  void start(void (*entry)(void*), void* argument);

  /// From the scheduler: runs the fiber until it yields or ends.
  void resume();

  /// Has begun and not ended.
  bool is_under_way() const { return under_way_; }

  /// Whether the address lies on the stack of the fiber that runs now.
  static bool owns(const void* address);

  /// From inside a fiber: back to the scheduler.
  static void yield();

 private:
  struct Context;
  [[noreturn]] static void run();
  void switch_in();
  void switch_out(bool for_good);

  Context* context_;
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
  bool under_way_ = false;
};

}  // namespace qtune::simt
