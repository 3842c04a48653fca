#include "qtune/text/code_point_class.h"

#include "unicode.h"

namespace qtune {

bool is_letter_or_number(uint32_t code_point) {
  return code_point < 0x110000 && (char_classes()[code_point] & (kLetter | kNumber)) != 0;
}

}  // namespace qtune
