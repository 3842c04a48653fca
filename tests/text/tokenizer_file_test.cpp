// tokenizer.json files that must be refused: what is not known, and what is broken.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qtune/base/error.h"
#include "qtune/base/rng.h"
#include "text_cases.h"

namespace qtune {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

std::string refusal_of(const json& content) {
  try {
    tokenizer_of(content);
  } catch (const CheckpointError& e) {
    return e.what();
  }
  return "accepted";
}

struct Edit {
  const char* pointer;
  json value;
  const char* named;  // what the message must say
};

TEST(TokenizerFile, UnknownStepsAreRefusedByName) {
  const Edit edits[] = {
      {"/normalizer", {{"type", "Lowercase"}}, "normalizer Lowercase"},
      {"/normalizer",
       {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, {{"type", "NFKC"}}}}},
       "normalizer NFKC"},
      {"/normalizer", {{"type", "Replace"}, {"pattern", {{"Regex", " +"}}}, {"content", " "}}, "Replace of pattern"},
      {"/pre_tokenizer/pretokenizers/0", {{"type", "Punctuation"}}, "pre_tokenizer Punctuation"},
      {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "\\d+", "regular expression"},
      {"/pre_tokenizer/pretokenizers/0/behavior", "Removed", "Removed"},
      {"/pre_tokenizer/pretokenizers/0/invert", true, "Split"},
      {"/pre_tokenizer/pretokenizers/0/pattern", {{"String", ""}}, "empty pattern"},
      {"/model/type", "Unigram", "model Unigram"},
      {"/model/dropout", 0.1, "dropout"},
      {"/model/continuing_subword_prefix", "##", "continuing_subword_prefix"},
      {"/model/end_of_word_suffix", "</w>", "end_of_word_suffix"},
      {"/pre_tokenizer/pretokenizers/0",
       {{"type", "Metaspace"}, {"replacement", "\xE2\x96\x81"}, {"prepend_scheme", "last"}},
       "prepend_scheme"},
      {"/pre_tokenizer/pretokenizers/0", {{"type", "Metaspace"}, {"replacement", "ab"}}, "one character"},
      {"/decoder", {{"type", "WordPiece"}}, "decoder WordPiece"},
      {"/post_processor", {{"type", "Novel"}}, "post_processor Novel"},
  };
  for (const Edit& edit : edits) {
    json content = read_tokenizer_json("llama3");
    content[json::json_pointer(edit.pointer)] = edit.value;
    EXPECT_THAT(refusal_of(content), AllOf(HasSubstr("tokenizer.json: "), HasSubstr(edit.named))) << edit.pointer;
  }
}

TEST(TokenizerFile, MalformedEntriesAreNamed) {
  const Edit edits[] = {
      {"/model", nullptr, "expected a \"model\""},
      {"/model/vocab", json::array(), "model.vocab"},
      {"/model/vocab/a", -3, "model.vocab"},
      {"/model/vocab/a", 2000000000, "model.vocab"},
      {"/model/vocab/a", 7, "id 7 stands for two tokens"},
      {"/model/vocab/a", "x", "model.vocab"},
      {"/model/merges", 5, "model.merges"},
      {"/model/merges/3", "nospace", "model.merges[3]"},
      {"/model/merges/3", {"a"}, "model.merges[3]"},
      {"/model/merges/3", {"zzzz", "b"}, "not in the vocabulary"},
      {"/model/unk_token", "nope", "unk_token"},
      {"/added_tokens", "x", "added_tokens"},
      {"/added_tokens/0", 4, "added_tokens[0]"},
      {"/added_tokens/0/id", 99, "added_tokens[0]"},
      {"/added_tokens/1/content", "<|endoftext|>", "added_tokens[1]"},
      {"/added_tokens/0/lstrip", "yes", "lstrip"},
      {"/normalizer", {{"kind", "NFC"}}, "normalizer.type"},
      {"/normalizer", 3, "normalizer"},
      {"/pre_tokenizer/pretokenizers", 3, "pre_tokenizer.pretokenizers"},
      {"/decoder", {{"type", "Strip"}, {"content", ""}, {"start", 1}, {"stop", 0}}, "Strip"},
      {"/decoder", {{"type", "Strip"}, {"content", " "}, {"start", -1}, {"stop", 0}}, "start"},
  };
  for (const Edit& edit : edits) {
    json content = read_tokenizer_json("llama3");
    content[json::json_pointer(edit.pointer)] = edit.value;
    const std::string message = refusal_of(content);
    EXPECT_THAT(message, AllOf(HasSubstr("tokenizer.json: "), HasSubstr(edit.named))) << edit.pointer;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

TEST(TokenizerFile, LineBreaksInNamesAreEscapedInTheMessage) {
  const Edit edits[] = {
      {"/pre_tokenizer/pretokenizers/0/behavior", "a\nb", R"(behavior a\x0ab)"},
      {"/normalizer", {{"type", "a\nb"}}, R"(normalizer a\x0ab is not supported)"},
      {"/model/type", "a\r\nb", R"(model a\x0d\x0ab is not supported)"},
  };
  for (const Edit& edit : edits) {
    json content = read_tokenizer_json("llama3");
    content[json::json_pointer(edit.pointer)] = edit.value;
    const std::string message = refusal_of(content);
    EXPECT_THAT(message, HasSubstr(edit.named)) << edit.pointer;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

TEST(TokenizerFile, DeepNestingIsRefused) {
  json step = {{"type", "NFC"}};
  for (int i = 0; i < 1000; ++i) step = {{"type", "Sequence"}, {"normalizers", json::array({step})}};
  json content = read_tokenizer_json("llama3");
  content["normalizer"] = step;
  EXPECT_THAT(refusal_of(content), HasSubstr("nested"));
}

TEST(TokenizerFile, DeeplyNestedValuesAreRefusedWithoutPrintingThem) {
  std::string text = read_tokenizer_json("llama3").dump();
  const std::string key = "\"decoder\":";
  text.insert(text.find(key) + key.size(), std::string(100'000, '[') + std::string(100'000, ']') + ",\"x\":");
  TempDir folder;
  write_text(folder / "tokenizer.json", text);
  EXPECT_THROW(Tokenizer::load_tokenizer(folder.path()), CheckpointError);
}

TEST(TokenizerFile, MissingFileIsNamed) {
  TempDir folder;
  EXPECT_THROW(Tokenizer::load_tokenizer(folder.path()), CheckpointError);
}

TEST(TokenizerFile, CutOrAlteredFilesAreRefusedOrReadButNeverCrash) {
  const json small = {{"added_tokens", {{{"id", 5}, {"content", "<s>"}, {"special", true}}}},
                      {"normalizer", {{"type", "NFC"}}},
                      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
                      {"model",
                       {{"type", "BPE"},
                        {"vocab", {{"a", 0}, {"b", 1}, {"ab", 2}, {"c", 3}, {"abc", 4}}},
                        {"merges", {"a b", "ab c"}}}},
                      {"decoder", {{"type", "ByteLevel"}}}};
  const std::string whole = small.dump();
  CounterRng rng(11, 0);
  TempDir folder;
  const auto load = [&](const std::string& content) {
    write_text(folder / "tokenizer.json", content);
    try {
      const auto tokenizer = Tokenizer::load_tokenizer(folder.path());
      tokenizer->decode(tokenizer->encode("abc <s>cab"));
    } catch (const CheckpointError&) {
    }
  };
  for (size_t length = 0; length < whole.size(); ++length) load(whole.substr(0, length));
  for (int i = 0; i < 600; ++i) {
    std::string altered = whole;
    for (int k = 0; k < 3; ++k) altered[rng.next_below(altered.size())] = static_cast<char>(rng.next_below(128));
    load(altered);
  }
}

}  // namespace
}  // namespace qtune
