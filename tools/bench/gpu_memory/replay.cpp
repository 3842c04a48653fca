// Replays allocations through LibTorch's caching allocator, above a stand-in of the CUDA runtime.
//
//   replay SETTINGS < TRACE      SETTINGS as in PYTORCH_CUDA_ALLOC_CONF; lines of TRACE: "a NAME BYTES", "f NAME"
//
// Prints the most bytes that were reserved at a time, and that were allocated.
#include <c10/core/AllocatorConfig.h>
#include <c10/cuda/CUDACachingAllocator.h>

#include <cstdio>
#include <iostream>
#include <string>
#include <unordered_map>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  namespace allocator = c10::cuda::CUDACachingAllocator;
  c10::CachingAllocator::setAllocatorSettings(argv[1]);
  allocator::init(1);
  std::unordered_map<std::string, void*> live;
  std::string what, name;
  while (std::cin >> what >> name) {
    if (what == "a") {
      size_t bytes = 0;
      std::cin >> bytes;
      live[name] = allocator::raw_alloc(bytes);
    } else {
      allocator::raw_delete(live.at(name));
      live.erase(name);
    }
  }
  const auto stats = allocator::getDeviceStats(0);
  std::printf("%lld %lld\n", static_cast<long long>(stats.reserved_bytes[0].peak),
              static_cast<long long>(stats.allocated_bytes[0].peak));
}
