#include "simt/block.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "simt/fiber.h"
#include "simt/global_memory.h"
#include "simt/shared_memory.h"
#include "simt/turns.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace qtune::simt {
namespace {

enum class State { kReady, kAtBarrier, kInWarp, kExited };

struct Thread {
  Fiber fiber;
  unsigned number = 0;
  uint3 index{};
  State state = State::kReady;
  // Where it waits, and with what.
  const char* intrinsic = "";
  Location at;
  unsigned mask = 0;
  // What it gives to a warp collective, and what it gets: values[source], or all.
  uint64_t value = 0, received = 0;
  unsigned source = 0;
  WarpValues values{};
  // Vector clock over the lanes of its warp: clocks[lane] of theirs come before now. Its own entry is its clock.
  std::array<uint32_t, kWarpSize> clocks{};
};

/// Lanes that wait for each other in one collective.
struct Group {
  const char* intrinsic;
  unsigned mask, arrived;
};

struct Warp {
  unsigned present = 0, exited = 0;  // bits of lanes
  std::vector<Group> groups;
};

// One launch runs at a time. Threads are kept from launch to launch for their stacks.
std::vector<std::unique_ptr<Thread>> threads;
std::vector<Warp> warps;
unsigned num_threads = 0, num_at_barrier = 0, num_in_warp = 0, num_exited = 0, num_true = 0;
unsigned first_at_barrier = 0;  // counts while num_at_barrier > 0
int barrier_result = 0;
Thread* running = nullptr;
const Launch* launch_now = nullptr;
bool failed = false;

Order the_order = Order::kMixed;
uint64_t order_seed = 0;

std::string to_text(dim3 d) {
  return "(" + std::to_string(d.x) + ", " + std::to_string(d.y) + ", " + std::to_string(d.z) + ")";
}

std::string to_text(unsigned mask) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", mask);
  return text;
}

std::string where_waiting(const Thread& t) {
  std::string text = std::string(t.intrinsic);
  if (t.state == State::kInWarp) text += " with mask " + to_text(t.mask);
  return text + " at " + to_string(t.at);
}

bool same(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }

unsigned lane_of(unsigned thread) { return thread % kWarpSize; }
unsigned warp_begin(unsigned thread) { return thread - lane_of(thread); }

/// All waits, threads that wait alike in one line: "threads 0-15 wait at ...".
std::string list_waits() {
  std::string text;
  for (unsigned begin = 0; begin < num_threads;) {
    unsigned end = begin + 1;
    const std::string wait =
        threads[begin]->state == State::kExited ? "have left the kernel" : "wait in " + where_waiting(*threads[begin]);
    while (end < num_threads && threads[end]->state == threads[begin]->state &&
           threads[end]->at.line == threads[begin]->at.line && threads[end]->mask == threads[begin]->mask &&
           same(threads[end]->intrinsic, threads[begin]->intrinsic)) {
      ++end;
    }
    text += "\n  threads " + std::to_string(begin) + "-" + std::to_string(end - 1) + " " + wait;
    begin = end;
  }
  return text;
}

/// Reports with the names of kernel, block and thread; `thread` may be null (nobody's own fault).
void report(const std::string& what, const Thread* thread, Location at) {
  failed = true;
  std::string text = what + "\n  [kernel " + launch_now->kernel + ", block " + to_text(dim3(blockIdx)) + " of " +
                     to_text(launch_now->grid);
  if (thread != nullptr) text += ", " + thread_name(thread->number) + " of " + to_text(launch_now->block);
  if (at.line != 0) text += ", " + to_string(at);
  report_fault(text + "]", at);
}

void resume(Thread& t) {
  running = &t;
  threadIdx = t.index;
  t.fiber.resume();
  running = nullptr;
}

/// Thrown through a kernel to leave it after a fault, so that nothing stays on the fibers' stacks.
struct GiveUp {};

void wait_as(State state) {
  running->state = state;
  Fiber::yield();
  if (failed) throw GiveUp{};
}

void check_exit(const Thread& leaver) {
  for (unsigned i = 0; i < num_threads; ++i) {
    const Thread& t = *threads[i];
    if (t.state == State::kAtBarrier) {
      return report("divergent barrier: " + thread_name(leaver.number) +
                        " left the kernel while this thread waits in " + where_waiting(t),
                    &t, t.at);
    }
    const bool same_warp = warp_begin(i) == warp_begin(leaver.number);
    if (t.state == State::kInWarp && same_warp && (t.mask >> lane_of(leaver.number) & 1) != 0) {
      return report("warp mask: " + thread_name(leaver.number) + " (lane " + std::to_string(lane_of(leaver.number)) +
                        ") left the kernel while this thread waits for it in " + where_waiting(t),
                    &t, t.at);
    }
  }
}

void thread_entry(void* argument) {
  auto& self = *static_cast<Thread*>(argument);
  try {
    launch_now->thread_body();
  } catch (const GiveUp&) {
  } catch (const std::exception& e) {
    report(std::string("exception in a kernel: ") + e.what(), &self, {});
  }
  self.state = State::kExited;
  ++num_exited;
  warps[self.number / kWarpSize].exited |= 1u << lane_of(self.number);
  if (!failed && num_at_barrier + num_in_warp > 0) check_exit(self);
}

void start_threads() {
  num_threads = blockDim.x * blockDim.y * blockDim.z;
  num_at_barrier = num_in_warp = num_exited = num_true = 0;
  warps.assign((num_threads + kWarpSize - 1) / kWarpSize, {});
  while (threads.size() < num_threads) threads.push_back(std::make_unique<Thread>());
  for (unsigned i = 0; i < num_threads; ++i) {
    Thread& t = *threads[i];
    t.number = i;
    t.index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
    t.state = State::kReady;
    t.intrinsic = "";
    t.at = {};
    t.mask = 0;
    t.clocks.fill(0);
    t.clocks[lane_of(i)] = 1;
    t.fiber.start(thread_entry, &t);
    warps[i / kWarpSize].present |= 1u << lane_of(i);
  }
}

void give_up() {
  for (unsigned i = 0; i < num_threads; ++i) {
    if (threads[i]->fiber.is_under_way()) resume(*threads[i]);
  }
}

void run_block(uint64_t block_number) {
  start_threads();
  shared_memory().start_block(launch_now->shared_bytes);
  global_memory().start_block(static_cast<uint32_t>(block_number));
  Turns turns(the_order, order_seed, block_number, num_threads);
  while (num_exited < num_threads) {
    bool anyone = false;
    for (const unsigned i : turns.next_round()) {
      if (threads[i]->state != State::kReady) continue;
      anyone = true;
      resume(*threads[i]);
      if (failed) return give_up();
    }
    if (!anyone) {
      report("deadlock: no thread can go on" + list_waits(), nullptr, threads[0]->at);
      return give_up();
    }
  }
}

}  // namespace

void set_order(Order order, uint64_t seed) {
  the_order = order;
  order_seed = seed;
}

bool is_valid_launch(dim3 grid, dim3 block, size_t shared_bytes) {
  constexpr unsigned kMaxGridX = 0x7fffffff, kMaxGridYZ = 65535, kMaxBlockZ = 64;
  constexpr size_t kMaxSharedBytes = size_t{227} << 10;
  const uint64_t in_block = uint64_t{block.x} * block.y * block.z;
  return grid.x >= 1 && grid.y >= 1 && grid.z >= 1 && grid.x <= kMaxGridX && grid.y <= kMaxGridYZ &&
         grid.z <= kMaxGridYZ && in_block >= 1 && in_block <= kMaxThreads && block.z <= kMaxBlockZ &&
         shared_bytes <= kMaxSharedBytes;
}

bool run_launch(const Launch& launch) {
  launch_now = &launch;
  failed = false;
  gridDim = launch.grid;
  blockDim = launch.block;
  uint64_t number = 0;
  for (blockIdx.z = 0; blockIdx.z < gridDim.z && !failed; ++blockIdx.z) {
    for (blockIdx.y = 0; blockIdx.y < gridDim.y && !failed; ++blockIdx.y) {
      for (blockIdx.x = 0; blockIdx.x < gridDim.x && !failed; ++blockIdx.x) run_block(number++);
    }
  }
  launch_now = nullptr;
  global_memory().end_launch();
  return !failed;
}

void start_atomic() { global_memory().start_atomic(); }
void end_atomic() { global_memory().end_atomic(); }

bool in_kernel() { return running != nullptr; }
unsigned current_thread() { return running->number; }
unsigned current_lane() { return lane_of(running->number); }

std::string thread_name(unsigned thread) {
  const uint3& i = threads[thread]->index;
  return "thread " + to_text(dim3(i));
}

void fail(const std::string& what, Location at) {
  if (!failed) report(what, running, at);
  throw GiveUp{};
}

void report_running(const std::string& what) {
  if (!failed) report(what, running, {});
}

int wait_at_barrier(const char* intrinsic, bool predicate, Location at) {
  Thread& self = *running;
  if (num_exited > 0) {
    const auto left = std::find_if(threads.begin(), threads.end(), [](auto& t) { return t->state == State::kExited; });
    fail("divergent barrier: this thread came to " + std::string(intrinsic) + ", but " + thread_name((*left)->number) +
             " has left the kernel",
         at);
  }
  const Thread& first = *threads[first_at_barrier];
  if (num_at_barrier > 0 &&
      (first.at.line != at.line || !same(first.at.file, at.file) || !same(first.intrinsic, intrinsic))) {
    fail("divergent barrier: this thread came to " + std::string(intrinsic) + " while " + thread_name(first.number) +
             " waits in " + where_waiting(first),
         at);
  }
  self.intrinsic = intrinsic;
  self.at = at;
  num_true += predicate ? 1 : 0;
  if (num_at_barrier++ == 0) first_at_barrier = self.number;
  if (num_at_barrier < num_threads) {
    wait_as(State::kAtBarrier);
    return barrier_result;
  }
  barrier_result = static_cast<int>(num_true);
  num_at_barrier = num_true = 0;
  for (unsigned i = 0; i < num_threads; ++i) threads[i]->state = State::kReady;
  shared_memory().pass_barrier();
  global_memory().pass_barrier();
  return barrier_result;
}

namespace {

unsigned lowest_lane(unsigned mask) { return static_cast<unsigned>(__builtin_ctz(mask)); }

/// Refuses a mask that can never be met.
void check_mask(const Thread& self, const Warp& warp, const char* intrinsic, unsigned mask, Location at) {
  const unsigned own = lane_of(self.number);
  const auto refuse = [&](const std::string& why) {
    fail("warp mask: " + std::string(intrinsic) + " with mask " + to_text(mask) + why, at);
  };
  if ((mask >> own & 1) == 0) refuse(" does not name lane " + std::to_string(own) + ", which called it");
  if (const unsigned absent = mask & ~warp.present; absent != 0) {
    refuse(" names lane " + std::to_string(lowest_lane(absent)) + ", which the block does not have");
  }
  if (const unsigned gone = mask & warp.exited; gone != 0) {
    refuse(" names lane " + std::to_string(lowest_lane(gone)) + ", which has left the kernel");
  }
}

/// Takes the caller into its group. True when it is the last to come; the group is then dissolved.
bool completes_group(Warp& warp, const char* intrinsic, unsigned mask, unsigned lane) {
  auto group = std::find_if(warp.groups.begin(), warp.groups.end(),
                            [&](const Group& g) { return g.mask == mask && same(g.intrinsic, intrinsic); });
  if (group == warp.groups.end()) group = warp.groups.insert(group, {intrinsic, mask, 0});
  group->arrived |= 1u << lane;
  if (group->arrived != mask) return false;
  warp.groups.erase(group);
  return true;
}

/// Hands `give(lane's thread)` what the lanes gave, and lets all go on.
template <class Give>
void complete(unsigned begin, unsigned mask, Give give) {
  for (unsigned rest = mask; rest != 0; rest &= rest - 1) give(*threads[begin + lowest_lane(rest)]);
  for (unsigned rest = mask; rest != 0; rest &= rest - 1) {
    Thread& t = *threads[begin + lowest_lane(rest)];
    if (t.state == State::kInWarp) --num_in_warp;
    t.state = State::kReady;
  }
}

/// Returns once all lanes of the mask have come; the last of them calls `give` for each.
template <class Give>
void meet(const char* intrinsic, unsigned mask, Location at, Give give) {
  Thread& self = *running;
  Warp& warp = warps[self.number / kWarpSize];
  check_mask(self, warp, intrinsic, mask, at);
  self.intrinsic = intrinsic;
  self.at = at;
  self.mask = mask;
  if (completes_group(warp, intrinsic, mask, lane_of(self.number))) {
    complete(warp_begin(self.number), mask, give);
  } else {
    ++num_in_warp;
    wait_as(State::kInWarp);
  }
}

}  // namespace

uint64_t shuffle_in_warp(const char* intrinsic, unsigned mask, uint64_t value, unsigned source, Location at) {
  Thread& self = *running;
  self.value = value;
  self.source = source;
  meet(intrinsic, mask, at, [](Thread& t) { t.received = threads[warp_begin(t.number) + t.source]->value; });
  return self.received;
}

const WarpValues& gather_in_warp(const char* intrinsic, unsigned mask, uint64_t value, Location at) {
  Thread& self = *running;
  self.value = value;
  meet(intrinsic, mask, at, [](Thread& t) {
    for (unsigned rest = t.mask; rest != 0; rest &= rest - 1) {
      t.values[lowest_lane(rest)] = threads[warp_begin(t.number) + lowest_lane(rest)]->value;
    }
  });
  return self.values;
}

void sync_warp(unsigned mask, Location at) {
  std::array<uint32_t, kWarpSize> joined{};
  const unsigned begin = warp_begin(running->number);
  meet("__syncwarp", mask, at, [&](const Thread& t) {
    if (t.number == begin + lowest_lane(mask)) {  // the first call: nothing is changed yet
      for (unsigned rest = mask; rest != 0; rest &= rest - 1) {
        const auto& clocks = threads[begin + lowest_lane(rest)]->clocks;
        for (unsigned k = 0; k < kWarpSize; ++k) joined[k] = std::max(joined[k], clocks[k]);
      }
    }
    Thread& changed = *threads[t.number];
    changed.clocks = joined;
    ++changed.clocks[lane_of(t.number)];
  });
}

uint32_t current_clock() { return running->clocks[current_lane()]; }

bool ordered_by_syncwarp(unsigned other, uint32_t clock) {
  if (warp_begin(other) != warp_begin(running->number)) return false;
  return running->clocks[lane_of(other)] >= clock;
}

}  // namespace qtune::simt
