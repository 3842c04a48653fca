#include "gguf_model_name.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

namespace qtune {
namespace {

constexpr size_t kMaxBytes = 255;  // longer names are no names

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_letter(char c) { return is_lower(c) || is_upper(c) || static_cast<unsigned char>(c) >= 0x80; }
char to_lower(char c) { return is_upper(c) ? static_cast<char>(c + 32) : c; }
char to_upper(char c) { return is_lower(c) ? static_cast<char>(c - 32) : c; }

/// A piece of a name between dashes, and what it may be.
struct Part {
  std::string text;
  bool basename = false, size = false, finetune = false, version = false, type = false;

  bool known() const { return basename || size || finetune || version || type; }
};

/// Takes a word apart from the left, case ignored.
class Scan {
 public:
  explicit Scan(std::string_view text) : rest_(text) {}

  bool done() const { return rest_.empty(); }
  bool take(std::string_view lower) {
    const bool fits = rest_.size() >= lower.size() && std::equal(lower.begin(), lower.end(), rest_.begin(),
                                                                 [](char a, char b) { return a == to_lower(b); });
    if (fits) rest_.remove_prefix(lower.size());
    return fits;
  }
  bool take_one_of(std::string_view lower) {
    const bool fits = !rest_.empty() && lower.find(to_lower(rest_[0])) != std::string_view::npos;
    if (fits) rest_.remove_prefix(1);
    return fits;
  }
  bool take_digits() {
    const auto count = static_cast<size_t>(std::find_if_not(rest_.begin(), rest_.end(), is_digit) - rest_.begin());
    rest_.remove_prefix(count);
    return count > 0;
  }

 private:
  std::string_view rest_;
};

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(), [&](std::string_view word) {
    Scan scan(text);
    return scan.take(word) && scan.done();
  });
}

/// 2, v0.3, iter12.
bool is_version(std::string_view text) {
  Scan scan(text);
  if (!scan.take("v")) scan.take("iter");
  if (!scan.take_digits()) return false;
  while (scan.take(".")) {
    if (!scan.take_digits()) return false;
  }
  return scan.done();
}

/// q4_k_m, iq2, bf16, fp32.
bool is_type(std::string_view text) {
  if (is_one_of(text, {"f16", "f32", "bf16", "bf32", "fp16", "fp32", "bfp16", "bfp32"})) return true;
  Scan scan(text);
  scan.take("i");
  if (!scan.take("q") || !scan.take_one_of("0123456789")) return false;
  while (scan.take("_")) {
    if (!scan.take_one_of("abcdefghijklmnopqrstuvwxyz0123456789_")) return false;
  }
  return scan.done();
}

/// 135M, 1.5b, 8x7B, A3B, 7b1, mini.
bool is_size(std::string_view text) {
  if (is_one_of(text, {"small", "mini", "medium", "large", "xl", "xxl"})) return true;
  Scan scan(text), experts = scan;
  if (experts.take("a") || (experts.take_digits() && experts.take("x"))) scan = experts;
  if (!scan.take_digits()) return false;
  if (scan.take_one_of("._") && !scan.take_digits()) return false;
  if (!scan.take_one_of("kmbt")) return false;
  scan.take_one_of("0123456789");
  return scan.done();
}

std::vector<Part> split(std::string_view name, std::string_view separators) {
  std::vector<Part> parts;
  for (size_t begin = 0; begin < name.size();) {
    const size_t end = std::min(name.find_first_of(separators, begin), name.size());
    if (end > begin) parts.push_back({.text = std::string(name.substr(begin, end - begin))});
    begin = end + 1;
  }
  return parts;
}

/// "7b1" is 7.1B; "1_5b" is 1.5B.
std::string normal_size(std::string text) {
  std::replace(text.begin(), text.end(), '_', '.');
  const size_t n = text.size();
  if (is_digit(text.back()) && n > 2) text = text.substr(0, n - 2) + "." + text[n - 1] + text[n - 2];
  if (text.size() > 1 && is_digit(text[text.size() - 2])) text.back() = to_upper(text.back());
  return text;
}

/// Whether a number like 135M is far from the model's size: then it tells how long the context is.
bool is_far_from(const std::string& size, int64_t num_values) {
  const std::string digits = size.substr(0, size.size() - 1);
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc{} || end != digits.data() + digits.size()) return false;
  const auto power = static_cast<double>(std::string_view("KMBT").find(size.back()) + 1);
  return std::fabs(value * std::pow(1000.0, power) - static_cast<double>(num_values)) >
         std::floor(7 * static_cast<double>(num_values) / 8);
}

void classify(Part& part, bool first, int64_t num_values) {
  if (is_version(part.text)) {
    part.version = true;
  } else if (is_type(part.text)) {
    part.type = true;
    std::transform(part.text.begin(), part.text.end(), part.text.begin(), to_upper);
  } else if (!first && is_size(part.text)) {
    part.text = normal_size(part.text);
    part.finetune = num_values > 0 && is_far_from(part.text, num_values);
    part.size = !part.finetune;
    if (part.finetune) part.text.back() = to_lower(part.text.back());
  } else if (!first && is_one_of(part.text, {"chat", "instruct", "vision", "lora"})) {
    part.finetune = true;
  }
}

/// Words like "mini" are sizes only where no number is one.
void drop_size_words(std::vector<Part>& parts) {
  const auto has_digit = [](const Part& part) {
    return part.size && std::any_of(part.text.begin(), part.text.end(), is_digit);
  };
  if (std::none_of(parts.begin(), parts.end(), has_digit)) return;
  for (Part& part : parts) {
    if (std::all_of(part.text.begin(), part.text.end(), is_letter)) part.size = false;
  }
}

/// The first words, and versions among them, are the basename; other unknown words are the finetune's.
void find_basename(std::vector<Part>& parts) {
  bool at_start = true;
  for (Part& part : parts) {
    if (at_start && ((!part.known() && is_letter(part.text[0])) || part.version)) {
      part.basename = true;
    } else {
      at_start = false;
      if (!part.known()) part.finetune = true;
    }
  }
  // versions at its end are versions
  for (auto part = parts.rbegin(); part != parts.rend() && part->basename && part->version; ++part) {
    part->basename = false;
  }
}

template <class Has>
std::string join(const std::vector<Part>& parts, Has has) {
  std::string out;
  for (const Part& part : parts) {
    if (has(part)) out += (out.empty() ? "" : "-") + part.text;
  }
  return out;
}

std::string join_sizes(const std::vector<Part>& parts) {
  std::vector<Part> once;
  for (const Part& part : parts) {
    const bool seen = std::any_of(once.begin(), once.end(), [&](const Part& other) { return other.text == part.text; });
    if (part.size && !seen) once.push_back(part);
  }
  return join(once, [](const Part&) { return true; });
}

/// Each run of letters with a capital in front, the rest small.
std::string title_word(const std::string& word) {
  const bool lower =
      std::any_of(word.begin(), word.end(), is_lower) && std::none_of(word.begin(), word.end(), is_upper);
  const bool version = is_digit(word[0]) || (word[0] == 'v' && is_version(word));
  if (!lower || version) return word;
  std::string out = word;
  for (size_t i = 0; i < out.size(); ++i) {
    if (i == 0 || !is_letter(out[i - 1])) out[i] = to_upper(out[i]);
  }
  return out;
}

}  // namespace

GgufModelName parse_model_name(std::string_view id, int64_t num_values) {
  GgufModelName out;
  if (id.empty() || id.size() > kMaxBytes) return out;
  const size_t slash = id.find('/');
  if (id.find(' ') != std::string_view::npos || slash == std::string_view::npos) {
    out.name = id;
  } else {
    out.name = id.substr(slash + 1);
    if (id[0] != '.') out.organization = id.substr(0, slash);
  }
  if (id.find(' ') != std::string_view::npos) return out;  // a sentence
  std::vector<Part> parts = split(out.name, "-");
  for (Part& part : parts) classify(part, &part == parts.data(), num_values);
  drop_size_words(parts);
  find_basename(parts);
  out.size_label = join_sizes(parts);
  out.finetune = join(parts, [](const Part& part) { return part.finetune; });
  out.version = join(parts, [](const Part& part) { return part.version && !part.basename; });
  const bool clear = !out.size_label.empty() || !out.finetune.empty() || !out.version.empty();
  if (clear) out.basename = join(parts, [](const Part& part) { return part.basename; });
  return out;
}

std::string model_title(std::string_view name) {
  std::string out;
  for (const Part& word : split(name.substr(0, kMaxBytes), "- \t\n\r")) {
    out += (out.empty() ? "" : " ") + title_word(word.text);
  }
  return out;
}

std::string model_size_label(int64_t num_values) {
  const auto value = static_cast<double>(num_values);
  const auto [unit, suffix] = value > 1e12  ? std::pair{1e-12, 'T'}
                              : value > 1e9 ? std::pair{1e-9, 'B'}
                              : value > 1e6 ? std::pair{1e-6, 'M'}
                                            : std::pair{1e-3, 'K'};
  const double scaled = value * unit;
  const int64_t digits =
      std::llrint(scaled) == 0 ? 0 : static_cast<int64_t>(std::to_string(std::llrint(scaled)).size());
  return fmt::format("{:.{}f}{}", scaled, std::max<int64_t>(2 - digits, 0), suffix);
}

}  // namespace qtune
