#include "decode.h"

#include <unordered_map>

#include "unicode.h"

namespace qtune {
namespace {

std::string joined(const std::vector<std::string>& tokens) {
  std::string out;
  for (const std::string& t : tokens) out += t;
  return out;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/// The byte that "<0xAB>" stands for, -1 for any other token.
int fallback_byte(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  const int high = hex_digit(token[3]), low = hex_digit(token[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/// Runs of byte tokens become their text, or one U+FFFD a byte where they are not UTF-8 together.
std::vector<std::string> join_fallback_bytes(const std::vector<std::string>& tokens) {
  std::vector<std::string> out;
  std::string bytes;
  const auto flush = [&] {
    if (bytes.empty()) return;
    if (!find_invalid_utf8(bytes)) {
      out.push_back(bytes);
    } else {
      for (size_t i = 0; i < bytes.size(); ++i) out.emplace_back("\xEF\xBF\xBD");
    }
    bytes.clear();
  };
  for (const std::string& token : tokens) {
    if (const int byte = fallback_byte(token); byte >= 0) {
      bytes.push_back(static_cast<char>(byte));
      continue;
    }
    flush();
    out.push_back(token);
  }
  flush();
  return out;
}

std::string replaced(const std::string& text, const std::string& pattern, const std::string& content) {
  std::string out;
  size_t done = 0;
  for (size_t at; (at = text.find(pattern, done)) != std::string::npos; done = at + pattern.size()) {
    out.append(text, done, at - done).append(content);
  }
  return out.append(text, done);
}

std::string stripped(std::string_view text, const DecodeStep& step) {
  const std::string_view c = step.content;
  for (size_t n = 0; n < step.start && text.starts_with(c); ++n) text.remove_prefix(c.size());
  for (size_t n = 0; n < step.stop && text.ends_with(c); ++n) text.remove_suffix(c.size());
  return std::string(text);
}

}  // namespace

std::string byte_level_bytes(std::string_view token) {
  static const std::unordered_map<uint32_t, char> byte_of = [] {
    std::unordered_map<uint32_t, char> map;
    for (uint32_t b = 0; b < 256; ++b) map[byte_level_alphabet()[b]] = static_cast<char>(b);
    return map;
  }();
  std::string bytes;
  for (const char *p = token.data(), *end = p + token.size(); p < end;) {
    const CodePoint c = code_point_at(p);
    const auto found = byte_of.find(c.value);
    if (found == byte_of.end()) return std::string(token);
    bytes.push_back(found->second);
    p += c.length;
  }
  return bytes;
}

std::string run_decoder(const std::vector<DecodeStep>& steps, std::vector<std::string> tokens) {
  for (const DecodeStep& step : steps) {
    switch (step.kind) {
      case DecodeStep::Kind::kByteLevel:
        for (std::string& t : tokens) t = byte_level_bytes(t);
        tokens = {to_valid_utf8(joined(tokens))};
        break;
      case DecodeStep::Kind::kReplace:
        for (std::string& t : tokens) t = replaced(t, step.pattern, step.content);
        break;
      case DecodeStep::Kind::kByteFallback:
        tokens = join_fallback_bytes(tokens);
        break;
      case DecodeStep::Kind::kFuse:
        tokens = {joined(tokens)};
        break;
      case DecodeStep::Kind::kMetaspace:
        for (size_t i = 0; i < tokens.size(); ++i)
          tokens[i] = replaced(tokens[i], step.pattern, i == 0 && step.drops_prefix ? "" : " ");
        break;
      case DecodeStep::Kind::kStrip:
        for (std::string& t : tokens) t = stripped(t, step);
        break;
    }
  }
  return joined(tokens);
}

}  // namespace qtune
