#include "simt/global_memory.h"

#include <algorithm>
#include <string>

#include "simt/block.h"

namespace qtune::simt {
namespace {

constexpr size_t kPageBytes = 4096;

}  // namespace

GlobalMemory& global_memory() {
  static GlobalMemory memory;
  return memory;
}

void GlobalMemory::end_launch() {
  pages_.clear();
  last_page_ = nullptr;
  epoch_ = 1;
}

void GlobalMemory::start_block(uint32_t number) {
  block_ = number;
  in_atomic_ = false;
  ++epoch_;
}

GlobalMemory::Page& GlobalMemory::page_at(uintptr_t number) {
  if (last_page_ != nullptr && last_number_ == number) return *last_page_;
  std::unique_ptr<Page>& page = pages_[number];
  if (!page) {
    page = std::make_unique<Page>();
    page->cells.resize(kPageBytes / page->granule);
  }
  last_number_ = number;
  last_page_ = page.get();
  return *page;
}

void GlobalMemory::refine(Page& page, size_t granule) {
  const size_t parts = page.granule / granule;
  std::vector<Cell> cells;
  cells.reserve(page.cells.size() * parts);
  for (const Cell& cell : page.cells) cells.insert(cells.end(), parts, cell);
  page.granule = granule;
  page.cells = std::move(cells);
}

bool GlobalMemory::conflicts(const Event& before, const Event& now) const {
  if (before.epoch == 0 || (before.atomic && now.atomic)) return false;
  if (before.block != now.block) return true;  // nothing orders the blocks of a launch
  if (before.epoch != now.epoch || before.thread == now.thread) return false;
  return !ordered_by_syncwarp(before.thread, before.clock);
}

void GlobalMemory::remember_read(Cell& cell, const Event& now) {
  const Event& last = cell.reader;
  if (last.epoch != 0 && last.block != now.block) {
    cell.block_reader = last;
    cell.thread_reader = {};
  } else if (last.epoch != 0 && last.thread != now.thread) {
    cell.thread_reader = last;
  }
  cell.reader = now;
}

void GlobalMemory::check(Cell& cell, const Event& now, bool writes, const void* address) {
  const auto report_against = [&](const Event& before, const char* did) {
    const bool own_block = before.block == now.block;
    report_running("race on global memory: this thread " + std::string(writes ? "writes" : "reads") + " at " +
                   std::to_string(reinterpret_cast<uintptr_t>(address)) + " what " + thread_name(before.thread) +
                   (own_block ? " of its block " : " of block number " + std::to_string(before.block) + " ") + did +
                   (own_block ? " with no barrier in between" : "; nothing orders the blocks of a launch"));
  };
  if (conflicts(cell.writer, now)) report_against(cell.writer, "wrote");
  if (!writes) {
    remember_read(cell, now);
    return;
  }
  for (const Event* reader : {&cell.reader, &cell.thread_reader, &cell.block_reader}) {
    if (conflicts(*reader, now)) report_against(*reader, "read");
  }
  cell.writer = now;
}

void GlobalMemory::access(const void* address, size_t bytes, bool writes) {
  const Event now{block_, epoch_, current_clock(), static_cast<uint16_t>(current_thread()), in_atomic_};
  auto at = reinterpret_cast<uintptr_t>(address);
  const uintptr_t end = at + bytes;
  while (at < end) {
    Page& page = page_at(at / kPageBytes);
    const size_t in_page = at % kPageBytes, left = end - at;
    // The largest power of two that the place and the size are multiples of.
    const size_t fits = std::min<size_t>(((in_page | left) & (~(in_page | left) + 1)), 4);
    if (fits < page.granule) refine(page, fits);
    check(page.cells[in_page / page.granule], now, writes, address);
    at += page.granule;
  }
}

}  // namespace qtune::simt
