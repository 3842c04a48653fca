// Short texts from rank to rank by way of the launcher itself, before any connection between ranks exists.
#pragma once

#include <memory>
#include <string>

#include "qtune/dist/launch.h"

namespace qtune {

class LauncherExchange {
 public:
  virtual ~LauncherExchange() = default;
  /// What every rank calls once, in this order. Texts of printable characters without blanks.
  virtual void put(const std::string& key, const std::string& text) = 0;
  virtual void fence() = 0;
  virtual std::string get(const std::string& key, int rank) = 0;
};

/// For Open MPI the PMIx library (dlopen), for Hydra the lines of its PMI-1 protocol. Null: the launcher has none.
/// Throws: ConfigError when it should have one and hasn't.
std::unique_ptr<LauncherExchange> make_launcher_exchange(const Launch& launch);

}  // namespace qtune
