#include "normalize.h"

#include <algorithm>
#include <unordered_map>

#include "unicode.h"
#include "unicode_tables.h"

namespace qtune {
namespace {

// Hangul syllables are composed by arithmetic (Unicode standard, section 3.12).
constexpr uint32_t kSyllables = 0xAC00, kLeads = 0x1100, kVowels = 0x1161, kTails = 0x11A7;
constexpr uint32_t kNumLeads = 19, kNumVowels = 21, kNumTails = 28, kNumSyllables = kNumLeads * kNumVowels * kNumTails;

struct NfcMaps {
  std::unordered_map<uint32_t, std::pair<uint32_t, uint32_t>> decompositions;
  std::unordered_map<uint64_t, uint32_t> compositions;
  std::unordered_map<uint32_t, uint32_t> combining_classes;
};

uint64_t pair_key(uint32_t first, uint32_t second) { return static_cast<uint64_t>(first) << 32 | second; }

const NfcMaps& nfc_maps() {
  static const NfcMaps maps = [] {
    NfcMaps m;
    for (size_t i = 0; i < kCompositionsSize; i += 3) {
      const uint32_t* t = kCompositions + i;
      m.decompositions[t[0]] = {t[1], t[2]};
      m.compositions[pair_key(t[1], t[2])] = t[0];
    }
    for (size_t i = 0; i < kDecompositionsSize; i += 3) {
      const uint32_t* t = kDecompositions + i;
      m.decompositions[t[0]] = {t[1], t[2]};
    }
    for (size_t i = 0; i < kCombiningClassesSize; i += 3) {
      const uint32_t* t = kCombiningClasses + i;
      for (uint32_t c = t[0]; c <= t[1]; ++c) m.combining_classes[c] = t[2];
    }
    return m;
  }();
  return maps;
}

struct Mark {
  uint32_t value;
  uint32_t combining_class;
};

void decompose(const NfcMaps& maps, uint32_t c, std::vector<Mark>& out) {
  if (c >= kSyllables && c < kSyllables + kNumSyllables) {
    const uint32_t index = c - kSyllables, tail = index % kNumTails;
    out.push_back({kLeads + index / (kNumVowels * kNumTails), 0});
    out.push_back({kVowels + index / kNumTails % kNumVowels, 0});
    if (tail) out.push_back({kTails + tail, 0});
    return;
  }
  if (const auto found = maps.decompositions.find(c); found != maps.decompositions.end()) {
    decompose(maps, found->second.first, out);
    if (found->second.second) decompose(maps, found->second.second, out);
    return;
  }
  const auto ccc = maps.combining_classes.find(c);
  out.push_back({c, ccc == maps.combining_classes.end() ? 0 : ccc->second});
}

/// The primary composite of two code points, or 0.
uint32_t compose(const NfcMaps& maps, uint32_t first, uint32_t second) {
  const uint32_t lead = first - kLeads, vowel = second - kVowels;
  if (lead < kNumLeads && vowel < kNumVowels) return kSyllables + (lead * kNumVowels + vowel) * kNumTails;
  const uint32_t syllable = first - kSyllables, tail = second - kTails;
  if (syllable < kNumSyllables && syllable % kNumTails == 0 && tail > 0 && tail < kNumTails) return first + tail;
  const auto found = maps.compositions.find(pair_key(first, second));
  return found == maps.compositions.end() ? 0 : found->second;
}

std::string nfc_of(std::string_view text) {
  const NfcMaps& maps = nfc_maps();
  std::vector<Mark> marks;
  for (const char* p = text.data(); p < text.data() + text.size();) {
    const CodePoint c = code_point_at(p);
    decompose(maps, c.value, marks);
    p += c.length;
  }
  for (auto it = marks.begin(); it != marks.end();) {
    if (it->combining_class == 0) {
      ++it;
      continue;
    }
    const auto last = std::find_if(it, marks.end(), [](const Mark& m) { return m.combining_class == 0; });
    std::stable_sort(it, last, [](const Mark& a, const Mark& b) { return a.combining_class < b.combining_class; });
    it = last;
  }
  size_t size = 0, starter = marks.size();  // no starter yet
  for (const Mark& mark : marks) {
    if (starter < size) {
      // blocked by what stands between it and the starter, unless that has a lower class
      const bool adjacent = starter + 1 == size;
      if (adjacent ||
          (marks[size - 1].combining_class != 0 && marks[size - 1].combining_class < mark.combining_class)) {
        if (const uint32_t composed = compose(maps, marks[starter].value, mark.value)) {
          marks[starter].value = composed;
          continue;
        }
      }
    }
    if (mark.combining_class == 0) starter = size;
    marks[size++] = mark;
  }
  std::string out;
  for (size_t i = 0; i < size; ++i) append_utf8(out, marks[i].value);
  return out;
}

/// First position at or behind `p` that NFC may change, `end` if there is none.
const char* find_nfc_active(const char* p, const char* end) {
  const uint8_t* classes = char_classes();
  while (p < end) {
    if (static_cast<unsigned char>(*p) < 0xCC) {  // nothing below U+0300
      ++p;
      continue;
    }
    const CodePoint c = code_point_at(p);
    if (classes[c.value] & kNfcActive) return p;
    p += c.length;
  }
  return end;
}

AlignedText apply_nfc(const AlignedText& input) {
  const uint8_t* classes = char_classes();
  const char *text = input.text.data(), *end = text + input.text.size(), *done = text;
  AlignedText out{.tracking = input.tracking};
  while (done < end) {
    const char* active = find_nfc_active(done, end);
    // the inactive character before it may be what it joins
    const char* first = active == end ? end : active > done ? previous_code_point(active) : active;
    out.append_slice(input, static_cast<size_t>(done - text), static_cast<size_t>(first - text));
    if (active == end) break;
    const char* last = active;
    while (last < end && (classes[code_point_at(last).value] & kNfcActive)) last += code_point_at(last).length;
    const size_t from = static_cast<size_t>(first - text), to = static_cast<size_t>(last - text);
    const std::string_view block(first, to - from);
    const std::string normal = nfc_of(block);
    if (normal == block) {
      out.append_slice(input, from, to);
    } else {
      out.append(normal, input.begin_of(from), input.end_of(to - 1));
    }
    done = last;
  }
  return out;
}

AlignedText apply_replace(const NormalizeStep& step, const AlignedText& input) {
  AlignedText out{.tracking = input.tracking};
  size_t done = 0;
  for (size_t at; (at = input.text.find(step.pattern, done)) != std::string::npos;) {
    const size_t behind = at + step.pattern.size();
    out.append_slice(input, done, at);
    out.append(step.content, input.begin_of(at), input.end_of(behind - 1));
    done = behind;
  }
  out.append_slice(input, done, input.text.size());
  return out;
}

}  // namespace

void AlignedText::append(std::string_view bytes, uint32_t from, uint32_t to) {
  text += bytes;
  if (tracking == Tracking::kOff) return;
  begin.resize(text.size(), from);
  end.resize(text.size(), to);
}

void AlignedText::append_slice(const AlignedText& source, size_t first, size_t last) {
  text.append(source.text, first, last - first);
  if (tracking == Tracking::kOff) return;
  const auto at = [](size_t i) { return static_cast<std::ptrdiff_t>(i); };
  begin.insert(begin.end(), source.begin.begin() + at(first), source.begin.begin() + at(last));
  end.insert(end.end(), source.end.begin() + at(first), source.end.begin() + at(last));
}

AlignedText aligned_copy(std::string_view text, size_t base, Tracking tracking) {
  AlignedText out{.text = std::string(text), .tracking = tracking};
  if (tracking == Tracking::kOff) return out;
  out.begin.resize(text.size());
  out.end.resize(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    out.begin[i] = static_cast<uint32_t>(base + i);
    out.end[i] = static_cast<uint32_t>(base + i + 1);
  }
  return out;
}

bool changes_text(const NormalizeStep& step, std::string_view text) {
  switch (step.kind) {
    case NormalizeStep::Kind::kNfc:
      return find_nfc_active(text.data(), text.data() + text.size()) != text.data() + text.size();
    case NormalizeStep::Kind::kReplace:
      return text.find(step.pattern) != std::string_view::npos;
    case NormalizeStep::Kind::kPrepend:
      break;
  }
  return !text.empty() && !step.content.empty();
}

AlignedText apply_step(const NormalizeStep& step, const AlignedText& input) {
  switch (step.kind) {
    case NormalizeStep::Kind::kNfc:
      return apply_nfc(input);
    case NormalizeStep::Kind::kReplace:
      return apply_replace(step, input);
    case NormalizeStep::Kind::kPrepend:
      break;
  }
  if (input.text.empty()) return input;
  AlignedText out{.tracking = input.tracking};
  out.append(step.content, input.begin_of(0), input.begin_of(0));
  out.append_slice(input, 0, input.text.size());
  return out;
}

}  // namespace qtune
