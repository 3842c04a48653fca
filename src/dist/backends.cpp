#include "backends.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <net/if.h>

#include <cstdlib>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "qtune/base/error.h"
#include "qtune/dist/nccl_entry.h"

namespace qtune {
namespace {

c10::intrusive_ptr<c10d::Store> keys_of(const char* backend, const Rendezvous& rendezvous) {
  return c10::make_intrusive<c10d::PrefixStore>(backend, rendezvous.store);
}

}  // namespace

c10::intrusive_ptr<c10d::Backend> make_gloo(const Launch& launch, const Rendezvous& rendezvous,
                                            std::chrono::milliseconds timeout) {
  auto options = c10d::ProcessGroupGloo::Options::create(timeout);
  const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
  if (interface != nullptr && ::if_nametoindex(interface) == 0) {
    throw ConfigError(
        fmt::format("GLOO_SOCKET_IFNAME: expected a network interface of host {}, found '{}' ---> see `ip link`",
                    launch.host, interface));
  }
  options->devices.push_back(interface != nullptr
                                 ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
                                 : c10d::ProcessGroupGloo::createDeviceForHostname(rendezvous.own_addr));
  return c10::make_intrusive<c10d::ProcessGroupGloo>(keys_of("gloo", rendezvous), launch.rank, launch.world_size,
                                                     options);
}

GpuBackend make_nccl(const Launch& launch, const Rendezvous& rendezvous, std::chrono::milliseconds timeout) {
  const auto make = reinterpret_cast<MakeNccl*>(dlsym(RTLD_DEFAULT, kMakeNccl));
  if (make == nullptr) {
    throw DistError(
        "several ranks on GPUs: expected NCCL, found a libqtune_cuda.so built without it ---> build where nccl.h is "
        "found (libnccl-dev, or the nvidia-nccl wheel), or use_cpu: true");
  }
  GpuBackend result;
  make(keys_of("nccl", rendezvous), launch.rank, launch.world_size, timeout, result.backend, result.gpu);
  return result;
}

}  // namespace qtune
