#include "qtune/text/sample_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qtune/base/file.h"
#include "support/byte_samples.h"
#include "support/byte_tokenizer.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const SpecialIds kSpecial = {.texts = {{'B', "<s>"}, {'E', "</s>"}}, .bos = 'B'};

/// Samples that differ, so that no duplicate is found.
std::vector<TokenizedSample> good_samples(size_t count) {
  std::vector<TokenizedSample> samples;
  for (size_t k = 0; k < count; ++k)
    samples.push_back(sample_of("B" + std::to_string(1000 + k) + "E", ".xxxxe", static_cast<int64_t>(k) + 1));
  return samples;
}

std::vector<std::string> warnings_of(const std::vector<TokenizedSample>& samples, const SampleCounts& counts = {}) {
  return sample_warnings(set_of(samples), {.counts = counts, .special = kSpecial, .cutoff_len = 64});
}

TEST(SampleWarnings, GoodSamplesHaveNone) {
  EXPECT_THAT(warnings_of(good_samples(50), {.num_records = 50}), IsEmpty());
  EXPECT_THAT(sample_warnings(SampleSet(), {}), IsEmpty());
}

TEST(SampleWarnings, SayWhenNoEndOfTurnIsTrained) {
  EXPECT_THAT(warnings_of({sample_of("Bpa", "..x"), sample_of("Bpb", "..x")}),
              ElementsAre(AllOf(HasSubstr("no end of turn is trained in any of the 2 samples"), HasSubstr("--->"))));
  auto samples = good_samples(3);
  samples.push_back(sample_of("Bpa", "..x", 9));
  EXPECT_THAT(warnings_of(samples), ElementsAre(HasSubstr("in 1 of the 4 samples looked at, the first f.jsonl:9:")));
}

TEST(SampleWarnings, SayWhenTheTokenizerHasNoSuchEndOfTurn) {
  EXPECT_THAT(warnings_of({sample_of("Bp<end>", "..eeeee", 7)}),
              ElementsAre(AllOf(HasSubstr("ordinary text for this tokenizer in 1 of the 1"), HasSubstr("f.jsonl:7"))));
  EXPECT_THAT(warnings_of({sample_of("BpaE\n", "..xee")}), IsEmpty()) << "a special token and a line end";
  EXPECT_THAT(warnings_of({sample_of("Bpa$", "..xe")}), IsEmpty()) << "one token";
}

TEST(SampleWarnings, SayWhenTheBeginOfTextIsDoubled) {
  auto samples = good_samples(2);
  samples.push_back(sample_of("BBpaE", "...xe", 5));
  samples.push_back(sample_of("BpBBaE", "....xe", 6));
  EXPECT_THAT(warnings_of(samples), ElementsAre(AllOf(HasSubstr("1 of the 4 samples looked at start with <s> twice"),
                                                      HasSubstr("f.jsonl:5"))));
}

TEST(SampleWarnings, CountUntrainedTruncatedAndSpecialText) {
  const SampleCounts counts{.num_records = 100,
                            .num_truncated = 51,
                            .num_untrained = 6,
                            .first_untrained = "d:4",
                            .num_special_in_text = 2,
                            .first_special_in_text = "d:8"};
  EXPECT_THAT(warnings_of(good_samples(1), counts),
              ElementsAre(AllOf(HasSubstr("6 of 100 samples have no trained token"), HasSubstr("the first is d:4")),
                          HasSubstr("51 of 100 samples are cut to 64 tokens"),
                          AllOf(HasSubstr("messages of 2 of 100 samples"), HasSubstr("the first d:8"))));
  EXPECT_THAT(warnings_of(good_samples(1), {.num_records = 100, .num_truncated = 50, .num_untrained = 5}), IsEmpty());
}

TEST(SampleWarnings, CountDuplicatesAboveOnePercent) {
  auto samples = good_samples(100);
  samples.back() = sample_of("B1000E", ".xxxxe", 100);
  EXPECT_THAT(warnings_of(samples), IsEmpty());
  samples.insert(samples.begin() + 1, sample_of("B1000E", ".xxxxe", 77));
  EXPECT_THAT(warnings_of(samples),
              ElementsAre(AllOf(HasSubstr("2 of 101 samples are the same"), HasSubstr("the first f.jsonl:77"))));
}

TEST(SampleWarnings, LookAtNoMoreSamplesThanAllowed) {
  std::vector<TokenizedSample> samples = good_samples(20);
  for (TokenizedSample& sample : samples) sample.end_of_turn.assign(sample.end_of_turn.size(), 0);
  SampleCheckOptions options;
  options.max_samples = 5;
  EXPECT_THAT(sample_warnings(set_of(samples), options), ElementsAre(HasSubstr("any of the 5 samples looked at")));
}

TEST(SampleWarnings, SpecialIdsInMessagesAreCountedWhileTokenizingAndKeptInTheCache) {
  const TempDir folder;
  write_byte_tokenizer(folder.path());
  write_file_atomic(folder / "d.jsonl", R"({"prompt": "a", "completion": "b"})"
                                        "\n"
                                        R"({"prompt": "a<|im_end|>", "completion": "c"})"
                                        "\n"
                                        R"({"prompt": "a", "completion": "d <|im_start|>"})"
                                        "\n");
  LoadSamplesOptions options;
  options.datasets = {{.file = folder / "d.jsonl", .split = {}}};
  options.model_folder = folder.path();
  options.template_name = "chatml";
  options.cache_folder = folder / "cache";
  for (const char* from : {"data", "cache"}) {
    const LoadedSamples loaded = load_samples(options);
    EXPECT_EQ(loaded.tokenizer == nullptr, std::string(from) == "cache");
    EXPECT_THAT(sample_warnings(loaded.samples, sample_check_options(loaded, options)),
                ElementsAre(AllOf(HasSubstr("in the messages of 2 of 3 samples"), HasSubstr("d.jsonl:2"))))
        << from;
  }
}

}  // namespace
}  // namespace qtune
