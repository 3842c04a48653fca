#include "qtune/ops/device.h"

#include <ATen/Context.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/base/memory.h"
#include "qtune/ops/device_ops.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPlugin = "libqtune_cuda.so";

/// Number of GPUs by the driver itself, without LibTorch: 0 where there is no driver.
int count_gpus() {
  void* driver = dlopen("libcuda.so.1", RTLD_NOW);
  if (driver == nullptr) return 0;
  const auto init = reinterpret_cast<int (*)(unsigned)>(dlsym(driver, "cuInit"));
  const auto get_count = reinterpret_cast<int (*)(int*)>(dlsym(driver, "cuDeviceGetCount"));
  int count = 0;
  if (init == nullptr || get_count == nullptr || init(0) != 0 || get_count(&count) != 0) return 0;
  return count;
}

std::string last_dl_error() {
  const char* message = dlerror();
  return message == nullptr ? "unknown error" : message;
}

GpuSupport load() {
  GpuSupport support;
  if (count_gpus() == 0) {
    support.why_none = "no GPU driver with a GPU was found";
    return support;
  }
  support.gpu_unused = true;
  std::error_code error;
  const fs::path folder = fs::read_symlink("/proc/self/exe", error).parent_path();
  fs::path plugin = folder / ".." / "lib" / kPlugin;
  if (!fs::exists(plugin)) plugin = folder / kPlugin;
  if (!fs::exists(plugin)) {
    support.why_none = fmt::format("this build has no {} ---> tools/setup.sh --cuda=on builds it", kPlugin);
    return support;
  }
  void* library = dlopen(plugin.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    support.why_none =
        fmt::format("{} could not be loaded: {} ---> tools/setup.sh --cuda=on gets LibTorch's CUDA libraries",
                    plugin.string(), last_dl_error());
    return support;
  }
  using Entry = const DeviceOps* (*)(int64_t * num_devices, const char** why_none);
  const auto entry = reinterpret_cast<Entry>(dlsym(library, "qtune_cuda_ops"));
  const char* why_none = nullptr;
  const DeviceOps* ops = entry == nullptr ? nullptr : entry(&support.num_devices, &why_none);
  if (ops == nullptr) {
    support.num_devices = 0;
    support.why_none = fmt::format("{}: {}", plugin.string(), why_none == nullptr ? "not qtune's" : why_none);
    return support;
  }
  support.gpu_unused = false;
  set_device_ops(at::kCUDA, ops);
  return support;
}

}  // namespace

const GpuSupport& load_gpu_support() {
  static const GpuSupport support = load();
  return support;
}

at::Device choose_device(DeviceChoice choice, int local_rank) {
  if (choice == DeviceChoice::kCpuOnly) return at::kCPU;
  const GpuSupport& gpus = load_gpu_support();
  if (gpus.gpu_unused) spdlog::warn("this machine has a GPU, but it is not used: {}", gpus.why_none);
  if (gpus.num_devices == 0) return at::kCPU;
  if (gpus.num_devices > 1 && local_rank >= gpus.num_devices) {
    throw ConfigError(fmt::format(
        "local rank {}: expected a GPU for each rank of this host, found {} GPUs ---> start fewer ranks here, "
        "or use_cpu: true",
        local_rank, gpus.num_devices));
  }
  const at::Device device(at::kCUDA, static_cast<at::DeviceIndex>(gpus.num_devices == 1 ? 0 : local_rank));
  c10::impl::getDeviceGuardImpl(at::kCUDA)->setDevice(device);
  spdlog::info("GPU: {}", device_ops(at::kCUDA)->describe());
  // Products that are split over their inner dimension add their parts in float32.
  at::globalContext().setAllowBF16ReductionCuBLAS(false);
  return device;
}

void use_deterministic_kernels() {
  ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 0);  // what the user has set stays
  // With warn_only flash attention would keep its atomics.
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  // Every buffer is written before it is read; filling them with NaN first costs bandwidth.
  at::globalContext().setDeterministicFillUninitializedMemory(false);
}

int64_t available_memory_bytes(at::Device device) {
  const DeviceOps* ops = device_ops(device.type());
  return ops == nullptr ? available_memory_bytes() : ops->free_memory_bytes();
}

int64_t peak_memory_bytes(at::Device device) {
  const DeviceOps* ops = device_ops(device.type());
  return ops == nullptr ? peak_memory_bytes() : ops->peak_memory_bytes();
}

void synchronize(at::Device device) {
  if (const DeviceOps* ops = device_ops(device.type())) ops->synchronize();
}

namespace {

class HostStopwatch : public Stopwatch {
 public:
  void mark() override { marks_.push_back(std::chrono::steady_clock::now()); }
  double seconds(size_t interval) override {
    return std::chrono::duration<double>(marks_.at(interval + 1) - marks_.at(interval)).count();
  }

 private:
  std::vector<std::chrono::steady_clock::time_point> marks_;
};

}  // namespace

std::unique_ptr<Stopwatch> make_stopwatch(at::Device device) {
  const DeviceOps* ops = device_ops(device.type());
  return ops == nullptr ? std::make_unique<HostStopwatch>() : ops->make_stopwatch();
}

ProfileRange::ProfileRange(at::Device device, const char* name) : device_(device) {
  if (const DeviceOps* ops = device_ops(device_.type())) ops->push_range(name);
}

ProfileRange::~ProfileRange() {
  if (const DeviceOps* ops = device_ops(device_.type())) ops->pop_range();
}

}  // namespace qtune
