// --adapter of commands that run a model.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "qtune/model/model.h"

namespace qtune {

inline void add_adapter_option(CLI::App& command, std::string& folder) {
  command.add_option("--adapter", folder, "LoRA adapter (PEFT's folder) on the model");
}

inline std::optional<AdapterOptions> adapter_from(const std::string& folder) {
  if (folder.empty()) return std::nullopt;
  return AdapterOptions{.folder = folder};
}

}  // namespace qtune
