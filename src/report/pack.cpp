#include "pack.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "qtune/base/error.h"

namespace qtune {

std::string base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const std::string_view group = bytes.substr(i, 3);
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) bits = bits << 8 | (k < group.size() ? static_cast<unsigned char>(group[k]) : 0U);
    for (size_t k = 0; k < 4; ++k) text += k <= group.size() ? kDigits[bits >> (18 - 6 * k) & 63U] : '=';
  }
  return text;
}

std::string deflated(std::string_view bytes) {
  uLongf size = ::compressBound(bytes.size());
  std::string out(size, '\0');
  const int status = ::compress2(reinterpret_cast<Bytef*>(out.data()), &size,
                                 reinterpret_cast<const Bytef*>(bytes.data()), bytes.size(), Z_BEST_COMPRESSION);
  if (status != Z_OK)
    throw Error(fmt::format("report: zlib could not compress {} bytes (code {})", bytes.size(), status));
  out.resize(size);
  return out;
}

std::string packed_integers(std::span<const uint32_t> values, int width) {
  std::string planes;
  planes.reserve(values.size() * static_cast<size_t>(width));
  for (int byte = 0; byte < width; ++byte) {
    for (const uint32_t v : values) planes += static_cast<char>(v >> (8 * byte));
  }
  return base64(planes);
}

nlohmann::ordered_json packed_reals(std::span<const double> values) {
  constexpr double kSteps = 65534;
  double lo = std::numeric_limits<double>::infinity(), hi = -lo;
  for (const double v : values) {
    if (!std::isfinite(v)) continue;
    lo = std::min(lo, v);
    hi = std::max(hi, v);
  }
  if (lo > hi) lo = hi = 0;
  const double scale = hi > lo ? kSteps / (hi - lo) : 0;
  std::vector<uint32_t> places;
  places.reserve(values.size());
  for (const double v : values) {
    places.push_back(std::isfinite(v) ? 1 + static_cast<uint32_t>(std::lround((v - lo) * scale)) : 0);
  }
  return {{"lo", lo}, {"hi", hi}, {"q", packed_integers(places, 2)}};
}

std::string packed_bits(const std::vector<bool>& flags) {
  std::string bytes((flags.size() + 7) / 8, '\0');
  for (size_t i = 0; i < flags.size(); ++i) {
    if (flags[i]) bytes[i / 8] = static_cast<char>(static_cast<unsigned char>(bytes[i / 8]) | 1U << (i % 8));
  }
  return base64(bytes);
}

nlohmann::ordered_json short_number(double value) {
  if (!std::isfinite(value)) return nullptr;
  if (value == std::floor(value) && std::abs(value) < 1e15) return static_cast<int64_t>(value);
  return std::strtod(fmt::format("{:.6g}", value).c_str(), nullptr);
}

}  // namespace qtune
