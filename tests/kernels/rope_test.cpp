#include "kernels/rope.h"

#include "kernel_test_support.h"

namespace qtune {
namespace {

struct RopeSize {
  int64_t rows, heads, kv_heads, head_dim;
};
// Halves that packs divide (64), that they do not (6, 34), heads beyond one block's threads (40 of 128).
constexpr RopeSize kSizes[] = {{0, 2, 1, 8}, {1, 1, 1, 2}, {7, 3, 1, 6}, {5, 4, 2, 64}, {3, 9, 3, 34}, {2, 32, 8, 128}};
constexpr int64_t kPositions = 50;

template <class T>
struct RopeKernel : testing::Test {};
TYPED_TEST_SUITE(RopeKernel, ComputeTypes, ComputeTypeNames);

/// cos | sin of random angles.
std::vector<float> make_table(int64_t head_dim) {
  std::vector<float> table(static_cast<size_t>(kPositions * head_dim));
  const std::vector<float> angles = random_values<float>(kPositions * head_dim / 2, 5, 3);
  for (size_t p = 0; p < kPositions; ++p) {
    const auto half = static_cast<size_t>(head_dim / 2);
    for (size_t j = 0; j < half; ++j) {
      table[p * 2 * half + j] = std::cos(angles[p * half + j]);
      table[p * 2 * half + half + j] = std::sin(angles[p * half + j]);
    }
  }
  return table;
}

std::vector<int32_t> make_positions(int64_t rows) {
  std::vector<int32_t> positions;
  for (int64_t i = 0; i < rows; ++i) positions.push_back(static_cast<int32_t>(i * 7 % kPositions));
  return positions;
}

std::vector<double> rotate(std::vector<double> qkv, const RopeSize& s, const std::vector<float>& table, double sign) {
  const auto e = static_cast<size_t>(s.head_dim), heads = static_cast<size_t>(s.heads + 2 * s.kv_heads);
  const std::vector<int32_t> positions = make_positions(s.rows);
  for (size_t row = 0; row < positions.size(); ++row) {
    for (size_t h = 0; h < static_cast<size_t>(s.heads + s.kv_heads); ++h) {
      for (size_t j = 0; j < e / 2; ++j) {
        const float* angle = table.data() + static_cast<size_t>(positions[row]) * e + j;
        double &a = qkv[(row * heads + h) * e + j], &b = qkv[(row * heads + h) * e + e / 2 + j];
        const double x = a, y = b, cosine = angle[0], sine = sign * angle[e / 2];
        a = x * cosine - y * sine;
        b = y * cosine + x * sine;
      }
    }
  }
  return qkv;
}

template <class T>
void expect_rotation(const RopeSize& s, int64_t shift, RotaryDirection direction) {
  SCOPED_TRACE(testing::Message() << s.rows << " rows, " << s.head_dim << " dimensions, shift " << shift);
  Buffer<T> qkv(random_values<T>(s.rows * (s.heads + 2 * s.kv_heads) * s.head_dim, 1), shift_of(shift, 0));
  Buffer<float> table(make_table(s.head_dim), shift_of(shift, 1));
  Buffer<int32_t> positions(make_positions(s.rows));
  const double sign = direction == RotaryDirection::kForward ? 1 : -1;
  const std::vector<T> before = qkv.values();
  const std::vector<double> truth = rotate(widened(before), s, table.values(), sign);
  ASSERT_EQ(
      launch_rope<T>({s.rows, s.heads, s.kv_heads, s.head_dim, qkv.data(), positions.data(), table.data(), direction},
                     nullptr),
      cudaSuccess);
  const std::vector<T> after = qkv.values();
  EXPECT_TRUE(all_close(after, truth));
  const auto width = static_cast<size_t>((s.heads + 2 * s.kv_heads) * s.head_dim);
  const auto values = static_cast<size_t>(s.kv_heads * s.head_dim);
  for (size_t i = 0; i < after.size(); ++i) {
    if (i % width < width - values) continue;
    ASSERT_EQ(widen(after[i]), widen(before[i])) << "value heads are not rotated";
  }
}

TYPED_TEST(RopeKernel, TurnsBothWaysAsTheFloat64Loop) {
  for (const RopeSize& size : kSizes) {
    for (const int64_t shift : shifts_for({size.rows, size.head_dim})) {
      expect_rotation<TypeParam>(size, shift, RotaryDirection::kForward);
      expect_rotation<TypeParam>(size, shift, RotaryDirection::kBackward);
    }
  }
}

TYPED_TEST(RopeKernel, TurnsMoreRowsThanAGridHasBlocks) {
  expect_rotation<TypeParam>({65539, 1, 0, 2}, 0, RotaryDirection::kForward);
}

TYPED_TEST(RopeKernel, RefusesAnOddHead) {
  EXPECT_EQ(launch_rope<TypeParam>({1, 1, 1, 3, nullptr, nullptr, nullptr, RotaryDirection::kForward}, nullptr),
            cudaErrorInvalidValue);
}

}  // namespace
}  // namespace qtune
