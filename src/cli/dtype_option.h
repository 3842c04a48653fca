// --dtype of the commands that load a model.
#pragma once

#include <ATen/core/Tensor.h>

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace qtune {

inline void add_dtype_option(CLI::App& command, std::string& dtype,
                             const std::vector<std::string>& types = {"float32", "bfloat16"}) {
  command.add_option("--dtype", dtype, "Compute type")->check(CLI::IsMember(types))->capture_default_str();
}

inline at::ScalarType parse_compute_dtype(const std::string& name) {
  return name == "bfloat16" ? at::kBFloat16 : at::kFloat;
}

}  // namespace qtune
