// Global memory as the threads of a launch use it: each access of a kernel's own code is held against what other
// threads did before. Kernels use plain pointers; the compiler calls us (instrumented_access.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

namespace qtune::simt {

class GlobalMemory {
 public:
  /// Forgets all accesses: launches of a stream come one after the other.
  void end_launch();
  void start_block(uint32_t number);
  void pass_barrier() { ++epoch_; }
  void start_atomic() { in_atomic_ = true; }
  void end_atomic() { in_atomic_ = false; }

  /// By the thread that runs now. Reports a race once for a launch; the thread goes on to its next wait.
  void access(const void* address, size_t bytes, bool writes);

 private:
  struct Event {
    uint32_t block = 0, epoch = 0;  // epoch 0: never. Counts barriers and blocks.
    uint32_t clock = 0;
    uint16_t thread = 0;
    bool atomic = false;
  };
  /// Last accesses of a few bytes. Of the readers the last one, the last one that was another thread of its block, and
  /// the last one of another block.
  struct Cell {
    Event writer, reader, thread_reader, block_reader;
  };
  /// Cells of `granule` bytes each: 4, or what the smallest access asked for.
  struct Page {
    size_t granule = 4;
    std::vector<Cell> cells;
  };

  Page& page_at(uintptr_t number);
  static void refine(Page& page, size_t granule);
  bool conflicts(const Event& before, const Event& now) const;
  static void remember_read(Cell& cell, const Event& now);
  void check(Cell& cell, const Event& now, bool writes, const void* address);

  std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages_;
  uintptr_t last_number_ = 0;
  Page* last_page_ = nullptr;
  uint32_t block_ = 0, epoch_ = 1;
  bool in_atomic_ = false;
};

GlobalMemory& global_memory();

}  // namespace qtune::simt
