#include "display_width.h"

#include <wchar.h>

#include <algorithm>
#include <iterator>

namespace qtune {
namespace {

struct Range {
  uint32_t first, last;
};
/// For characters that the C library does not know: all of a system without a UTF-8 locale, newer ones elsewhere.
constexpr Range kWide[] = {{0x1100, 0x115F}, {0x2E80, 0xA4CF}, {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},
                           {0xFE30, 0xFE6F}, {0xFF00, 0xFF60}, {0x1F300, 0x1FAFF}, {0x20000, 0x3FFFD}};
constexpr Range kCombining[] = {{0x300, 0x36F}, {0x200B, 0x200F}, {0xFE00, 0xFE0F}};

bool is_in(uint32_t code_point, const Range* begin, const Range* end) {
  return std::any_of(begin, end, [&](Range r) { return r.first <= code_point && code_point <= r.last; });
}

}  // namespace

DisplayWidths::DisplayWidths() : utf8_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
  if (utf8_ != nullptr) before_ = ::uselocale(utf8_);
}

DisplayWidths::~DisplayWidths() {
  if (utf8_ == nullptr) return;
  ::uselocale(before_);
  ::freelocale(utf8_);
}

int DisplayWidths::of(uint32_t code_point) const {
  if (code_point >= 0x20 && code_point < 0x7F) return 1;
  const int width = utf8_ != nullptr ? ::wcwidth(static_cast<wchar_t>(code_point)) : -1;
  if (width >= 0) return width;
  if (is_in(code_point, std::begin(kCombining), std::end(kCombining))) return 0;
  return is_in(code_point, std::begin(kWide), std::end(kWide)) ? 2 : 1;
}

}  // namespace qtune
