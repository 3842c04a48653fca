// Normalizers: text changed before it is cut, with every changed byte traced to where it came from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace qtune {

/// Whether the way back to the original text is kept.
enum class Tracking { kOn, kOff };

/// A changed text. Byte i comes from the bytes [begin[i], end[i]) of the original; both are non-decreasing, and empty
/// where the way back is not wanted.
struct AlignedText {
  std::string text;
  Tracking tracking = Tracking::kOn;
  std::vector<uint32_t> begin, end;

  uint32_t begin_of(size_t i) const { return tracking == Tracking::kOn ? begin[i] : 0; }
  uint32_t end_of(size_t i) const { return tracking == Tracking::kOn ? end[i] : 0; }
  void append(std::string_view bytes, uint32_t from, uint32_t to);
  /// Bytes [first, last) of `source` as they are.
  void append_slice(const AlignedText& source, size_t first, size_t last);
};

/// `text` unchanged, standing at `base` in the original.
AlignedText aligned_copy(std::string_view text, size_t base, Tracking tracking);

struct NormalizeStep {
  enum class Kind { kNfc, kPrepend, kReplace } kind;
  std::string pattern, content;  // kReplace: every `pattern` by `content`; kPrepend: `content`
};

/// False: apply_step would return the text as it is.
bool changes_text(const NormalizeStep& step, std::string_view text);

/// Valid UTF-8 in, valid UTF-8 out.
AlignedText apply_step(const NormalizeStep& step, const AlignedText& input);

}  // namespace qtune
