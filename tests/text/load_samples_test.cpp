#include "qtune/text/load_samples.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "qtune/base/error.h"
#include "qtune/text/sample_checks.h"
#include "support/byte_tokenizer.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kTrained = R"({"prompt":"hello","completion":"world"})";
constexpr const char* kUntrained =
    R"({"prompt":[{"role":"user","content":"q"}],"completion":[{"role":"assistant","content":"b","train":false}]})";

class LoadSamples : public testing::Test {
 protected:
  LoadSamples() { options_ = {.model_folder = dir_.path(), .template_name = "chatml"}; }

  void add_file(const std::string& content, OnBadData on_bad_data = OnBadData::kRaise) {
    const std::string path = (dir_ / fmt::format("d{}.jsonl", options_.datasets.size())).string();
    std::ofstream(path) << content;
    options_.datasets.push_back({.file = path, .on_bad_data = on_bad_data});
  }
  LoadedSamples load() const { return load_samples(options_); }
  std::string error() const {
    try {
      load_samples(options_);
    } catch (const DataError& e) {
      return e.what();
    }
    return "";
  }

  TempDir dir_;
  LoadSamplesOptions options_;
};

std::string repeated(const std::string& line, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += line + "\n";
  return text;
}

TEST_F(LoadSamples, PreTokenizedDataNeedsNeitherTokenizerNorTemplate) {
  options_.template_name = "no such template";
  options_.tokenize.eos_ids = {2};
  add_file(R"({"id":"x","input_ids":[5,6,2,7],"labels":[-100,6,2,-100]})");
  const LoadedSamples loaded = load();
  EXPECT_EQ(loaded.tokenizer, nullptr);
  ASSERT_EQ(loaded.samples.size(), 1u);
  EXPECT_EQ(loaded.samples[0].trained, (std::vector<uint8_t>{0, 1, 1, 0}));
  EXPECT_EQ(loaded.samples[0].end_of_turn, (std::vector<uint8_t>{0, 0, 1, 0}));
  EXPECT_EQ(loaded.samples.num_trainable_tokens(), 2);
}

TEST_F(LoadSamples, AConversationBringsTokenizerAndTemplate) {
  write_byte_tokenizer(dir_.path());
  add_file(kTrained);
  const LoadedSamples loaded = load();
  ASSERT_NE(loaded.tokenizer, nullptr);
  ASSERT_EQ(loaded.samples.size(), 1u);
  const TokenizedSample sample = loaded.samples[0];
  std::vector<int32_t> trained;
  for (size_t k = 0; k < sample.input_ids.size(); ++k) {
    if (sample.trained[k]) trained.push_back(sample.input_ids[k]);
  }
  EXPECT_EQ(loaded.tokenizer->decode(trained), "world<|im_end|>");
}

TEST_F(LoadSamples, OrderIsThatOfTheFilesWhateverTheThreads) {
  write_byte_tokenizer(dir_.path());
  std::string first, second;
  for (int i = 0; i < 5000; ++i) first += fmt::format("{{\"prompt\":\"p\",\"completion\":\"{}\"}}\n", i);
  for (int i = 0; i < 3; ++i) second += fmt::format("{{\"input_ids\":[1,{}]}}\n", i);
  add_file(first);
  add_file(second);
  options_.num_threads = 4;
  const LoadedSamples four = load();
  options_.num_threads = 1;
  const LoadedSamples one = load();
  ASSERT_EQ(four.samples.size(), 5003u);
  for (size_t k = 0; k < four.samples.size(); ++k) {
    EXPECT_EQ(four.samples[k].input_ids, one.samples[k].input_ids);
    EXPECT_EQ(four.samples[k].id.line, k < 5000 ? static_cast<int64_t>(k) + 1 : static_cast<int64_t>(k) - 4999);
  }
}

TEST_F(LoadSamples, TheFirstBadRecordIsTheOneReported) {
  write_byte_tokenizer(dir_.path());
  const std::string wrong_roles = R"({"messages":[{"role":"assistant","content":"a"}]})";
  options_.template_name = "llama2";  // wants the user first
  options_.num_threads = 4;
  std::string text =
      repeated(R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]})", 100);
  add_file(text + wrong_roles + "\n" + text + wrong_roles + "\n");
  EXPECT_THAT(error(), HasSubstr("d0.jsonl:101:"));
}

TEST_F(LoadSamples, SkippingCountsWhatCannotBeReadAndWhatCannotBeRendered) {
  write_byte_tokenizer(dir_.path());
  options_.template_name = "llama2";
  add_file("nonsense\n" + repeated(R"({"messages":[{"role":"assistant","content":"a"}]})", 2) +
               R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]})",
           OnBadData::kSkip);
  const LoadedSamples loaded = load();
  EXPECT_EQ(loaded.samples.size(), 1u);
  EXPECT_EQ(loaded.counts.num_bad, 3);
  EXPECT_EQ(loaded.counts.num_records, 1);
}

TEST_F(LoadSamples, BadRecordsOfReadingAndOfRenderingAreAllNamed) {
  write_byte_tokenizer(dir_.path());
  options_.template_name = "llama2";  // wants the user first
  const std::string good = R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]})";
  const std::string wrong_roles = R"({"messages":[{"role":"assistant","content":"a"}]})";
  add_file(good + "\n" + wrong_roles + "\nnonsense\n" + wrong_roles + "\n" + good + "\n[]\n");
  testing::internal::CaptureStdout();
  const std::string thrown = error();
  const std::string log = testing::internal::GetCapturedStdout();
  EXPECT_THAT(thrown, AllOf(HasSubstr("in all 2 bad records"), HasSubstr("besides, 2 records")));
  for (const int line : {2, 3, 4, 6}) EXPECT_THAT(log, HasSubstr(fmt::format("d0.jsonl:{}: ", line)));
}

TEST_F(LoadSamples, AFieldThatTheCheckpointsTemplateAsksForIsNotLostInSilence) {
  write_byte_tokenizer(dir_.path());
  options_.template_name = "";
  std::ofstream(dir_ / "chat_template.jinja")
      << "{% for message in messages %}<|im_start|>{{ message.role }}\n"
         "{% if message.reasoning_content %}<think>{{ message['reasoning_content'] }}</think>{% endif %}"
         "{{ message.content }}<|im_end|>\n{% endfor %}{% set name = tools %}";
  const auto with_field = [](const std::string& field) {
    return R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a",")" + field +
           R"(":"because"}]})";
  };
  add_file(with_field("name") + "\n" + with_field("source"));
  EXPECT_EQ(load().samples.size(), 2u);  // nobody asks for these
  options_.datasets.clear();
  add_file(with_field("reasoning_content"));
  EXPECT_THAT(error(), AllOf(HasSubstr("d0.jsonl:1:"), HasSubstr("\"reasoning_content\" in message 2")));
}

TEST_F(LoadSamples, AnAnswerWhoseFirstTokenBeginsInTheTemplateIsCounted) {
  write_byte_tokenizer(dir_.path());
  add_file(kTrained);
  EXPECT_EQ(load().counts.num_start_lost, 0);
  options_.datasets.clear();
  // A merge of the space and the first letter.
  std::ifstream in(dir_ / "tokenizer.json");
  auto tokenizer = nlohmann::json::parse(in);
  const int id = static_cast<int>(tokenizer["model"]["vocab"].size()) + 100;
  tokenizer["model"]["vocab"]["\u0120w"] = id;
  tokenizer["model"]["merges"] = {"\u0120 w"};
  std::ofstream(dir_ / "tokenizer.json") << tokenizer.dump();
  std::ofstream(dir_ / "chat_template.jinja")
      << "{% for message in messages %}{{ message.role + ': ' + message.content }}\n{% endfor %}";
  options_.template_name = "";
  add_file(kTrained);
  const LoadedSamples loaded = load();
  EXPECT_EQ(loaded.counts.num_start_lost, 1);
  EXPECT_THAT(loaded.counts.first_start_lost, HasSubstr("d0.jsonl:1"));
  EXPECT_THAT(sample_warnings(loaded.samples, sample_check_options(loaded, options_)),
              testing::Contains(HasSubstr("first word of an answer is not trained in 1 of 1")));
}

TEST_F(LoadSamples, TruncatedAndDroppedSamplesAreCounted) {
  add_file("{\"input_ids\":[1,2,3,4,5,6]}\n{\"input_ids\":[1,2]}");
  options_.tokenize.cutoff_len = 4;
  const LoadedSamples cut = load();
  EXPECT_EQ(cut.samples.size(), 2u);
  EXPECT_EQ(cut.counts.num_truncated, 1);
  options_.tokenize.excess = ExcessLength::kDrop;
  const LoadedSamples dropped = load();
  EXPECT_EQ(dropped.samples.size(), 1u);
  EXPECT_EQ(dropped.counts.num_too_long, 1);
  EXPECT_EQ(dropped.summary(), "1 samples, 2 tokens, 1 of them trained; 1 too long and left out");
}

TEST_F(LoadSamples, RaiseStopsAtALongSampleEvenWhereBadDataIsSkipped) {
  options_.tokenize = {.cutoff_len = 4, .excess = ExcessLength::kRaise};
  add_file("{\"input_ids\":[1,2]}\n{\"input_ids\":[1,2,3,4,5,6]}\n", OnBadData::kSkip);
  EXPECT_THAT(error(), AllOf(HasSubstr("d0.jsonl:2:"), HasSubstr("cutoff_len")));
}

TEST_F(LoadSamples, SamplesWithoutATrainedTokenAreLeftOutUpToFivePercent) {
  write_byte_tokenizer(dir_.path());
  add_file(repeated(kTrained, 19) + kUntrained);
  const LoadedSamples loaded = load();
  EXPECT_EQ(loaded.samples.size(), 19u);
  EXPECT_EQ(loaded.counts.num_untrained, 1);
  options_.datasets.clear();
  add_file(repeated(kTrained, 18) + kUntrained);
  EXPECT_THAT(error(), AllOf(HasSubstr("d0.jsonl:19:"), HasSubstr("at least 95 %"), HasSubstr("1 of 19")));
}

TEST_F(LoadSamples, ScoringKeepsSamplesWithoutATrainedToken) {
  options_.untrained = UntrainedSamples::kKeep;
  add_file(R"({"input_ids":[1,2],"labels":[-100,-100]})");
  const LoadedSamples loaded = load();
  EXPECT_EQ(loaded.samples.size(), 1u);
  EXPECT_EQ(loaded.counts.num_untrained, 1);
}

TEST_F(LoadSamples, NothingLeftIsAnError) {
  add_file("{\"input_ids\":[1,2,3]}");
  options_.tokenize = {.cutoff_len = 2, .excess = ExcessLength::kDrop};
  EXPECT_THAT(error(), AllOf(HasSubstr("at least one sample"), HasSubstr("1 too long")));
}

TEST_F(LoadSamples, AnIdTheModelDoesNotHaveIsNamed) {
  options_.vocab_size = 10;
  add_file("{\"input_ids\":[1,9]}\n{\"input_ids\":[1,10]}");
  EXPECT_THAT(error(), AllOf(HasSubstr("d0.jsonl:2: expected token ids below 10"), HasSubstr("found 10")));
}

TEST_F(LoadSamples, ATokenizerLargerThanTheModelIsRefused) {
  write_byte_tokenizer(dir_.path());
  options_.vocab_size = 200;
  add_file(kTrained);
  EXPECT_THROW(load(), CheckpointError);
}

TEST_F(LoadSamples, AnUnknownTemplateIsAConfigError) {
  write_byte_tokenizer(dir_.path());
  options_.template_name = "no such template";
  add_file(kTrained);
  EXPECT_THROW(load(), ConfigError);
}

TEST_F(LoadSamples, EachDatasetKeepsToItsOwnNumberOfSamples) {
  add_file(repeated("{\"input_ids\":[1,2]}", 9));
  add_file(repeated("{\"input_ids\":[3,4]}", 9));
  options_.datasets[0].num_samples = 2;
  EXPECT_EQ(load().samples.size(), 11u);
}

}  // namespace
}  // namespace qtune
