// Sizes of the stored types: values and bytes of one block (ggml-common.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "qtune/formats/gguf.h"

namespace qtune {

struct BlockLayout {
  const char* name;
  int64_t num_values;
  uint64_t num_bytes;
};

/// nullopt: a type that can't be read.
std::optional<BlockLayout> block_layout(uint32_t ggml_type);

/// For messages: the name of any ggml type, also of those that can't be read.
std::string describe_ggml_type(uint32_t ggml_type);

}  // namespace qtune
