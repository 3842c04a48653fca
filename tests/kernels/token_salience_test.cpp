// Against the host's own functions of src/prune, to the last bit.
#include "kernels/token_salience.h"

#include "kernel_test_support.h"
#include "qtune/prune/sample_selection.h"
#include "qtune/prune/token_salience.h"
#include "simt/orders.h"

namespace qtune {
namespace {

/// Packed samples of the given lengths. Scores take few values, so that ties abound.
struct TestSamples {
  TestSamples(const std::vector<int64_t>& lengths, uint64_t seed, uint64_t num_values) {
    CounterRng rng(seed, 0);
    for (const int64_t length : lengths) {
      int32_t run = 0;
      for (int64_t k = 0; k < length; ++k) {
        nll.push_back(static_cast<float>(rng.next_below(num_values)) * 0.37f);
        entropy.push_back(static_cast<float>(rng.next_unit()) * 5);
        span.push_back(run += rng.next_below(4) == 0 ? 1 : 0);
        end_of_turn.push_back(rng.next_below(5) == 0 ? 1 : 0);
      }
      offsets.push_back(static_cast<int64_t>(nll.size()));
    }
  }

  int64_t num_samples() const { return static_cast<int64_t>(offsets.size()) - 1; }
  int64_t num_tokens() const { return offsets.back(); }
  SampleOffsets view() const { return {num_samples(), offsets.data()}; }

  /// Sample b's part of an array.
  template <class To, class From>
  std::vector<To> part(const std::vector<From>& all, int64_t b) const {
    const auto at = static_cast<size_t>(b);
    return {all.begin() + offsets[at], all.begin() + offsets[at + 1]};
  }

  std::vector<int64_t> offsets{0};
  std::vector<float> nll, entropy;
  std::vector<int32_t> span;
  std::vector<uint8_t> end_of_turn;
};

// No token, one, the threads of a block and one more, a tile of the sums and one more, three bytes of places.
const std::vector<int64_t> kLengths = {0, 1, 2, 7, 255, 256, 257, 1024, 1025, 3000};

TEST(SampleMeansKernel, AreTheHostsSumsFromLeftToRight) {
  const TestSamples s(kLengths, 1, 1000);
  auto mean_nll = simt::poisoned<double>(s.num_samples()), mean_entropy = mean_nll;
  ASSERT_EQ(
      launch_sample_means({s.view(), s.nll.data(), s.entropy.data(), mean_nll.data(), mean_entropy.data()}, nullptr),
      cudaSuccess);
  EXPECT_TRUE(std::isnan(mean_nll[0]) && std::isnan(mean_entropy[0])) << "a sample without positions";
  for (size_t b = 1; b < kLengths.size(); ++b) {
    const auto at = static_cast<int64_t>(b);
    EXPECT_EQ(mean_entropy[b], mean_entropy_of(s.part<double>(s.entropy, at)));
    EXPECT_EQ(mean_nll[b], mean_entropy_of(s.part<double>(s.nll, at)));
    EXPECT_EQ(std::exp(std::min(mean_nll[b], kMaxExponent)), perplexity_of(s.part<double>(s.nll, at)));
  }
}

TEST(SampleMeansKernel, MoreSamplesThanAGridHasBlocks) {
  const TestSamples s(std::vector<int64_t>(2100, 1), 1, 1000);
  auto mean_nll = simt::poisoned<double>(s.num_samples()), mean_entropy = mean_nll;
  ASSERT_EQ(
      launch_sample_means({s.view(), s.nll.data(), s.entropy.data(), mean_nll.data(), mean_entropy.data()}, nullptr),
      cudaSuccess);
  EXPECT_EQ(mean_nll, widened(s.nll));
}

std::vector<double> salience_by_kernel(const TestSamples& s, bool with_span, double lambda, NeighbourSum neighbours) {
  auto salience = simt::poisoned<double>(s.num_tokens());
  EXPECT_EQ(
      launch_token_salience(
          {s.view(), s.nll.data(), with_span ? s.span.data() : nullptr, lambda, neighbours, salience.data()}, nullptr),
      cudaSuccess);
  return salience;
}

TEST(TokenSalienceKernel, IsTheHostsToTheLastBit) {
  const TestSamples s(kLengths, 2, 1000);
  for (const bool with_span : {false, true}) {
    for (const double lambda : {0.0, 0.3, 0.5, 1.0}) {
      for (const bool mean : {false, true}) {
        SCOPED_TRACE(testing::Message() << "span " << with_span << ", lambda " << lambda << ", mean " << mean);
        const std::vector<double> found =
            salience_by_kernel(s, with_span, lambda, mean ? NeighbourSum::kMean : NeighbourSum::kSum);
        for (int64_t b = 0; b < s.num_samples(); ++b) {
          const std::vector<int32_t> span = with_span ? s.part<int32_t>(s.span, b) : std::vector<int32_t>{};
          EXPECT_EQ(s.part<double>(found, b), token_salience(s.part<double>(s.nll, b), span, lambda,
                                                             mean ? Neighbours::kMean : Neighbours::kSum));
        }
      }
    }
  }
}

TEST(TokenSalienceKernel, HopelessTokensGiveTheCappedNumberAndNanStaysNan) {
  TestSamples s({5}, 3, 10);
  s.nll = {750, 750, 1, 2, NAN};
  const std::vector<double> found = salience_by_kernel(s, false, 0.0, NeighbourSum::kSum);
  EXPECT_EQ(found[0], std::exp(80.0));
  EXPECT_EQ(found[2], std::exp(1.0));
  EXPECT_TRUE(std::isnan(found[4]));
}

/// Which choice is made.
struct Choice {
  double keep;
  bool reverse, with_first;
};

/// The host's mask of sample b.
std::vector<uint8_t> host_mask(const TestSamples& s, const std::vector<double>& salience, int64_t b, Choice c) {
  const std::vector<double> part = s.part<double>(salience, b);
  const std::vector<uint8_t> first = c.with_first ? s.part<uint8_t>(s.end_of_turn, b) : std::vector<uint8_t>{};
  std::vector<uint8_t> mask(part.size(), 0);
  const int64_t target = num_kept_tokens(c.keep, static_cast<int64_t>(part.size()));
  for (const int32_t k : choose_tokens(part, first, c.reverse ? TokenOrder::kHighest : TokenOrder::kLowest, target)) {
    mask[static_cast<size_t>(k)] = 1;
  }
  return mask;
}

void expect_host_choice(const TestSamples& s, const std::vector<double>& salience, Choice c) {
  SCOPED_TRACE(testing::Message() << "keep " << c.keep << ", reverse " << c.reverse << ", first " << c.with_first);
  auto mask = simt::poisoned<uint8_t>(s.num_tokens());
  auto num_kept = simt::poisoned<int64_t>(s.num_samples());
  ASSERT_EQ(launch_choose_tokens({s.view(), salience.data(), c.with_first ? s.end_of_turn.data() : nullptr, nullptr,
                                  c.keep, c.reverse, mask.data(), num_kept.data()},
                                 nullptr),
            cudaSuccess);
  for (int64_t b = 0; b < s.num_samples(); ++b) {
    SCOPED_TRACE(testing::Message() << "sample " << b);
    const std::vector<uint8_t> expected = host_mask(s, salience, b, c);
    EXPECT_EQ(s.part<uint8_t>(mask, b), expected);
    EXPECT_EQ(num_kept[static_cast<size_t>(b)], std::count(expected.begin(), expected.end(), 1));
  }
}

TEST(ChooseTokensKernel, IsTheHostsChoiceWithFewAndManyTies) {
  for (const uint64_t num_values : {1, 3, 100'000}) {
    const TestSamples s({0, 1, 2, 7, 63, 100, 255, 256, 257, 1000}, 4 + num_values, num_values);
    const std::vector<double> salience = salience_by_kernel(s, true, 0.5, NeighbourSum::kSum);
    // 0.07 * 100 is 7.000000000000001.
    for (const double keep : {0.001, 0.07, 0.5, 0.9, 1.0}) {
      expect_host_choice(s, salience, {keep, false, false});
      expect_host_choice(s, salience, {keep, true, true});
    }
    expect_host_choice(s, salience, {0.1, true, false});
    expect_host_choice(s, salience, {0.1, false, true});
  }
}

TEST(ChooseTokensKernel, IsTheHostsChoiceOnManyShortSamples) {
  CounterRng rng(11, 0);
  std::vector<int64_t> lengths;
  for (int i = 0; i < 60; ++i) lengths.push_back(static_cast<int64_t>(rng.next_below(12)));
  const TestSamples s(lengths, 12, 3);
  const std::vector<double> salience = salience_by_kernel(s, true, 0.5, NeighbourSum::kMean);
  for (const bool reverse : {false, true}) {
    for (const bool with_first : {false, true}) expect_host_choice(s, salience, {0.5, reverse, with_first});
  }
}

// 70,000 places: more than two bytes hold, and all salience is equal.
TEST(ChooseTokensKernel, TiesOfAVeryLongSampleGoToItsFirstTokens) {
  const std::vector<int64_t> offsets{0, 70'000};
  const std::vector<double> salience(70'000, 2.0);
  auto mask = simt::poisoned<uint8_t>(70'000);
  ASSERT_EQ(launch_choose_tokens(
                {{1, offsets.data()}, salience.data(), nullptr, nullptr, 0.95, false, mask.data(), nullptr}, nullptr),
            cudaSuccess);
  std::vector<uint8_t> expected(70'000, 1);
  std::fill(expected.begin() + 66'500, expected.end(), 0);
  EXPECT_EQ(mask, expected);
}

TEST(ChooseTokensKernel, NegativeAndSignedZeroSalienceKeepTheirOrder) {
  const std::vector<int64_t> offsets{0, 6};
  const std::vector<double> salience{0.0, -0.0, -1.0, 1e-300, -1e300, INFINITY};
  for (const double keep : {2.0 / 6, 3.0 / 6, 5.0 / 6}) {
    auto mask = simt::poisoned<uint8_t>(6);
    ASSERT_EQ(launch_choose_tokens(
                  {{1, offsets.data()}, salience.data(), nullptr, nullptr, keep, false, mask.data(), nullptr}, nullptr),
              cudaSuccess);
    std::vector<uint8_t> expected(6, 0);
    for (const int32_t k : choose_tokens(salience, {}, TokenOrder::kLowest, num_kept_tokens(keep, 6))) {
      expected[static_cast<size_t>(k)] = 1;
    }
    EXPECT_EQ(mask, expected);
  }
}

TEST(ChooseTokensKernel, FatesDropOrKeepWholeSamples) {
  const TestSamples s({5, 5, 5}, 5, 100);
  const std::vector<double> salience = salience_by_kernel(s, false, 0.5, NeighbourSum::kSum);
  const std::vector<TokenFate> fates{TokenFate::kKeepAll, TokenFate::kDropAll, TokenFate::kChoose};
  auto mask = simt::poisoned<uint8_t>(15);
  auto num_kept = simt::poisoned<int64_t>(3);
  ASSERT_EQ(launch_choose_tokens(
                {s.view(), salience.data(), nullptr, fates.data(), 0.4, false, mask.data(), num_kept.data()}, nullptr),
            cudaSuccess);
  EXPECT_EQ(s.part<uint8_t>(mask, 0), std::vector<uint8_t>(5, 1));
  EXPECT_EQ(s.part<uint8_t>(mask, 1), std::vector<uint8_t>(5, 0));
  EXPECT_EQ(s.part<uint8_t>(mask, 2), host_mask(s, salience, 2, {0.4, false, false}));
  EXPECT_EQ(num_kept, (std::vector<int64_t>{5, 0, 2}));
}

TEST(ChooseTokensKernel, ANanStillGivesTheRightNumber) {
  const std::vector<int64_t> offsets{0, 4};
  const std::vector<double> salience{1, NAN, 2, NAN};
  auto mask = simt::poisoned<uint8_t>(4);
  ASSERT_EQ(launch_choose_tokens(
                {{1, offsets.data()}, salience.data(), nullptr, nullptr, 0.75, false, mask.data(), nullptr}, nullptr),
            cudaSuccess);
  EXPECT_EQ(std::count(mask.begin(), mask.end(), 1), 3);
}

TEST(ChooseTokensKernel, ChoosesTheSameInAnyOrderOfThreads) {
  const TestSamples s({500}, 6, 7);
  simt::for_each_order([&] {
    expect_host_choice(s, salience_by_kernel(s, true, 0.5, NeighbourSum::kSum), {0.3, false, true});
  });
}

TEST(TokenSalienceKernels, WithoutSamplesNothingIsLaunched) {
  EXPECT_EQ(launch_sample_means({}, nullptr), cudaSuccess);
  EXPECT_EQ(launch_token_salience({}, nullptr), cudaSuccess);
  EXPECT_EQ(launch_choose_tokens({}, nullptr), cudaSuccess);
}

}  // namespace
}  // namespace qtune
