#include "bpe_cuts.h"

#include <algorithm>

#include "unicode.h"

namespace qtune {

BpeCuts::BpeCuts(Space space) : space_(space) { joined_[kOther][kOther] = 1; }

size_t BpeCuts::kind_of(std::string_view text, size_t at, size_t& length) const {
  const auto byte = static_cast<unsigned char>(text[at]);
  if (byte < 0x80) {
    length = 1;
    return byte == ' ' && space_ == Space::kSymbol ? kSymbol : byte;
  }
  const CodePoint c = code_point_at(text.data() + at);
  length = c.length;
  return c.value == 0x2581 ? kSymbol : kOther;
}

void BpeCuts::add_token(std::string_view token) {
  size_t length = 0, previous = kKinds;
  for (size_t at = 0; at < token.size(); at += length) {
    const size_t kind = kind_of(token, at, length);
    if (previous < kKinds) joined_[previous][kind] = 1;
    if (length == token.size() && kind != kOther) known_[kind] = 1;
    previous = kind;
  }
}

bool BpeCuts::finish() {
  for (size_t kind = 0; kind < kOther; ++kind) {
    if (known_[kind]) continue;
    joined_[kind].fill(1);
    for (auto& row : joined_) row[kind] = 1;
  }
  return known_[kSymbol];
}

size_t BpeCuts::piece_end(std::string_view text) const {
  size_t length = 0;
  size_t kind = kind_of(text, 0, length);
  for (size_t at = length; at < text.size(); at += length) {
    const size_t next = kind_of(text, at, length);
    if (!joined_[kind][next]) return at;
    kind = next;
  }
  return text.size();
}

}  // namespace qtune
