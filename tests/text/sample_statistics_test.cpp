#include "qtune/text/sample_statistics.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/byte_samples.h"

namespace qtune {
namespace {

TEST(LengthHistogram, HasRoundRangesAndCountsEverySampleOnce) {
  EXPECT_EQ(length_histogram({7, 12, 13, 19, 31, 31}, 5),
            "   0 to  9        1  #############\n"
            "  10 to 19        3  ########################################\n"
            "  20 to 29        0  \n"
            "  30 to 39        2  ##########################\n");
  EXPECT_EQ(length_histogram({5, 5, 6}),
            "  5        2  ########################################\n  6        1  ####################\n");
  EXPECT_EQ(length_histogram({}), "");
}

TEST(LengthHistogram, NeverHasMoreRowsThanAsked) {
  for (int64_t least = 0; least < 60; ++least) {
    for (int64_t most = least; most < 400; most += 7) {
      const std::string text = length_histogram({least, most}, 6);
      EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 6) << least << " " << most;
    }
  }
}

TEST(LengthSummary, TakesNinetyFivePercentByCount) {
  std::vector<int64_t> lengths;
  for (int64_t k = 100; k >= 1; --k) lengths.push_back(k);
  const LengthSummary summary = summarize_lengths(lengths);
  EXPECT_EQ(summary.mean, 50.5);
  EXPECT_EQ(summary.median, 50.5);
  EXPECT_EQ(summary.most_of_95_percent, 95);
  EXPECT_EQ(summary.longest, 100);
  EXPECT_EQ(summarize_lengths({4}).most_of_95_percent, 4);
  EXPECT_EQ(summarize_lengths({1, 7, 2}).median, 2);
  EXPECT_EQ(summarize_lengths({}).longest, 0);
}

TEST(FindDuplicates, ComparesTokensAndWhatIsTrained) {
  const Duplicates duplicates =
      find_duplicates(set_of({sample_of("ab", ".x"), sample_of("ab", "xx"), sample_of("ac", ".x"),
                              sample_of("ab", ".x"), sample_of("ab", ".e"), sample_of("ab", ".x")}));
  EXPECT_EQ(duplicates.count, 2);
  EXPECT_EQ(duplicates.first, 3U);
  EXPECT_EQ(find_duplicates(set_of({sample_of("ab", ".x")})).count, 0);
}

TEST(FindDuplicates, ASamplePickedAgainIsNone) {
  const SampleSet samples = set_of({sample_of("ab", ".x"), sample_of("ac", ".x"), sample_of("ab", ".x")});
  const std::vector<int64_t> order = {0, 1, 2, 0, 2, 1};
  EXPECT_EQ(find_duplicates(samples.pick(order)).count, 1);
}

TEST(CountEmpty, IsWhatOnlyEndsTurnsOrIsWhiteSpace) {
  EXPECT_EQ(count_empty(set_of({sample_of("p$", ".e")}), bytes_as_text), 1);
  EXPECT_EQ(count_empty(set_of({sample_of("p$p$", ".e.e")}), bytes_as_text), 1);
  EXPECT_EQ(count_empty(set_of({sample_of("p \n$", ".xxe")}), bytes_as_text), 1);
  EXPECT_EQ(count_empty(set_of({sample_of("p \n$", ".xxe")}), nullptr), 0);
  EXPECT_EQ(count_empty(set_of({sample_of("p$pa$", ".e.xe")}), bytes_as_text), 0) << "one answer says something";
  EXPECT_EQ(count_empty(set_of({sample_of("pa", "..")}), bytes_as_text), 0) << "that is an untrained sample";
}

TEST(NumEndedTurns, AnEndOfSeveralTokensCountsOnce) {
  EXPECT_EQ(num_ended_turns(sample_of("pa$$pb$", ".xee.xe")), 2);
  EXPECT_EQ(num_ended_turns(sample_of("pa", ".x")), 0);
}

TEST(SpreadIndices, ReachFromTheStartOverTheWhole) {
  EXPECT_EQ(spread_indices(10, 4), (std::vector<size_t>{0, 2, 5, 7}));
  EXPECT_EQ(spread_indices(3, 10), (std::vector<size_t>{0, 1, 2}));
  EXPECT_TRUE(spread_indices(0, 10).empty());
}

}  // namespace
}  // namespace qtune
