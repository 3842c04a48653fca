#include "report/pack.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cmath>
#include <limits>

namespace qtune {
namespace {

std::string decoded(const std::string& text) {
  static const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(digits.find(c));
    if ((count += 6) >= 8) bytes += static_cast<char>(bits >> (count -= 8));
  }
  return bytes;
}

uint32_t place(const std::string& planes, size_t count, size_t i) {
  return static_cast<unsigned char>(planes[i]) | static_cast<uint32_t>(static_cast<unsigned char>(planes[count + i]))
                                                     << 8;
}

TEST(Base64, GivesTheVectorsOfTheRfc) {
  // RFC 4648, section 10.
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
}

TEST(Deflated, InflatesToTheSameBytes) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += static_cast<char>(i * i);
  const std::string packed = deflated(text);
  std::string out(text.size(), '\0');
  uLongf size = out.size();
  ASSERT_EQ(::uncompress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(packed.data()),
                         packed.size()),
            Z_OK);
  EXPECT_EQ(out, text);
}

TEST(PackedIntegers, LowBytesComeBeforeHighOnes) {
  const uint32_t values[] = {0x0102, 0xfffe, 7};
  EXPECT_EQ(decoded(packed_integers(values, 2)), std::string("\x02\xfe\x07\x01\xff\x00", 6));
}

TEST(PackedReals, ComeBackWithinHalfAStepAndWithBothEndsExact) {
  const double values[] = {-3.5, 0.1, 0.100001, 12.25};
  const auto packed = packed_reals(values);
  const std::string planes = decoded(packed["q"]);
  const double lo = packed["lo"], hi = packed["hi"], step = (hi - lo) / 65534;
  for (size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(lo + (place(planes, 4, i) - 1) * step, values[i], 0.5001 * step) << values[i];
  EXPECT_EQ(lo, -3.5);
  EXPECT_EQ(hi, 12.25);
}

TEST(PackedReals, WhatIsNotFiniteIsZeroAndDoesNotWidenTheRange) {
  const double values[] = {std::nan(""), 1, std::numeric_limits<double>::infinity(), 1};
  const auto packed = packed_reals(values);
  const std::string planes = decoded(packed["q"]);
  EXPECT_EQ(place(planes, 4, 0), 0U);
  EXPECT_EQ(place(planes, 4, 2), 0U);
  EXPECT_EQ(place(planes, 4, 1), 1U);
  EXPECT_EQ(packed["hi"], 1.0);
}

TEST(PackedReals, OfNothingHaveNoRange) {
  const auto packed = packed_reals({});
  EXPECT_EQ(packed["q"], "");
  EXPECT_EQ(packed["lo"], 0.0);
}

TEST(PackedBits, FirstFlagIsTheLowestBit) {
  EXPECT_EQ(decoded(packed_bits({true, false, false, false, false, false, false, false, true})), "\x01\x01");
}

TEST(ShortNumber, KeepsSixDigitsAndWholeNumbers) {
  EXPECT_EQ(short_number(1.23456789).dump(), "1.23457");
  EXPECT_EQ(short_number(3000000.0).dump(), "3000000");
  EXPECT_TRUE(short_number(std::nan("")).is_null());
}

}  // namespace
}  // namespace qtune
