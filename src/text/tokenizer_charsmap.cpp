#include "tokenizer_charsmap.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "qtune/base/error.h"
#include "unicode.h"

namespace qtune {
namespace {

/// A unit of a Darts-clone double array, as its published layout says: label in bits 0-7, a flag "has a leaf" in
/// bit 8, the shift of the offset in bit 9, the offset in bits 10-30; a leaf has bit 31 set and its value below.
struct Unit {
  uint32_t bits;

  bool has_leaf() const { return bits >> 8 & 1; }
  uint32_t label() const { return bits & (0x80000000u | 0xFFu); }
  uint32_t value() const { return bits & 0x7FFFFFFFu; }
  uint32_t offset() const { return bits >> 10 << (bits >> 6 & 8); }
};

constexpr size_t kMaxTextBytes = 4096;

[[noreturn]] void refuse(const char* reason) {
  throw Error(std::string("precompiled_charsmap: expected a table of replacements, found ") + reason);
}

void check_text(std::string_view texts, uint32_t at) {
  if (at >= texts.size()) refuse("a replacement outside the table");
  const size_t length = texts.substr(at, kMaxTextBytes).find('\0');
  if (length == std::string_view::npos) refuse("a replacement of more than 4096 bytes");
  if (find_invalid_utf8(texts.substr(at, length))) refuse("a replacement that is not UTF-8");
}

}  // namespace

void check_charsmap(std::string_view charsmap) {
  if (charsmap.empty()) return;
  uint32_t trie_bytes = 0;
  if (charsmap.size() < sizeof(trie_bytes)) refuse("a cut-off one");
  std::memcpy(&trie_bytes, charsmap.data(), sizeof(trie_bytes));
  if (trie_bytes == 0 || trie_bytes % sizeof(Unit) != 0 || trie_bytes >= charsmap.size() - sizeof(trie_bytes))
    refuse("a wrong length");
  std::vector<Unit> units(trie_bytes / sizeof(Unit));
  std::memcpy(units.data(), charsmap.data() + sizeof(trie_bytes), trie_bytes);
  const std::string_view texts = charsmap.substr(sizeof(trie_bytes) + trie_bytes);
  if (texts.back() != '\0') refuse("texts without an end");

  std::vector<bool> seen(units.size(), false);
  std::vector<size_t> todo = {0};
  seen[0] = true;
  while (!todo.empty()) {
    const size_t position = todo.back();
    todo.pop_back();
    const size_t base = position ^ units[position].offset();
    if ((base | 0xFF) >= units.size()) refuse("a step out of it");
    if (units[position].has_leaf()) check_text(texts, units[base].value());
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const size_t next = base ^ byte;
      if (units[next].label() != byte || seen[next]) continue;
      seen[next] = true;
      todo.push_back(next);
    }
  }
}

}  // namespace qtune
