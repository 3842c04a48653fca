// The JSON header of a safetensors file, parsed without building a JSON tree: memory stays in proportion to the header.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "qtune/formats/dtype.h"

namespace qtune {

struct HeaderEntry {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // bytes, relative to the end of the header
};

struct SafetensorsHeader {
  std::vector<HeaderEntry> entries;  // in the order of their values
  std::map<std::string, std::string> metadata;
};

/// Checks everything that does not need the values: form, dtypes, sizes, overlaps, holes.
/// Throws: CheckpointError that starts with `where` (the file).
SafetensorsHeader parse_safetensors_header(std::string_view json, const std::string& where);

/// The header's text for tensors that are given in the order of their values.
std::string make_safetensors_header(const SafetensorsHeader& header);

}  // namespace qtune
