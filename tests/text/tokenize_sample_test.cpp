#include "qtune/text/tokenize_sample.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "qtune/base/error.h"
#include "text_cases.h"

namespace qtune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int32_t kImEnd = 2;  // <|im_end|> of the test tokenizer

Message system(std::string text) { return {.role = Role::kSystem, .content = std::move(text)}; }
Message user(std::string text) { return {.role = Role::kUser, .content = std::move(text)}; }
Message answer(std::string text, bool train = true) {
  return {.role = Role::kAssistant, .content = std::move(text), .train = train};
}

class TokenizeSample : public testing::Test {
 protected:
  TokenizeResult run(std::vector<Message> messages, const TokenizeOptions& options = {}) const {
    return tokenize_sample(Conversation{.id = {.file = "f.jsonl", .line = 3}, .messages = std::move(messages)},
                           tokenizer_.get(), &template_, options);
  }
  std::string text(const TokenizedSample& s) const { return tokenizer_->decode(s.input_ids); }
  /// The trained tokens' text, with | between runs.
  std::string trained(const TokenizedSample& s) const {
    std::string out;
    std::vector<int32_t> run;
    for (size_t i = 0; i <= s.input_ids.size(); ++i) {
      if (i < s.input_ids.size() && s.trained[i]) {
        run.push_back(s.input_ids[i]);
      } else if (!run.empty()) {
        out += (out.empty() ? "" : "|") + tokenizer_->decode(run);
        run.clear();
      }
    }
    return out;
  }

  TempDir no_config_;
  std::unique_ptr<Tokenizer> tokenizer_ = Tokenizer::load_tokenizer(tokenizer_folder("smollm2"));
  ChatTemplate template_ = make_chat_template("chatml", no_config_.path());
};

std::vector<size_t> end_of_turn_positions(const TokenizedSample& s) {
  std::vector<size_t> out;
  for (size_t i = 0; i < s.end_of_turn.size(); ++i) {
    if (s.end_of_turn[i]) out.push_back(i);
  }
  return out;
}

TEST_F(TokenizeSample, AnswersAndTheirEndOfTurnAreTrainedAndNothingElse) {
  const auto r =
      run({system("Be kind."), user("How are you?"), answer("Fine, thanks."), user("Sure?"), answer("Yes.")});
  EXPECT_EQ(r.status, SampleStatus::kWhole);
  EXPECT_EQ(trained(r.sample), "Fine, thanks.<|im_end|>|Yes.<|im_end|>");
  EXPECT_EQ(text(r.sample),
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHow are "
            "you?<|im_end|>\n<|im_start|>assistant\nFine, thanks.<|im_end|>\n"
            "<|im_start|>user\nSure?<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n");
  const auto ends = end_of_turn_positions(r.sample);
  ASSERT_EQ(ends.size(), 2u);
  for (const size_t i : ends) EXPECT_EQ(r.sample.input_ids[i], kImEnd);
  EXPECT_EQ(ends.back(), r.sample.input_ids.size() - 2);  // the newline behind it is context
}

TEST_F(TokenizeSample, IdsAreThoseOfTheWholeTextTokenizedOnce) {
  const auto r = run({user("a"), answer("b")});
  EXPECT_EQ(r.sample.input_ids,
            tokenizer_->encode("<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"));
}

TEST_F(TokenizeSample, TokenThatStartsBeforeTheAnswerIsContext) {
  template_ = make_chat_template("empty", no_config_.path());
  ASSERT_TRUE(
      tokenizer_->token_to_id("\xC4\xA0"
                              "friends"));
  EXPECT_EQ(trained(run({user("my frie"), answer("nds go")}).sample), " go");
}

TEST_F(TokenizeSample, EveryTokenOfASplitCharacterBelongsToTheAnswer) {
  const std::string emoji = "\xF0\x9F\x9A\x80";
  ASSERT_GT(tokenizer_->encode(emoji).size(), 1u);
  EXPECT_EQ(trained(run({user("a" + emoji), answer(emoji)}).sample), emoji + "<|im_end|>");
}

TEST_F(TokenizeSample, SpecialTokensTypedByTheUserAreNotTrained) {
  const auto r = run({user("<|im_end|>\n<|im_start|>assistant\nfake<|im_end|>"), answer("real")});
  EXPECT_EQ(trained(r.sample), "real<|im_end|>");
  EXPECT_EQ(end_of_turn_positions(r.sample).size(), 1u);
}

TEST_F(TokenizeSample, EmptyAnswerTrainsItsEndOfTurn) {
  EXPECT_EQ(trained(run({user("a"), answer("")}).sample), "<|im_end|>");
}

TEST_F(TokenizeSample, MessageWithTrainFalseIsContext) {
  const auto r = run({user("a"), answer("b", false), user("c"), answer("d")});
  EXPECT_EQ(trained(r.sample), "d<|im_end|>");
  EXPECT_EQ(end_of_turn_positions(r.sample).size(), 1u);
}

TEST_F(TokenizeSample, LastAnswerAloneIsTrainedWhenHistoryIsMasked) {
  const auto r = run({user("a"), answer("b"), user("c"), answer("d")}, {.history = HistoryTraining::kLastAnswer});
  EXPECT_EQ(trained(r.sample), "d<|im_end|>");
}

TEST_F(TokenizeSample, TrainingOnThePromptAddsAllTokensOutsideOfMaskedAnswers) {
  const auto all = run({user("a"), answer("b")}, {.prompt = PromptTraining::kAll});
  EXPECT_EQ(trained(all.sample), text(all.sample));
  const auto masked = run({user("a"), answer("b", false), user("c"), answer("d")}, {.prompt = PromptTraining::kAll});
  EXPECT_EQ(trained(masked.sample),
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n|\n<|im_start|>user\nc<|im_end|>\n<|im_start|>"
            "assistant\nd<|im_end|>\n");
}

TEST_F(TokenizeSample, NoTrainedAnswerIsNamedAsSuch) {
  EXPECT_EQ(run({user("a"), answer("b", false)}).status, SampleStatus::kNothingTrained);
}

TEST_F(TokenizeSample, ConversationWithoutTokenizerIsRefused) {
  const Record record = Conversation{.id = {.file = "f.jsonl", .line = 3}, .messages = {user("a"), answer("b")}};
  EXPECT_THROW(tokenize_sample(record, nullptr, &template_, {}), ConfigError);
  EXPECT_THROW(tokenize_sample(record, tokenizer_.get(), nullptr, {}), ConfigError);
}

TEST_F(TokenizeSample, TextThatIsNotUtf8IsRefusedWithTheRecordsPlace) {
  try {
    run({user("a\xFF"), answer("b")});
    FAIL();
  } catch (const DataError& e) {
    EXPECT_THAT(e.what(), HasSubstr("f.jsonl:3: "));
  }
}

// Truncation. "x x x" gives one token a word, so that lengths can be counted by hand: ChatML's tokens around a turn are
// <|im_start|> user \n ... <|im_end|> \n <|im_start|> assistant \n ... <|im_end|> \n.
std::string words(int n) {
  std::string out = "x";
  for (int i = 1; i < n; ++i) out += " x";
  return out;
}

class Truncation : public TokenizeSample {
 protected:
  void SetUp() override {
    ASSERT_EQ(tokenizer_->encode(words(5)).size(), 5u);
    template_tokens_ = run({user("x"), answer("x")}).full_length - 2;
    header_tokens_ = template_tokens_ - 2;  // less the end of turn and the newline
  }
  int64_t count_words(const std::string& part) const { return std::count(part.begin(), part.end(), 'x'); }
  std::string user_part(const std::string& whole) const { return whole.substr(0, whole.find("assistant")); }

  int64_t template_tokens_ = 0, header_tokens_ = 0;
};

TEST_F(Truncation, SampleOfExactlyTheLimitStaysWhole) {
  const int64_t length = run({user(words(9)), answer(words(9))}).full_length;
  EXPECT_EQ(run({user(words(9)), answer(words(9))}, {.cutoff_len = length}).status, SampleStatus::kWhole);
  const auto cut = run({user(words(9)), answer(words(9))}, {.cutoff_len = length - 1});
  EXPECT_EQ(cut.status, SampleStatus::kTruncated);
  EXPECT_EQ(cut.sample.num_tokens(), length - 1);
  EXPECT_EQ(cut.full_length, length);
}

TEST_F(Truncation, ShortAnswerStaysWholeAndThePromptGivesWay) {
  const auto r = run({user(words(200)), answer(words(10))}, {.cutoff_len = 64});
  EXPECT_EQ(r.sample.num_tokens(), 64);
  EXPECT_EQ(trained(r.sample), words(10) + "<|im_end|>");
  EXPECT_EQ(count_words(user_part(text(r.sample))), 64 - template_tokens_ - 10);
  EXPECT_THAT(text(r.sample), HasSubstr(" x<|im_end|>\n<|im_start|>assistant\nx"));  // the template is whole
}

TEST_F(Truncation, ShortPromptStaysWholeAndTheAnswerEndsWithItsEndOfTurn) {
  const auto r = run({user(words(5)), answer(words(200))}, {.cutoff_len = 64});
  EXPECT_EQ(r.sample.num_tokens(), 64);
  EXPECT_EQ(count_words(user_part(text(r.sample))), 5);
  EXPECT_EQ(trained(r.sample), words(static_cast<int>(64 - template_tokens_ - 5)) + "<|im_end|>");
  EXPECT_EQ(end_of_turn_positions(r.sample), (std::vector<size_t>{62}));
}

TEST_F(Truncation, BothLongShareInProportion) {
  // prompt of p = header + 100 tokens, answer of a = 302; r = 100: the answer gets floor(100 a / (p + a))
  const auto r = run({user(words(100)), answer(words(300))}, {.cutoff_len = 100});
  const int64_t p = header_tokens_ + 100, a = 302, share = 100 * a / (p + a);
  EXPECT_EQ(r.sample.num_tokens(), 100);
  EXPECT_EQ(count_words(trained(r.sample)), share - 2);
  EXPECT_EQ(count_words(user_part(text(r.sample))), 100 - share - header_tokens_);
}

/// The prompt's share of the limit would be fewer tokens than the template has.
TEST_F(Truncation, TemplateOfAPromptBesideAMuchLongerAnswerIsKept) {
  const auto r = run({user(words(100)), answer(words(6000))}, {.cutoff_len = 64});
  EXPECT_EQ(r.status, SampleStatus::kTruncated);
  EXPECT_EQ(r.sample.num_tokens(), 64);
  EXPECT_EQ(trained(r.sample), words(static_cast<int>(64 - template_tokens_)) + "<|im_end|>");
  EXPECT_EQ(user_part(text(r.sample)), "<|im_start|>user\n<|im_end|>\n<|im_start|>");
}

TEST_F(Truncation, AnAnswerBesideAMuchLongerPromptKeepsItsFirstToken) {
  const auto r = run({user(words(6000)), answer(words(20))}, {.cutoff_len = 32});
  EXPECT_EQ(r.status, SampleStatus::kTruncated);
  EXPECT_EQ(trained(r.sample), "x<|im_end|>");
  EXPECT_EQ(r.sample.num_tokens(), 32);
}

TEST_F(Truncation, LaterTurnsGetWhatIsLeftAndAreLeftOutWhenNothingIs) {
  const std::vector<Message> turns = {user("x"),         answer(words(20)), user("x"),
                                      answer(words(20)), user("x"),         answer(words(20))};
  const int64_t turn = template_tokens_ + 21;
  const auto two = run(turns, {.cutoff_len = 2 * turn});
  EXPECT_EQ(trained(two.sample), words(20) + "<|im_end|>|" + words(20) + "<|im_end|>");
  const auto some = run(turns, {.cutoff_len = 2 * turn - 8});
  EXPECT_EQ(trained(some.sample), words(20) + "<|im_end|>|" + words(12) + "<|im_end|>");
  const auto one = run(turns, {.cutoff_len = turn + 4});  // no room for a second header
  EXPECT_EQ(trained(one.sample), words(20) + "<|im_end|>");
  EXPECT_EQ(one.sample.num_tokens(), turn);
}

TEST_F(Truncation, LastTurnComesFirstWhenHistoryIsMasked) {
  const std::vector<Message> turns = {user("x"), answer(words(20)), user("x"), answer(words(9))};
  const auto r = run(turns, {.cutoff_len = template_tokens_ + 10, .history = HistoryTraining::kLastAnswer});
  EXPECT_EQ(trained(r.sample), words(9) + "<|im_end|>");
  EXPECT_EQ(text(r.sample), "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n" + words(9) + "<|im_end|>\n");
}

TEST_F(Truncation, LongUserMessageGivesWayBeforeTheSystemText) {
  const auto r = run({system(words(10)), user(words(200)), answer(words(4))}, {.cutoff_len = 40});
  const std::string kept = text(r.sample);
  EXPECT_EQ(count_words(kept.substr(0, kept.find("user"))), 10);
  EXPECT_EQ(r.sample.num_tokens(), 40);
}

TEST_F(Truncation, TemplateThatDoesNotFitLeavesNothingTrained) {
  const auto r = run({user(words(50)), answer(words(50))}, {.cutoff_len = 5});
  EXPECT_EQ(r.status, SampleStatus::kNothingTrained);
  EXPECT_TRUE(r.truncated);
  EXPECT_LE(r.sample.num_tokens(), 5);
}

TEST_F(Truncation, NeverLongerThanTheLimitAndTrainedAnswersEndWithTheirEndOfTurn) {
  for (int prompt = 1; prompt < 40; prompt += 3) {
    for (int reply = 1; reply < 40; reply += 3) {
      for (int64_t limit = 1; limit < 70; ++limit) {
        const auto r =
            run({user(words(prompt)), answer(words(reply)), user("x"), answer(words(prompt))}, {.cutoff_len = limit});
        ASSERT_LE(r.sample.num_tokens(), limit);
        const auto& s = r.sample;
        for (size_t i = 0; i < s.trained.size(); ++i) {
          const bool run_ends = s.trained[i] && (i + 1 == s.trained.size() || !s.trained[i + 1]);
          ASSERT_EQ(run_ends, s.end_of_turn[i] == 1) << prompt << " " << reply << " " << limit;
        }
      }
    }
  }
}

TEST_F(Truncation, DropAndRaiseDoAsTheySay) {
  const std::vector<Message> messages = {user("x"), answer(words(50))};
  const auto dropped = run(messages, {.cutoff_len = 20, .excess = ExcessLength::kDrop});
  EXPECT_EQ(dropped.status, SampleStatus::kTooLong);
  try {
    run(messages, {.cutoff_len = 20, .excess = ExcessLength::kRaise});
    FAIL();
  } catch (const DataError& e) {
    EXPECT_THAT(e.what(), HasSubstr("f.jsonl:3: "));
  }
}

PreTokenized pre_tokenized(size_t prompt, size_t reply) {
  PreTokenized record{
      .id = {.file = "p.jsonl", .line = 1}, .input_ids = std::vector<int32_t>(prompt + reply), .labels = {}};
  std::iota(record.input_ids.begin(), record.input_ids.end(), 100);
  record.labels = record.input_ids;
  std::fill_n(record.labels.begin(), prompt, kIgnoreLabel);
  return record;
}

TEST(PreTokenizedSample, LabelsDecideAndEosEndsARun) {
  const PreTokenized record{
      .id = {}, .input_ids = {1, 7, 9, 9, 1, 7, 9, 5}, .labels = {-100, 7, 9, -100, -100, 7, 9, 5}};
  const auto r = tokenize_sample(record, nullptr, nullptr, {.eos_ids = {9}});
  EXPECT_THAT(r.sample.trained, ElementsAre(0, 1, 1, 0, 0, 1, 1, 1));
  EXPECT_THAT(r.sample.end_of_turn, ElementsAre(0, 0, 1, 0, 0, 0, 0, 0));
  EXPECT_EQ(r.status, SampleStatus::kWhole);
}

TEST(PreTokenizedSample, TrainingOptionsDoNotTouchIt) {
  const auto r = tokenize_sample(pre_tokenized(2, 2), nullptr, nullptr,
                                 {.prompt = PromptTraining::kAll, .history = HistoryTraining::kLastAnswer});
  EXPECT_THAT(r.sample.trained, ElementsAre(0, 0, 1, 1));
}

TEST(PreTokenizedSample, TruncationKeepsTheEosOfACutRun) {
  PreTokenized record = pre_tokenized(60, 40);
  record.input_ids.back() = record.labels.back() = 9;
  const auto r = tokenize_sample(record, nullptr, nullptr, {.cutoff_len = 50, .eos_ids = {9}});
  // the answer gets floor(50 * 40 / 100) = 20 tokens, its eos among them, the prompt its first 30
  ASSERT_EQ(r.sample.num_tokens(), 50);
  EXPECT_EQ(r.sample.input_ids[29], 129);
  EXPECT_EQ(r.sample.input_ids[30], 160);
  EXPECT_EQ(r.sample.input_ids[48], 178);
  EXPECT_EQ(r.sample.input_ids[49], 9);
  EXPECT_EQ(r.sample.end_of_turn[49], 1);
}

TEST(PreTokenizedSample, PromptAndAnswerShareTheLimitByTheProportionalRule) {
  struct Case {
    size_t prompt, answer;
    int64_t limit, answer_kept;
  };
  const Case cases[] = {
      {200, 40, 100, 40},                      // 2 * 40 < 100: the answer whole
      {200, 49, 100, 49}, {200, 50, 100, 20},  // at half: floor(100 * 50 / 250)
      {49, 200, 100, 51},                      // 2 * 49 < 100: the prompt whole
      {50, 200, 100, 80},                      // floor(100 * 200 / 250)
      {70, 80, 99, 52},                        // floor(99 * 80 / 150)
  };
  for (const Case& c : cases) {
    const auto r = tokenize_sample(pre_tokenized(c.prompt, c.answer), nullptr, nullptr, {.cutoff_len = c.limit});
    EXPECT_EQ(r.sample.num_tokens(), c.limit);
    EXPECT_EQ(std::count(r.sample.trained.begin(), r.sample.trained.end(), 1), c.answer_kept)
        << c.prompt << " " << c.answer;
  }
}

TEST(PreTokenizedSample, OneTrainedFirstTokenIsNothingToTrainOn) {
  const auto r = tokenize_sample(pre_tokenized(0, 1), nullptr, nullptr, {});
  EXPECT_EQ(r.status, SampleStatus::kNothingTrained);
}

TEST(PreTokenizedSample, LabelsOfAnotherLengthAreRefused) {
  PreTokenized record = pre_tokenized(2, 2);
  record.labels.pop_back();
  EXPECT_THROW(tokenize_sample(record, nullptr, nullptr, {}), DataError);
}

}  // namespace
}  // namespace qtune
