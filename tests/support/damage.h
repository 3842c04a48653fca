// Random damage to a file's bytes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "qtune/base/rng.h"

namespace qtune {

/// One to four changes: a byte, a bit, a 64-bit number at the edge of its range, a piece cut out or doubled, a cut
/// tail.
inline std::string damage(std::string bytes, CounterRng& rng) {
  constexpr uint64_t kEdges[] = {
      0, 1, 0x7f, 0xff, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, ~uint64_t{0}};
  for (uint64_t changes = 1 + rng.next_below(4); changes > 0 && bytes.size() > 8; --changes) {
    const size_t at = rng.next_below(bytes.size() - 8);
    const size_t length = std::min<size_t>(1 + rng.next_below(40), bytes.size() - at);
    switch (rng.next_below(6)) {
      case 0:
        bytes[at] = static_cast<char>(rng.next());
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << rng.next_below(8)));
        break;
      case 2:
        std::memcpy(bytes.data() + at, &kEdges[rng.next_below(std::size(kEdges))], 8);
        break;
      case 3:
        bytes.erase(at, length);
        break;
      case 4:
        bytes.insert(at, bytes.substr(at, length));
        break;
      default:
        if (rng.next_below(8) == 0) bytes.resize(at);
    }
  }
  return bytes;
}

}  // namespace qtune
