// Runs a target on one input and says how it ended: read, refused with one line, or with a fault of ours.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "fuzz/targets.h"
#include "support/temp_dir.h"

namespace qtune::fuzz {

inline constexpr uint64_t kSpareBytes = uint64_t{64} << 20;  // heap that reading may take, beside the file's own size
inline constexpr double kMostCpuSeconds = 1;

struct Ending {
  std::string refusal;  // the qtune::Error's message; empty: the input was read
  std::string fault;    // what must not happen: another exception, a message of two lines, too much memory, too slow
  uint64_t peak_heap_bytes = 0;
  double cpu_seconds = 0;
};

class TargetRunner {
 public:
  explicit TargetRunner(const Target& target);
  Ending run(std::string_view input);

 private:
  const Target& target_;
  TempDir folder_;
};

}  // namespace qtune::fuzz
