#pragma once

#include <stdexcept>

namespace qtune::fuzz {

/// Throws: std::logic_error, which is a finding, when what was read breaks a promise of its reader.
inline void check_that(bool holds, const char* promise) {
  if (!holds) throw std::logic_error(promise);
}

}  // namespace qtune::fuzz
