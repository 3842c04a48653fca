#include "qtune/formats/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "qtune/base/error.h"

namespace qtune {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(Bfloat16, KnownValues) {
  EXPECT_EQ(float_to_bf16(0.0f), 0x0000);
  EXPECT_EQ(float_to_bf16(-0.0f), 0x8000);
  EXPECT_EQ(float_to_bf16(1.0f), 0x3f80);
  EXPECT_EQ(float_to_bf16(-2.5f), 0xc020);
  EXPECT_EQ(float_to_bf16(kInf), 0x7f80);
  EXPECT_EQ(float_to_bf16(-kInf), 0xff80);
  EXPECT_EQ(float_to_bf16(0x1p-133f), 0x0001);  // smallest denormal
  EXPECT_EQ(bf16_to_float(0x3f80), 1.0f);
  EXPECT_EQ(bf16_to_float(0x0001), 0x1p-133f);
}

TEST(Bfloat16, HalfwayGoesToEven) {
  EXPECT_EQ(float_to_bf16(std::bit_cast<float>(0x3f808000u)), 0x3f80);
  EXPECT_EQ(float_to_bf16(std::bit_cast<float>(0x3f818000u)), 0x3f82);
  EXPECT_EQ(float_to_bf16(std::bit_cast<float>(0x3f808001u)), 0x3f81);
  EXPECT_EQ(float_to_bf16(0x1p-134f), 0x0000);  // half of the smallest denormal
}

TEST(Bfloat16, OverflowGivesInfinity) {
  EXPECT_EQ(float_to_bf16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(float_to_bf16(std::numeric_limits<float>::lowest()), 0xff80);
}

TEST(Bfloat16, NanStaysNan) {
  EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(kNan))));
  // Rounding up this NaN's bits alone would give infinity or a negative number.
  EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(std::bit_cast<float>(0x7f800001u)))));
  EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(std::bit_cast<float>(0x7fffffffu)))));
}

TEST(Float16, KnownValues) {
  EXPECT_EQ(float_to_f16(-0.0f), 0x8000);
  EXPECT_EQ(float_to_f16(1.0f), 0x3c00);
  EXPECT_EQ(float_to_f16(-2.0f), 0xc000);
  EXPECT_EQ(float_to_f16(65504.0f), 0x7bff);      // largest
  EXPECT_EQ(float_to_f16(0x1p-14f), 0x0400);      // smallest normal
  EXPECT_EQ(float_to_f16(0x1p-24f), 0x0001);      // smallest denormal
  EXPECT_EQ(float_to_f16(0x1.ff8p-15f), 0x03ff);  // largest denormal
  EXPECT_EQ(float_to_f16(-kInf), 0xfc00);
  EXPECT_EQ(f16_to_float(0x3555), 0x1.554p-2f);
  EXPECT_EQ(f16_to_float(0x7bff), 65504.0f);
  EXPECT_EQ(f16_to_float(0x8001), -0x1p-24f);
  EXPECT_EQ(f16_to_float(0x7c00), kInf);
}

TEST(Float16, HalfwayGoesToEven) {
  EXPECT_EQ(float_to_f16(2049.0f), 0x6800);   // between 2048 and 2050
  EXPECT_EQ(float_to_f16(2051.0f), 0x6802);   // between 2050 and 2052
  EXPECT_EQ(float_to_f16(0x1p-25f), 0x0000);  // half of the smallest denormal
  EXPECT_EQ(float_to_f16(0x1.000002p-25f), 0x0001);
  EXPECT_EQ(float_to_f16(0x1.8p-24f), 0x0002);
  EXPECT_EQ(float_to_f16(0x1.ffcp-15f), 0x0400);  // between the largest denormal and the smallest normal
}

TEST(Float16, OverflowStartsHalfwayBehindTheLargest) {
  EXPECT_EQ(float_to_f16(65519.996f), 0x7bff);
  EXPECT_EQ(float_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_f16(1e30f), 0x7c00);
}

TEST(Float16, NanStaysNan) {
  EXPECT_TRUE(std::isnan(f16_to_float(float_to_f16(kNan))));
  EXPECT_TRUE(std::isnan(f16_to_float(float_to_f16(std::bit_cast<float>(0xff800001u)))));
}

TEST(Float16, EveryValueSurvivesTheWayThroughFloat) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = f16_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    ASSERT_EQ(float_to_f16(value), bits);
  }
}

TEST(Bfloat16, EveryValueSurvivesTheWayThroughFloat) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = bf16_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    ASSERT_EQ(float_to_bf16(value), bits);
  }
}

TEST(DtypeConversion, GoesThroughEveryFloatingTypeAtAnyAlignment) {
  const std::vector<float> values = {0.0f, -1.5f, 0.25f, 1024.0f};
  for (const Dtype dtype : {Dtype::kF16, Dtype::kBF16, Dtype::kF32, Dtype::kF64}) {
    std::vector<std::byte> buffer(values.size() * dtype_size(dtype) + 1);
    const std::span<std::byte> bytes = std::span(buffer).subspan(1);
    from_floats(values, dtype, bytes);
    std::vector<float> back(values.size());
    to_floats(bytes, dtype, back);
    EXPECT_EQ(back, values) << dtype_name(dtype);
  }
}

TEST(DtypeConversion, RefusesIntegersAndWrongSizes) {
  std::vector<std::byte> bytes(8);
  std::vector<float> values(2);
  EXPECT_THROW(to_floats(bytes, Dtype::kI32, values), Error);
  EXPECT_THROW(to_floats(std::span(bytes).first(7), Dtype::kF32, values), Error);
  EXPECT_THROW(from_floats(values, Dtype::kBF16, bytes), Error);
}

TEST(NumValues, OverflowAndNegativeSizesHaveNone) {
  EXPECT_EQ(num_values(std::vector<int64_t>{}), 1);
  EXPECT_EQ(num_values(std::vector<int64_t>{3, 0, 5}), 0);
  EXPECT_EQ(num_values(std::vector<int64_t>{3, -1}), std::nullopt);
  EXPECT_EQ(num_values(std::vector<int64_t>{int64_t{1} << 40, int64_t{1} << 40}), std::nullopt);
}

}  // namespace
}  // namespace qtune
