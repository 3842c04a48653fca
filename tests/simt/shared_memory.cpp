#include "simt/shared_memory.h"

#include <string>

namespace qtune::simt {
namespace {

constexpr size_t kAlignment = 16;
constexpr size_t kStaticBytes = size_t{48} << 10;  // what CUDA allows a kernel to declare

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

SharedMemory& shared_memory() {
  static SharedMemory memory;
  return memory;
}

void SharedMemory::start_block(size_t dynamic_bytes) {
  first_epoch_ = ++epoch_;
  arrays_.clear();
  dynamic_ = {"dynamic shared memory", 0, dynamic_bytes};
  used_ = aligned(dynamic_bytes);
  const size_t most = used_ + kStaticBytes;
  if (bytes_.size() < most) {
    bytes_.resize(most);
    history_.resize(most);
  }
}

const SharedRegion* SharedMemory::declare(const char* name, size_t bytes, Location at) {
  const auto [entry, is_new] = arrays_.try_emplace({at.file, at.line, name, bytes});
  if (is_new) {
    if (used_ + aligned(bytes) > bytes_.size()) {
      fail("shared memory: " + std::string(name) + " takes the kernel over 48 KiB of declared arrays", at);
    }
    entry->second = {name, used_, bytes};
    used_ += aligned(bytes);
  }
  return &entry->second;
}

const SharedRegion* SharedMemory::dynamic(const char* name) {
  dynamic_.name = name;
  return &dynamic_;
}

unsigned char* SharedMemory::access(const SharedRegion& region, int64_t offset, size_t bytes, Access kind,
                                    Location at) {
  const auto size = static_cast<int64_t>(bytes);
  if (offset < 0 || offset + size > static_cast<int64_t>(region.bytes)) {
    fail("shared index out of bounds: bytes " + std::to_string(offset) + " to " + std::to_string(offset + size - 1) +
             " of " + region.name + ", which has " + std::to_string(region.bytes) + " bytes",
         at);
  }
  const Event now{epoch_, at, current_clock(), static_cast<uint16_t>(current_thread()), kind == Access::kAtomic};
  const size_t begin = region.begin + static_cast<size_t>(offset);
  for (size_t i = begin; i < begin + bytes; ++i) {
    Byte& byte = history_[i];
    if (kind != Access::kWrite && byte.writer.epoch < first_epoch_) {
      fail("uninitialised shared memory: byte " + std::to_string(i - region.begin) + " of " + region.name +
               " is read before any thread of the block wrote it",
           at);
    }
    check_race(byte, now, kind, region, i - region.begin);
    if (kind == Access::kRead) {
      remember_read(byte, now);
    } else {
      byte.writer = now;
    }
  }
  return bytes_.data() + begin;
}

bool SharedMemory::conflicts(const Event& before, const Event& now) const {
  if (before.epoch != epoch_ || before.thread == now.thread) return false;
  if (before.atomic && now.atomic) return false;
  return !ordered_by_syncwarp(before.thread, before.clock);
}

void SharedMemory::check_race(const Byte& byte, const Event& now, Access kind, const SharedRegion& region,
                              size_t offset) const {
  const auto fail_against = [&](const Event& before, const char* did) {
    const char* does = kind == Access::kRead ? "reads" : kind == Access::kWrite ? "writes" : "changes atomically";
    fail("race on shared memory: this thread " + std::string(does) + " byte " + std::to_string(offset) + " of " +
             region.name + ", which " + thread_name(before.thread) + " " + did + " at " + to_string(before.at) +
             " with no barrier in between",
         now.at);
  };
  if (conflicts(byte.writer, now)) fail_against(byte.writer, byte.writer.atomic ? "changed atomically" : "wrote");
  if (kind == Access::kRead) return;
  for (const Event* reader : {&byte.reader, &byte.lane_reader, &byte.warp_reader}) {
    if (conflicts(*reader, now)) fail_against(*reader, "read");
  }
}

void SharedMemory::remember_read(Byte& byte, const Event& now) {
  Event& last = byte.reader;
  if (last.epoch != now.epoch) {
    byte.reader = now;
    byte.lane_reader = byte.warp_reader = {};
    return;
  }
  if (last.thread == now.thread) {
    last = now;
  } else if (last.thread / kWarpSize == now.thread / kWarpSize) {
    byte.lane_reader = last;
    last = now;
  } else {
    byte.warp_reader = last;
    byte.lane_reader = {};
    last = now;
  }
}

}  // namespace qtune::simt
