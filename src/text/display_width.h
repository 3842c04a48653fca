// How many cells of a terminal a character takes.
#pragma once

#include <locale.h>

#include <cstdint>

namespace qtune {

/// While one lives, its thread's character classes are those of UTF-8, whatever the locale.
class DisplayWidths {
 public:
  DisplayWidths();
  ~DisplayWidths();
  DisplayWidths(const DisplayWidths&) = delete;
  DisplayWidths& operator=(const DisplayWidths&) = delete;

  /// 0 (combining), 1, or 2 (East Asian wide, emoji).
  int of(uint32_t code_point) const;

 private:
  locale_t utf8_, before_ = nullptr;
};

}  // namespace qtune
