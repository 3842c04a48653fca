#include "fuzz/run_target.h"

#include <fmt/format.h>

#include <ctime>
#include <exception>
#include <fstream>

#include "fuzz/heap_watch.h"
#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/log.h"

namespace qtune::fuzz {
namespace {

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

void write_input(const std::filesystem::path& path, std::string_view bytes) {
  // ext4 flushes a file that is cut to nothing and written anew; a new one it does not.
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace

TargetRunner::TargetRunner(const Target& target) : target_(target) {
  spdlog::set_level(spdlog::level::off);
  target_.prepare(folder_.path());
}

Ending TargetRunner::run(std::string_view input) {
  write_input(folder_ / std::string(target_.file_name), input);
  Ending ending;
  const double start = cpu_seconds();
  const HeapWatch heap;
  try {
    target_.read(folder_.path());
  } catch (const Error& error) {
    ending.refusal = error.what();
    if (ending.refusal.find('\n') != std::string::npos)
      ending.fault = "a message of more than one line: " + ending.refusal;
    if (ending.refusal.empty()) ending.fault = "an empty message";
  } catch (const std::exception& error) {
    ending.fault = fmt::format("an exception that is no qtune::Error: {}", error.what());
  }
  ending.peak_heap_bytes = heap.peak_bytes();
  ending.cpu_seconds = cpu_seconds() - start;
  if (ending.peak_heap_bytes > input.size() + kSpareBytes) {
    ending.fault = fmt::format("an input of {} bytes took {} of heap at once, at most its size and {} are allowed",
                               input.size(), format_bytes(ending.peak_heap_bytes), format_bytes(kSpareBytes));
  }
  if (ending.cpu_seconds > kMostCpuSeconds) {
    ending.fault = fmt::format("an input of {} bytes took {:.1f} s of processor time, at most {:.0f} s are allowed",
                               input.size(), ending.cpu_seconds, kMostCpuSeconds);
  }
  return ending;
}

}  // namespace qtune::fuzz
