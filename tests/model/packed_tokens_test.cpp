#include "qtune/model/packed_tokens.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qtune/base/error.h"

namespace qtune {
namespace {

TEST(CopyTogether, PartsOfAnyLengthsComeBackAsTheyWere) {
  const std::vector<at::Tensor> parts{at::tensor({3, 1, 4}, at::kInt), at::empty({0}, at::kInt),
                                      at::tensor({1, 5, 9, 2, 6}, at::kInt), at::tensor({7}, at::kInt)};
  const std::vector<at::Tensor> copies = copy_together(parts, at::kCPU);
  ASSERT_EQ(copies.size(), parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    EXPECT_TRUE(at::equal(copies[i], parts[i])) << i;
    EXPECT_TRUE(copies[i].numel() == 0 || copies[i].data_ptr() != parts[i].data_ptr()) << i;
  }
}

TEST(CheckIds, NamesTheFirstOutsideTheVocabulary) {
  check_ids("token id", at::tensor({0, 9}, at::kInt), 10);
  EXPECT_THAT(
      [] {
        check_ids("token id", at::tensor({0, 10, -1}, at::kInt), 10);
      },
      testing::ThrowsMessage<Error>("token id 10 of row 1 is outside the vocabulary of 10"));
  EXPECT_THROW(check_ids("target", at::tensor({-1}, at::kInt), 10), Error);
}

TEST(ToDevice, OnTheCpuTheBatchStaysWhereItIs) {
  const PackedTokens batch{.ids_N = at::tensor({1, 2}, at::kInt), .cu_seqlens = {0, 2}};
  EXPECT_EQ(to_device(batch, at::kCPU, 1).ids_N.data_ptr(), batch.ids_N.data_ptr());
}

}  // namespace
}  // namespace qtune
