// Inputs that are made to cost memory, time or stack, larger than those of the corpora.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "fuzz/run_target.h"
#include "qtune/base/file.h"

namespace qtune::fuzz {
namespace {

using nlohmann::json;
using testing::HasSubstr;

Ending run(const char* target, const std::string& input) { return TargetRunner(find_target(target)).run(input); }

json seed(const char* target, const char* name) {
  return json::parse(read_file(std::filesystem::path(QTUNE_FUZZ_CORPUS) / target / name));
}

std::string repeated(const std::string& text, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

TEST(HostileInputs, ValuesNestedDeepAreRefusedBeforeAnythingWalksThem) {
  const std::string deep = std::string(200'000, '[') + std::string(200'000, ']');
  for (const char* target : {"config", "adapter_config", "tokenizer_json"}) {
    for (const char* key : {"vocab_size", "peft_type", "r", "rope_scaling", "normalizer", "model", "other"}) {
      const Ending ending = run(target, std::string("{\"") + key + "\": " + deep + "}");
      EXPECT_EQ(ending.fault, "") << target << ' ' << key;
      EXPECT_THAT(ending.refusal, HasSubstr("nested at most 64 deep")) << target << ' ' << key;
    }
  }
  const Ending index = run("safetensors_index", "{\"weight_map\": {}, \"x\": " + deep + "}");
  EXPECT_EQ(index.fault, "");
}

TEST(HostileInputs, BracketsInTextsAreNoNesting) {
  json config = seed("config", "seed_llama_tied");
  config["note"] = "\"\\" + std::string(1000, '[');
  EXPECT_EQ(run("config", config.dump()).refusal, "");
}

TEST(HostileInputs, ManySmallValuesTakeNoMoreThanTheSpareMemory) {
  // 1 MiB is the most that is read of these two.
  const std::string lists = "{\"other\": [" + repeated("[],", 349'000) + "0]}";
  EXPECT_EQ(run("config", lists).fault, "");
  EXPECT_EQ(run("adapter_config", lists).fault, "");
  EXPECT_THAT(run("config", lists + std::string(1 << 20, ' ')).refusal, HasSubstr("at most 1.0 MiB"));
}

TEST(HostileInputs, ManyKeysTakeNoQuadraticTime) {
  std::string keys = "{";
  for (int i = 0; i < 80'000; ++i) keys += "\"k" + std::to_string(i) + "\":0,";
  keys += "\"peft_type\":\"LORA\"}";
  ASSERT_LT(keys.size(), size_t{1} << 20);
  EXPECT_EQ(run("adapter_config", keys).fault, "");
  EXPECT_EQ(run("config", keys).fault, "");
}

TEST(HostileInputs, ATokenOfManySpaceMarksTakesNoQuadraticTime) {
  json tokenizer = seed("tokenizer_json", "seed_small");
  tokenizer["added_tokens"][1]["content"] = repeated("\xE2\x96\x81", 200'000);
  const Ending ending = run("tokenizer_json", tokenizer.dump());
  EXPECT_EQ(ending.fault, "");
  EXPECT_EQ(ending.refusal, "");
}

TEST(HostileInputs, TheHighestTokenIdTakesNoMoreThanTheSpareMemory) {
  json tokenizer = seed("tokenizer_json", "seed_small");
  const int64_t limit = 4 * 9 + (1 << 18);
  tokenizer["model"]["vocab"]["\xC3\xA9"] = limit - 1;
  tokenizer["decoder"] = {{"type", "ByteLevel"}};
  const Ending ending = run("tokenizer_json", tokenizer.dump());
  EXPECT_EQ(ending.fault, "");
  EXPECT_EQ(ending.refusal, "");
  tokenizer["model"]["vocab"]["\xC3\xA9"] = limit;
  EXPECT_THAT(run("tokenizer_json", tokenizer.dump()).refusal, HasSubstr("expected a token id below 262180"));
}

/// A Replace of "a" by so many.
json growing(size_t times) {
  return {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", std::string(times, 'a')}};
}

TEST(HostileInputs, StepsThatBlowTextsUpAreRefused) {
  const json tokenizer = seed("tokenizer_json", "seed_small");
  struct Case {
    const char *pointer, *list;
    json steps;
    const char* refusal;
  };
  const json prefix = {{"type", "Metaspace"}, {"replacement", "_"}, {"split", false}};
  const Case cases[] = {
      {"/normalizer", "normalizers", json::array({growing(8), growing(9)}), "normalizer: expected Replace steps that"},
      {"/normalizer", "normalizers", json(17, {{"type", "NFC"}}), "normalizer: expected at most 16 steps, found 17"},
      {"/normalizer", "normalizers", json::array({{{"type", "Prepend"}, {"prepend", std::string(65, 'a')}}}),
       "normalizer: expected at most 64 bytes to prepend, found 65"},
      {"/pre_tokenizer", "pretokenizers", json(3, prefix), "at most 2 steps that put a prefix in front, found 3"},
      {"/pre_tokenizer", "pretokenizers", json(17, {{"type", "Whitespace"}}),
       "pre_tokenizer: expected at most 16 steps"},
      {"/decoder", "decoders", json::array({growing(65)}), "decoder: expected Replace steps that"},
      {"/decoder", "decoders", json(17, {{"type", "Fuse"}}), "decoder: expected at most 16 steps"},
  };
  for (const Case& c : cases) {
    json changed = tokenizer;
    changed[json::json_pointer(c.pointer)] = {{"type", "Sequence"}, {c.list, c.steps}};
    const Ending ending = run("tokenizer_json", changed.dump());
    EXPECT_EQ(ending.fault, "");
    EXPECT_THAT(ending.refusal, HasSubstr(c.refusal));
  }
}

TEST(HostileInputs, StepsWithinTheLimitsStayWithinMemoryAndTime) {
  json tokenizer = seed("tokenizer_json", "seed_small");
  const json prefix = {{"type", "Metaspace"}, {"replacement", "_"}, {"split", true}};
  tokenizer["normalizer"] = {{"type", "Sequence"}, {"normalizers", {growing(8), growing(8)}}};
  tokenizer["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {prefix, prefix}}};
  tokenizer["decoder"] = {{"type", "Sequence"}, {"decoders", {growing(8), growing(8)}}};
  const Ending ending = run("tokenizer_json", tokenizer.dump());
  EXPECT_EQ(ending.fault, "");
  EXPECT_EQ(ending.refusal, "");
}

}  // namespace
}  // namespace qtune::fuzz
