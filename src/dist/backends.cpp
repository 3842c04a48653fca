#include "backends.h"

#include <fmt/format.h>

#include <cstdlib>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "qtune/base/error.h"

namespace qtune {

c10::intrusive_ptr<c10d::Backend> make_backend(at::Device device, const Launch& launch, const Rendezvous& rendezvous,
                                               std::chrono::milliseconds timeout) {
  if (!device.is_cpu()) {
    throw DistError("several ranks on GPUs are not available in this version ---> use_cpu: true, or one rank");
  }
  auto options = c10d::ProcessGroupGloo::Options::create(timeout);
  const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
  options->devices.push_back(interface != nullptr
                                 ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
                                 : c10d::ProcessGroupGloo::createDeviceForHostname(rendezvous.own_addr));
  return c10::make_intrusive<c10d::ProcessGroupGloo>(c10::make_intrusive<c10d::PrefixStore>("gloo", rendezvous.store),
                                                     launch.rank, launch.world_size, options);
}

}  // namespace qtune
