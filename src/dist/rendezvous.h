// How the ranks find each other: rank 0 opens the store, the others learn where, all agree on addresses.
#pragma once

#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <string>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "qtune/dist/launch.h"

namespace qtune {

struct Rendezvous {
  std::string master_addr;
  int master_port = 0;
  std::string own_addr;  // by which the other ranks reach this one
  std::string prefix;    // of this start's keys, in a store that outlives it
  c10::intrusive_ptr<c10d::Store> store;
};

/// Throws: ConfigError when rank 0 can't be found; DistError when it does not answer within `timeout`, and when another
/// job answers.
Rendezvous meet(const Launch& launch, std::chrono::milliseconds timeout);

/// By which of its addresses rank 0 is reached, a rank of another host knows: afterwards own_addr of rank 0 and of
/// those beside it is that one. By all ranks, when all have come.
void agree_on_addresses(const Launch& launch, Rendezvous& rendezvous);

/// Another connection to the same store, for another thread.
c10::intrusive_ptr<c10d::Store> connect_to_store(const Rendezvous& rendezvous, std::chrono::milliseconds timeout);

}  // namespace qtune
