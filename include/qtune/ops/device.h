// Which device a model is computed on, and what of it is asked besides the ops themselves.
#pragma once

#include <c10/core/Device.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace qtune {

/// What became of looking for a GPU.
struct GpuSupport {
  int64_t num_devices = 0;
  /// Why there is none: no driver, no GPU, a build without CUDA, or a library that is missing, in one line.
  std::string why_none;
  /// There is a driver with a GPU, but this build can't use it: worth a warning.
  bool gpu_unused = false;
};

/// Looks once for libqtune_cuda.so beside the program (../lib or the same folder) and loads it where the system has a
/// GPU driver. Never throws. Call it before any tensor is made: LibTorch notes early what devices there are.
const GpuSupport& load_gpu_support();

enum class DeviceChoice { kGpuIfAny, kCpuOnly };

/// The device to compute on: the GPU of this rank where there is one, else, and with kCpuOnly, the CPU. It becomes
/// LibTorch's current one in the calling thread. Says in the log which GPU it is, or warns of one that this build can't
/// use. local_rank: among the processes of this host; where a launcher shows each process one GPU, it is that one.
/// Throws: ConfigError for a local rank beyond the GPUs of the host.
at::Device choose_device(DeviceChoice choice, int local_rank = 0);

/// Equal runs give equal bits on a GPU too: LibTorch's deterministic forms of attention and products (qtune's own
/// kernels are deterministic always). Call it before choose_device.
void use_deterministic_kernels();

/// Memory on `device` that could be had now: a GPU's own, or the machine's (base/memory.h).
int64_t available_memory_bytes(at::Device device);

/// The most that LibTorch has reserved on a GPU for tensors so far; on the CPU the process's peak resident memory.
int64_t peak_memory_bytes(at::Device device);

/// Waits for all that was enqueued on `device`. Nothing on the CPU.
void synchronize(at::Device device);

/// Times of work between marks, without waiting for a GPU while it runs.
class Stopwatch {
 public:
  virtual ~Stopwatch() = default;
  virtual void mark() = 0;
  /// Between mark `interval` and the next one (from 0). On a GPU what was enqueued then, with the gaps; waits for it.
  /// Throws: std::out_of_range where there are no such marks.
  virtual double seconds(size_t interval) = 0;
};
std::unique_ptr<Stopwatch> make_stopwatch(at::Device device);

/// A named range for profilers (NVTX) from here to the end of the scope. Nothing on the CPU.
class ProfileRange {
 public:
  ProfileRange(at::Device device, const char* name);
  ~ProfileRange();
  ProfileRange(const ProfileRange&) = delete;
  ProfileRange& operator=(const ProfileRange&) = delete;

 private:
  at::Device device_;
};

}  // namespace qtune
