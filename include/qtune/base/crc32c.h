// CRC-32C (Castagnoli), the checksum of TFRecord files.
#pragma once

#include <cstdint>
#include <string_view>

namespace qtune {

/// As RFC 3720, appendix B.4 has it: reflected polynomial 0x82f63b78, start and end inverted. Empty: 0.
uint32_t crc32c(std::string_view bytes);

}  // namespace qtune
