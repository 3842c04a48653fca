#include "gguf_entries.h"
#include "gguf_out.h"
#include "support/model_folder.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const fs::path kReference = kData / "gguf_out";

struct Case {
  const char* folder;
  GgmlType type;
};

class AgainstTheReferenceConverter : public testing::TestWithParam<Case> {};

TEST_P(AgainstTheReferenceConverter, KeysAndTensorsAreTheSame) {
  const TempDir dir;
  const fs::path in = kReference / GetParam().folder;
  convert_hf_to_gguf(in, dir / "out.gguf", {.type = GetParam().type});
  const auto keys = GgufEntries::read(read_file(dir / "out.gguf"));
  const auto expected_keys = GgufEntries::read(read_file(in / "expected.gguf"));
  for (const auto& [key, value] : expected_keys) {
    ASSERT_TRUE(keys.contains(key)) << key;
    EXPECT_EQ(keys.at(key), value) << key;
  }
  for (const auto& entry : keys) EXPECT_TRUE(expected_keys.contains(entry.first)) << entry.first;

  const GgufFile found(dir / "out.gguf"), expected(in / "expected.gguf");
  ASSERT_EQ(found.tensors().size(), expected.tensors().size());
  for (size_t i = 0; i < found.tensors().size(); ++i) {
    const GgufTensor &a = found.tensors()[i], &b = expected.tensors()[i];
    EXPECT_EQ(a.name, b.name);
    EXPECT_EQ(a.type, b.type) << a.name;
    EXPECT_EQ(a.shape, b.shape) << a.name;
    EXPECT_TRUE(std::equal(a.bytes.begin(), a.bytes.end(), b.bytes.begin(), b.bytes.end())) << a.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Folders, AgainstTheReferenceConverter,
                         testing::Values(Case{"llama3-tuned-8b", GgmlType::kBF16}, Case{"qwen2", GgmlType::kQ8_0},
                                         Case{"qwen3", GgmlType::kQ8_0}, Case{"mistral", GgmlType::kF16}),
                         [](const auto& test) { return std::to_string(test.index); });

TEST_F(GgufOut, ComesBackAsTheSameTensors) {
  for (const char* model : {"llama_tied", "llama_untied", "mistral_window"}) {
    for (const char* name : {"config.json", "model.safetensors"}) {
      fs::copy_file(kData / "models" / model / name, in_ / name, fs::copy_options::overwrite_existing);
    }
    const TempDir back;
    convert();
    convert_gguf_to_hf(out_, back / "f32", {.dtype = Dtype::kF32});
    EXPECT_EQ(read_file(back / "f32/model.safetensors").size(), read_file(in_ / "model.safetensors").size());
    const SafetensorsFile before(in_ / "model.safetensors"), after(back / "f32/model.safetensors");
    ASSERT_EQ(after.tensors().size(), before.tensors().size()) << model;
    for (const TensorView& a : after.tensors()) {
      const TensorView& b = before.at(a.name);
      EXPECT_TRUE(std::equal(a.bytes.begin(), a.bytes.end(), b.bytes.begin(), b.bytes.end())) << model << a.name;
    }
  }
}

TEST_F(GgufOut, WithoutATypeTheFoldersOwnIsKept) {
  EXPECT_EQ(convert().integer("general.file_type"), 0);
  for (const auto& [dtype, file_type] : {std::pair{Dtype::kBF16, 32}, {Dtype::kF16, 1}}) {
    const TempDir dir;
    convert_hf_to_hf(in_, dir / "model", {.dtype = dtype});
    convert_hf_to_gguf(dir / "model", dir / "out.gguf");
    const GgufFile file(dir / "out.gguf");
    EXPECT_EQ(file.integer("general.file_type"), file_type);
    for (const GgufTensor& tensor : file.tensors()) EXPECT_EQ(tensor.type == GgmlType::kF32, tensor.shape.size() == 1);
  }
}

TEST_F(GgufOut, AnAdapterIsMergedAsInAFolder) {
  const fs::path adapter = kData / "models/llama_tied/adapter_trained";
  const ConvertSummary summary = convert_hf_to_gguf(in_, out_, {.adapter = adapter});
  EXPECT_EQ(summary.describe(),
            "29 tensors, 123,008 values, F32, tied embeddings, vocabulary of 331; adapter merged into 21 weights");
  convert_hf_to_hf(in_, dir_ / "merged", {.adapter = adapter});
  convert_hf_to_gguf(dir_ / "merged", dir_ / "merged.gguf");
  const GgufFile found(out_), expected(dir_ / "merged.gguf");
  ASSERT_EQ(found.tensors().size(), expected.tensors().size());
  for (size_t i = 0; i < found.tensors().size(); ++i) {
    const auto a = found.tensors()[i].bytes, b = expected.tensors()[i].bytes;
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end())) << found.tensors()[i].name;
  }
}

TEST_F(GgufOut, AnAdapterOfAnotherModelIsRefused) {
  for (const char* other : {"llama_untied", "qwen3_qknorm"}) {
    expect_error<CheckpointError>(
        [&] { convert_hf_to_gguf(in_, out_, {.adapter = kData / "models" / other / "adapter_trained"}); },
        "belongs to another model");
  }
  EXPECT_EQ(num_entries(dir_.path()), 1u);
}

TEST_F(GgufOut, ShardsGiveTheSameFile) {
  convert_hf_to_hf(in_, dir_ / "shards/model", {.shard_bytes = 100'000});
  convert_hf_to_gguf(dir_ / "shards/model", dir_ / "shards.gguf");
  convert_hf_to_gguf(in_, out_);
  EXPECT_EQ(read_file(dir_ / "shards.gguf"), read_file(out_));
}

TEST_F(GgufOut, AStoredHeadOfATiedModelIsLeftOut) {
  Json config = read_json("config.json");
  config["tie_word_embeddings"] = true;
  config["num_key_value_heads"] = 4;
  write_json("config.json", config);
  WeightsToChange weights("llama_untied");
  const auto table = weights.at("model.embed_tokens.weight").bytes;
  weights.at("lm_head.weight").bytes = table;
  weights.write(in_);
  const GgufFile file = convert();
  for (const GgufTensor& tensor : file.tensors()) EXPECT_NE(tensor.name, "output.weight");
  // One that is no copy would be lost.
  weights.at("lm_head.weight").bytes[0] ^= std::byte{1};
  weights.write(in_);
  fs::remove(out_);
  expect_error<CheckpointError>([&] { convert(); }, "lm_head.weight is another tensor");
}

TEST_F(GgufOut, ALinearScaleIsWritten) {
  Json config = read_json("config.json");
  config["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 2.5}, {"rope_theta", 10000}};
  write_json("config.json", config);
  const GgufFile file = convert();
  EXPECT_EQ(file.text("llama.rope.scaling.type"), "linear");
  EXPECT_EQ(file.number("llama.rope.scaling.factor"), 2.5);
}

TEST_F(GgufOut, EndTokensThatLlamaCppDoesNotKnowByTextBecomeEotAndEom) {
  // 0 is <|endoftext|>, which it knows; 2, <|im_end|>, is eos
  write_json("generation_config.json", {{"eos_token_id", {2, 0, 1, 3, 4}}});
  const GgufFile file = convert();
  EXPECT_EQ(file.integer("tokenizer.ggml.eos_token_id"), 2);
  EXPECT_EQ(file.integer("tokenizer.ggml.eot_token_id"), 1);
  EXPECT_EQ(file.integer("tokenizer.ggml.eom_token_id"), 3);
}

TEST_F(GgufOut, TheTemplateFileWinsOverTheConfig) {
  write_json("tokenizer_config.json", {{"chat_template", "old"}});
  EXPECT_EQ(convert().text("tokenizer.chat_template"), "old");
  write_file_atomic(in_ / "chat_template.jinja", "new");
  EXPECT_EQ(convert().text("tokenizer.chat_template"), "new");
}

/// A tokenizer with byte fallback: merges by rank, no scores.
Json fallback_tokenizer() {
  return Json::parse(R"({"added_tokens": [{"id": 0, "content": "<s>", "special": true},
                                           {"id": 7, "content": "▁turn", "special": false}],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
                   {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
    "model": {"type": "BPE", "byte_fallback": true, "merges": ["b c", "a bc"],
              "vocab": {"<s>": 0, "<0x0A>": 1, "abc": 2, "bc": 3, "a": 4, "b": 5, "c": 6}}})");
}

std::vector<float> floats_of(const std::string& file, const std::string& key, size_t count) {
  const std::string value = GgufEntries::read(file).at(key);
  std::vector<float> out(count);
  std::memcpy(out.data(), value.data() + 16, count * sizeof(float));  // behind type, element type and count
  return out;
}

TEST_F(GgufOut, RanksOfMergesBecomeScores) {
  write_json("tokenizer.json", fallback_tokenizer());
  const GgufFile file = convert();
  EXPECT_EQ(file.text("tokenizer.ggml.model"), "llama");
  EXPECT_EQ(file.text("tokenizer.ggml.pre"), "default");
  EXPECT_FALSE(file.has("tokenizer.ggml.add_space_prefix"));  // it is llama.cpp's own choice
  // control, byte, normal .., user-defined, unused
  const auto types = file.integers("tokenizer.ggml.token_type").value();
  EXPECT_EQ(std::vector(types.begin(), types.begin() + 9), (std::vector<int64_t>{3, 6, 1, 1, 1, 1, 1, 4, 5}));
  const auto tokens = file.texts("tokenizer.ggml.tokens").value();
  EXPECT_EQ(tokens.size(), 331u);
  EXPECT_EQ(tokens[7], " turn");
  EXPECT_EQ(tokens[8], "[PAD8]");
  const std::vector<float> scores = floats_of(read_file(out_), "tokenizer.ggml.scores", 9);
  EXPECT_GT(scores[3], scores[2]) << "bc is merged first";
  EXPECT_GT(scores[2], scores[4]);
}

TEST_F(GgufOut, ATokenizerWithoutASpaceInFrontSaysSo) {
  Json tokenizer = fallback_tokenizer();
  tokenizer["normalizer"]["normalizers"].erase(0);
  write_json("tokenizer.json", tokenizer);
  EXPECT_EQ(convert().boolean("tokenizer.ggml.add_space_prefix"), false);
}

TEST_F(GgufOut, ScoresComeFromTheModelFileBesideATokenizerJson) {
  const fs::path spm = kReference / "mistral";
  GgufFile expected(spm / "expected.gguf");
  const auto tokens = expected.texts("tokenizer.ggml.tokens").value();
  Json tokenizer = fallback_tokenizer(), vocab = Json::object();
  for (size_t id = 0; id < 320; ++id) vocab[std::string(tokens[id])] = id;
  tokenizer["model"]["vocab"] = vocab;
  tokenizer["model"]["merges"] = Json::array();
  tokenizer["added_tokens"] = Json::array();
  write_json("tokenizer.json", tokenizer);
  fs::copy_file(spm / "tokenizer.model", in_ / "tokenizer.model");
  convert();
  const auto found = floats_of(read_file(out_), "tokenizer.ggml.scores", 320);
  const auto wanted = floats_of(read_file(spm / "expected.gguf"), "tokenizer.ggml.scores", 320);
  EXPECT_EQ(std::vector(found.begin() + 3, found.end()), std::vector(wanted.begin() + 3, wanted.end()));
  // of another vocabulary, it is not read
  tokenizer["model"]["vocab"].erase(std::string(tokens[319]));
  tokenizer["model"]["vocab"]["other"] = 319;
  write_json("tokenizer.json", tokenizer);
  convert();
  EXPECT_NE(floats_of(read_file(out_), "tokenizer.ggml.scores", 320)[300], wanted[300]);
}

TEST_F(GgufOut, AWayOfCuttingThatLlamaCppLacksIsNamed) {
  const Json original = read_json("tokenizer.json");
  const auto with_steps = [&](const char* steps) {
    Json tokenizer = original;
    tokenizer["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", Json::parse(steps)}};
    write_json("tokenizer.json", tokenizer);
  };
  with_steps(R"([{"type": "Digits", "individual_digits": false},
                 {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true}])");
  expect_refused(
      "tokenizer.json: expected the pre_tokenizer of GPT-2, SmolLM2, Llama 3 or Qwen2, found runs of "
      "digits, then GPT-2's ---> llama.cpp has no such tokenizer");
  with_steps(R"([{"type": "ByteLevel", "add_prefix_space": true, "use_regex": true}])");
  expect_refused("found prefix \" \", then GPT-2's");
  with_steps(R"([{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}])");
  expect_refused("found none");
  with_steps(R"([{"type": "ByteLevel", "add_prefix_space": false, "use_regex": true}])");
  EXPECT_EQ(convert().text("tokenizer.ggml.pre"), "gpt-2");
  fs::remove(out_);
  Json skips = read_json("tokenizer.json");
  skips["model"]["ignore_merges"] = true;
  write_json("tokenizer.json", skips);
  expect_refused("found GPT-2's with ignore_merges");
  Json words = fallback_tokenizer();
  words["pre_tokenizer"] = {{"type", "WhitespaceSplit"}};
  write_json("tokenizer.json", words);
  expect_refused("found WhitespaceSplit");
  words = fallback_tokenizer();
  words["model"]["byte_fallback"] = false;
  write_json("tokenizer.json", words);
  expect_refused("found characters that are lost where they have no token");
  Json normalized = original;
  normalized["normalizer"] = fallback_tokenizer()["normalizer"];
  write_json("tokenizer.json", normalized);
  expect_refused("found a normalizer other than NFC");
}

TEST_F(GgufOut, ATokenizerThatIsMissingOrTooLargeIsRefused) {
  Json config = read_json("config.json");
  config["vocab_size"] = 19;
  write_json("config.json", config);
  expect_refused("tensor model.embed_tokens.weight: expected shape [19, 64], found [331, 64]");
  config["vocab_size"] = 331;
  write_json("config.json", config);
  Json tokenizer = read_json("tokenizer.json");
  for (int i = 20; i < 332; ++i) tokenizer["model"]["vocab"]["x" + std::to_string(i)] = i;
  write_json("tokenizer.json", tokenizer);
  expect_refused("expected at most 331 tokens, the model's vocab_size, found 332");
  fs::remove(in_ / "tokenizer.json");
  expect_refused("expected tokenizer.json or tokenizer.model, found neither");
}

TEST_F(GgufOut, WeightsThatDoNotFitTheConfigAreNamed) {
  Json config = read_json("config.json");
  const auto with = [&](const char* key, const Json& value) {
    Json changed = config;
    changed[key] = value;
    write_json("config.json", changed);
  };
  with("num_hidden_layers", 4);
  expect_refused("tensor model.layers.3.input_layernorm.weight is missing");
  with("num_hidden_layers", 2'000'000'000);
  expect_refused("2000000000 layers, but only 29 tensors");
  with("num_hidden_layers", 2);
  expect_refused("tensor \"model.layers.2.input_layernorm.weight\" belongs to no plain llama model");
  with("intermediate_size", 113);
  expect_refused("tensor model.layers.0.mlp.down_proj.weight: expected shape [64, 113], found [64, 112]");
}

TEST_F(GgufOut, LlamaThreesScalingOfAQwenIsRefused) {
  Json config = read_json("config.json");
  config["model_type"] = "qwen3";
  config["rope_parameters"] = {{"rope_type", "llama3"},
                               {"factor", 8.0},
                               {"low_freq_factor", 1.0},
                               {"high_freq_factor", 4.0},
                               {"original_max_position_embeddings", 32}};
  write_json("config.json", config);
  expect_refused("rope scaling llama3 of model_type qwen3");
}

/// general.* keys of a folder's name: name, basename, finetune, version, size_label.
struct NameCase {
  const char *folder, *name, *basename, *finetune, *version, *size;
};

// What llama.cpp's converter makes of these names for a model of 123,008 values.
TEST_F(GgufOut, TheNameIsTakenApartAsTheReferenceDoes) {
  const NameCase cases[] = {{"trained", "Trained", "", "", "", "123K"},
                            {"checkpoint-16", "Checkpoint 16", "checkpoint", "", "16", "123K"},
                            {"Tiny-120K-instruct-v0.2", "Tiny 120K Instruct v0.2", "Tiny", "instruct", "v0.2", "120K"},
                            {"Tiny-120k-r8-gsm8k", "Tiny 120k R8 Gsm8K", "Tiny", "r8-gsm8k", "", "120K"},
                            {"Llama-3.2-1B-chat", "Llama 3.2 1B Chat", "Llama-3.2", "1b-chat", "", "123K"},
                            {"phi-mini-F16", "Phi Mini F16", "phi", "", "", "mini"},
                            {"phi-mini-120K", "Phi Mini 120K", "phi-mini", "", "", "120K"}};
  for (const NameCase& c : cases) {
    fs::create_directory_symlink(in_, dir_ / c.folder);
    fs::remove(out_);
    convert_hf_to_gguf(dir_ / c.folder, out_);
    const GgufFile file(out_);
    const auto text = [&](const char* key) { return file.text(std::string("general.") + key).value_or(""); };
    EXPECT_EQ(text("name"), c.name);
    EXPECT_EQ(text("basename"), c.basename) << c.folder;
    EXPECT_EQ(text("finetune"), c.finetune) << c.folder;
    EXPECT_EQ(text("version"), c.version) << c.folder;
    EXPECT_EQ(text("size_label"), c.size) << c.folder;
  }
}

TEST_F(GgufOut, AModelCardThatIsNoYamlAddsNothing) {
  write_file_atomic(in_ / "README.md", "---\nlicense: [\n---\n");
  EXPECT_FALSE(convert().has("general.license"));
  write_file_atomic(in_ / "README.md", "---\nlicense: mit\n");
  EXPECT_EQ(convert().text("general.license"), "mit");
  write_file_atomic(in_ / "README.md", "# no front matter\n---\nlicense: mit\n---\n");
  EXPECT_FALSE(convert().has("general.license"));
}

}  // namespace
}  // namespace qtune
