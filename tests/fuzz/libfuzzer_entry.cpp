// A libFuzzer program of one target; CMake gives its name as QTUNE_FUZZ_TARGET. Use: tools/fuzz.sh.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "fuzz/mutate.h"
#include "fuzz/run_target.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace qtune::fuzz {
namespace {

/// The most that any input took, for the table of tools/fuzz.sh.
struct Most {
  uint64_t peak_heap_bytes = 0;
  double cpu_seconds = 0;
  ~Most() { std::fprintf(stderr, "qtune_fuzz: peak_heap_bytes=%lu cpu_seconds=%.3f\n", peak_heap_bytes, cpu_seconds); }
};

std::string libfuzzer_bytes(std::string bytes) {
  const size_t size = bytes.size(), max_size = size + 256;
  bytes.resize(max_size);
  bytes.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(bytes.data()), size, max_size));
  return bytes;
}

}  // namespace
}  // namespace qtune::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace qtune::fuzz;
  static TargetRunner runner(find_target(QTUNE_FUZZ_TARGET));
  static Most most;
  const Ending ending = runner.run({reinterpret_cast<const char*>(data), size});
  most.peak_heap_bytes = std::max(most.peak_heap_bytes, ending.peak_heap_bytes);
  most.cpu_seconds = std::max(most.cpu_seconds, ending.cpu_seconds);
  if (ending.fault.empty()) return 0;
  std::fprintf(stderr, "qtune_fuzz: FAULT: %s\n", ending.fault.c_str());
  std::abort();
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned int seed) {
  using namespace qtune::fuzz;
  static const Form form = find_target(QTUNE_FUZZ_TARGET).form;
  qtune::CounterRng rng(seed, 0);
  if (form == Form::kBytes) return LLVMFuzzerMutate(data, size, max_size);
  const std::string changed = mutate(form, {reinterpret_cast<const char*>(data), size}, rng, libfuzzer_bytes);
  if (changed.size() > max_size || changed.empty()) return LLVMFuzzerMutate(data, size, max_size);
  std::memcpy(data, changed.data(), changed.size());
  return changed.size();
}
