// qtune generate as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "qtune/text/tokenizer.h"
#include "support/generation_model.h"
#include "support/process.h"
#include "support/training_job.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::HasSubstr;

const fs::path kData = QTUNE_TEST_DATA;

class GenerateCommand : public testing::Test {
 protected:
  ProcessResult run(const Arguments& more, const std::string& input = "") {
    const ProcessResult result = run_process(
        Arguments{"generate", "--model", model_.string(), "--max-new-tokens", "24"} + more, {.input = input});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result;
  }

  std::string generate(const Arguments& more, const std::string& input = "") {
    const ProcessResult result = run(more, input);
    EXPECT_EQ(result.err, "");
    return result.out;
  }

  std::vector<Json> json_lines(const Arguments& more, const std::string& input = "") {
    std::vector<Json> lines;
    std::istringstream out(run(more, input).out);
    for (std::string line; std::getline(out, line);) lines.push_back(Json::parse(line));
    return lines;
  }

  /// Text without special tokens.
  std::string text_of(std::vector<int32_t> ids) const {
    std::erase_if(ids, [](int32_t id) { return id == kImEndId || id == kImEndId - 1; });
    return Tokenizer::load_tokenizer(model_.path())->decode(ids);
  }

  std::string file(const std::string& content) const {
    write_file_atomic(model_ / "prompts", content);
    return (model_ / "prompts").string();
  }

  GenerationModel model_;
};

TEST_F(GenerateCommand, GreedyAndSeededSamplingRepeatThemselves) {
  const std::vector<std::string> raw = {"--raw", "--prompt", "Once upon"};
  const std::string greedy = generate(raw);
  EXPECT_GT(greedy.size(), 1U);
  EXPECT_EQ(generate(raw), greedy);
  const auto sampled = [&](const std::string& seed) {
    return generate({"--raw", "--prompt", "Once upon", "--temperature", "2", "--seed", seed});
  };
  const std::string one = sampled("1");
  EXPECT_EQ(sampled("1"), one);
  EXPECT_NE(sampled("2"), one);
  EXPECT_NE(one, greedy);
  EXPECT_EQ(generate({"--raw"}, "Once upon"), greedy) << "prompt from the standard input";
}

TEST_F(GenerateCommand, StopsAtEndOfSequenceAndDoesNotPrintIt) {
  const std::vector<int32_t> ids = json_lines({"--raw", "--prompt", "Once upon", "--json"}).at(0)["tokens"];
  ASSERT_GE(ids.size(), 8U);
  const int32_t stop = ids[7];
  const auto end = std::find(ids.begin(), ids.end(), stop);
  model_.set_end_tokens({2, stop});
  EXPECT_EQ(generate({"--raw", "--prompt", "Once upon"}), text_of({ids.begin(), end}) + "\n");
}

TEST_F(GenerateCommand, TemplateFramesThePrompt) {
  const std::string framed = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n";
  const std::string plain = generate({"--raw", "--prompt", framed});
  EXPECT_EQ(generate({"--template", "chatml", "--prompt", "hi"}), plain);
}

TEST_F(GenerateCommand, ErrorsAreOneLine) {
  const std::string folder = model_.string();
  expect_one_error(run_process({"generate", "--model", folder, "--raw"}), 2, "expected a prompt");
  expect_one_error(run_process({"generate", "--model", folder, "--prompt", "x", "--template", "none"}), 2, "none");
  for (const char* option : {"--system", "--template"}) {
    expect_one_error(run_process({"generate", "--model", folder, "--prompt", "x", "--raw", option, "chatml"}), 2,
                     option);
  }
  // A token a byte: 512 of them fill the fixture's positions.
  expect_one_error(run_process({"generate", "--model", folder, "--raw", "--prompt", std::string(512, 'x')}), 2,
                   "the model's 512 positions, found 512");
  const fs::path tokenizer = model_ / "tokenizer.json";
  fs::copy_file(kData / "tokenizers/smollm2/tokenizer.json", tokenizer, fs::copy_options::overwrite_existing);
  expect_one_error(run_process({"generate", "--model", folder, "--raw", "--prompt", "x"}), 4,
                   "expected a tokenizer of at most 331 tokens (the model's vocab_size), found 2000");
  fs::remove(tokenizer);
  expect_one_error(run_process({"generate", "--model", folder, "--prompt", "x"}), 4, "tokenizer");
}

TEST_F(GenerateCommand, SeveralPromptsBecomeJsonLinesInTheirOrder) {
  const std::vector<Json> lines = json_lines({"--raw", "--prompt", "Once upon", "--prompt", "x", "--prompt", "Then"});
  ASSERT_EQ(lines.size(), 3U);
  for (size_t i = 0; i < 3; ++i) {
    const std::string prompt = std::vector<std::string>{"Once upon", "x", "Then"}[i];
    EXPECT_EQ(lines[i]["prompt"], prompt);
    EXPECT_EQ(lines[i]["tokens"].size(), 24U);
    EXPECT_EQ(lines[i]["text"], text_of(lines[i]["tokens"]));
    EXPECT_EQ(lines[i]["finish_reason"], "length");
    EXPECT_EQ(generate({"--raw", "--prompt", prompt}), lines[i]["text"].get<std::string>() + "\n");
  }
}

TEST_F(GenerateCommand, FilesOfPromptsAreLinesOrJsonObjects) {
  const std::vector<Json> lines = json_lines({"--raw", "--prompt", "Once upon", "--prompt", "x"});
  const std::string objects = R"({"id": 7, "prompt": "Once upon"})"
                              "\n\n"
                              R"({"prompt": "x"})"
                              "\r\n";
  for (const int64_t batch_size : {1, 2, 9}) {
    const Arguments raw = {"--raw", "--batch-size", std::to_string(batch_size), "--prompts"};
    EXPECT_EQ(json_lines(raw + Arguments{file("Once upon\n\nx")}), lines);
    EXPECT_EQ(json_lines(raw + Arguments{"-"}, "Once upon\nx\n"), lines);
    std::vector<Json> found = json_lines(raw + Arguments{file(objects)});
    EXPECT_EQ(found.at(0).at("id"), 7);
    found[0].erase("id");
    EXPECT_EQ(found, lines);
  }
  const std::string questions = R"({"question": "Once upon", "prompt": 3})"
                                "\n"
                                R"({"question": "x"})";
  EXPECT_EQ(json_lines({"--raw", "--column", "question", "--prompts", file(questions)}), lines);
}

TEST_F(GenerateCommand, AByteOrderMarkIsNoPartOfTheFirstPrompt) {
  const std::string objects = "{\"id\": 7, \"prompt\": \"Once upon\"}\n", bom = "\xEF\xBB\xBF";
  const Arguments raw = {"--raw", "--prompts"};
  const std::vector<Json> lines = json_lines(raw + Arguments{file(objects)});
  EXPECT_EQ(json_lines(raw + Arguments{file(bom + objects)}), lines);
  EXPECT_EQ(json_lines(raw + Arguments{"-"}, bom + objects), lines);
}

TEST_F(GenerateCommand, ConversationsGoThroughTheTemplateWhole) {
  const std::string conversation =
      R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]})";
  const std::string framed =
      "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>"
      "user\n"
      "c<|im_end|>\n<|im_start|>assistant\n";
  const std::vector<Json> lines =
      json_lines({"--template", "chatml", "--system", "s", "--prompts", file(conversation)});
  EXPECT_EQ(lines.at(0)["tokens"], json_lines({"--raw", "--json", "--prompt", framed}).at(0)["tokens"]);
  EXPECT_EQ(lines.at(0)["messages"].size(), 3U);
}

TEST_F(GenerateCommand, AnswersAtTheEndOfAConversationAreNoPartOfThePrompt) {
  const auto conversation = [](const std::string& answers) {
    return R"({"messages": [{"role": "user", "content": "a"})" + answers + "]}\n";
  };
  const std::string answer = R"(, {"role": "assistant", "content": "b"})";
  const Arguments ask = {"--template", "chatml", "--prompts"};
  const std::vector<Json> expected = json_lines(ask + Arguments{file(conversation("") + conversation(""))});
  const ProcessResult result = run(ask + Arguments{file(conversation(answer) + conversation(answer + answer))});
  std::istringstream out(result.out);
  for (size_t i = 0; i < 2; ++i) {
    std::string line;
    std::getline(out, line);
    EXPECT_EQ(Json::parse(line), expected.at(i));
  }
  EXPECT_THAT(result.err, HasSubstr("prompts: conversations that end with an answer: 2; "));
}

TEST_F(GenerateCommand, ASignalEndsAFileOfPromptsInOneLineAndLeavesWholeAnswers) {
  std::string prompts;
  for (int i = 0; i < 3000; ++i) prompts += "Once upon\n";
  QtuneProcess process({"generate", "--model", model_.string(), "--raw", "--prompts", file(prompts)});
  ASSERT_TRUE(process.wait_until([&] { return process.out_so_far().find('\n') != std::string::npos; }));
  process.send(SIGINT);
  const ProcessResult result = process.wait();
  const auto num_lines = std::count(result.out.begin(), result.out.end(), '\n');
  expect_one_error(result, 130, fmt::format("generate: interrupted, {} of 3000 answers are written", num_lines));
  EXPECT_TRUE(result.out.ends_with("}\n"));
}

TEST_F(GenerateCommand, EndOfTurnOfTheTemplateEndsTheAnswerToo) {
  // The token that comes fifth is made a special one that ends a turn.
  const std::vector<int32_t> ids = json_lines({"--template", "chatml", "--prompt", "hi", "--json"}).at(0)["tokens"];
  const std::string end = Tokenizer::load_tokenizer(model_.path())->id_to_token(ids.at(4)).value();
  Json tokenizer = Json::parse(read_file(model_ / "tokenizer.json"));
  tokenizer["added_tokens"].push_back({{"id", ids[4]},
                                       {"content", end},
                                       {"special", true},
                                       {"normalized", false},
                                       {"single_word", false},
                                       {"lstrip", false},
                                       {"rstrip", false}});
  write_file_atomic(model_ / "tokenizer.json", tokenizer.dump());
  write_file_atomic(model_ / "chat_template.jinja",
                    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}{{ '" + end +
                        "' if m.role == 'assistant' else '<|im_end|>' }}{{ '\n' }}{% endfor %}{{ "
                        "'<|im_start|>assistant\n' }}");
  const Json line = json_lines({"--prompt", "hi", "--json"}).at(0);
  EXPECT_EQ(line["finish_reason"], "stop");
  EXPECT_EQ(line["tokens"].back(), ids.at(4));
}

TEST_F(GenerateCommand, StopTextEndsTheAnswerBeforeItself) {
  const Json whole = json_lines({"--raw", "--prompt", "Once upon", "--json"}).at(0);
  const std::string text = whole["text"];
  // An ASCII letter, so that the cut falls between characters.
  const size_t at =
      text.find_first_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,;:!?+-*/%&#'\"()", 1);
  ASSERT_NE(at, std::string::npos);
  const std::string stop = text.substr(at, 1);
  const Json line =
      json_lines({"--raw", "--prompt", "Once upon", "--json", "--stop", "none of this", "--stop", stop}).at(0);
  EXPECT_EQ(line["text"], text.substr(0, text.find(stop)));
  EXPECT_EQ(line["finish_reason"], "stop");
  EXPECT_EQ(generate({"--raw", "--prompt", "Once upon", "--stop", stop}), text.substr(0, text.find(stop)) + "\n");
}

TEST_F(GenerateCommand, AdapterChangesTheAnswers) {
  const Arguments prompts = {"--raw", "--prompt", "Once upon", "--prompt", "x"};
  const std::vector<Json> base = json_lines(prompts);
  const std::vector<Json> adapted = json_lines(prompts + Arguments{"--adapter", model_.adapter()});
  EXPECT_NE(adapted.at(0)["tokens"], base.at(0)["tokens"]);
  const std::vector<Json> one_by_one =
      json_lines(prompts + Arguments{"--adapter", model_.adapter(), "--batch-size", "1"});
  EXPECT_EQ(one_by_one, adapted);
}

TEST_F(GenerateCommand, BFloat16AnswersToo) {
  EXPECT_EQ(json_lines({"--raw", "--prompt", "Once upon", "--prompt", "x", "--dtype", "bfloat16"}).size(), 2U);
}

TEST_F(GenerateCommand, SampledBatchIsTheSameWhateverItsSize) {
  const Arguments sampled = {"--raw",     "--temperature", "1.5",  "--top-k",  "40",       "--top-p",
                             "0.95",      "--min-p",       "0.01", "--seed",   "7",        "--prompt",
                             "Once upon", "--prompt",      "x",    "--prompt", "Once upon"};
  const std::vector<Json> lines = json_lines(sampled);
  EXPECT_EQ(json_lines(sampled + Arguments{"--batch-size", "1"}), lines);
  EXPECT_NE(lines.at(0)["tokens"], lines.at(2)["tokens"]) << "a prompt given twice is answered twice";
}

TEST_F(GenerateCommand, NumbersOutOfTheirRangeAreNamedInShort) {
  const auto fault = [&](const std::string& option, const std::string& value) {
    return run_process({"generate", "--model", model_.string(), "--prompt", "x", option, value});
  };
  expect_one_error(fault("--seed", "-1"), 2, "--seed: expected a number at least 0, found -1 ---> see qtune generate");
  expect_one_error(fault("--max-new-tokens", "0"), 2, "--max-new-tokens: expected a number at least 1, found 0 ---> ");
  expect_one_error(fault("--top-p", "nan"), 2, "--top-p: expected a number from 1e-06 to 1, found nan ---> ");
  expect_one_error(fault("--temperature", "1e9"), 2, "--temperature: expected a number from 0 to 1000, found 1e9 --->");
  expect_one_error(fault("--top-k", "x"), 2, "--top-k");
}

TEST_F(GenerateCommand, AFullDiskIsNoBug) {
  const std::string prompts = file("Once upon\nx\n");
  const ProcessResult result =
      run_process({"generate", "--model", model_.string(), "--raw", "--prompts", prompts}, {.file_limit_bytes = 100});
  expect_one_error(result, 4, "standard output: cannot write: ");
}

TEST_F(GenerateCommand, FaultyPromptFilesNameTheLine) {
  const auto fault = [&](const std::string& content, const Arguments& more = {"--raw"}) {
    return run_process(Arguments{"generate", "--model", model_.string(), "--prompts", file(content)} + more);
  };
  expect_one_error(fault("\n"), 3, "prompts: expected a prompt a line, found none");
  expect_one_error(fault("{\"prompt\": \"x\"}\n\n{\"prompt\": "), 3, "prompts:3: expected a JSON object");
  expect_one_error(fault("{\"text\": \"x\"}"), 3, "prompts:1: expected a text \"prompt\", or \"messages\"");
  expect_one_error(fault(R"({"messages": []})"), 3, "prompts:1: \"messages\"");
  expect_one_error(fault(R"({"messages": [{"role": "user"}]})"), 3, "\"content\"");
  expect_one_error(fault(R"({"messages": [{"role": "usr", "content": "x"}]})"), 3, "found \"usr\"");
  expect_one_error(fault(R"({"messages": [{"role": "user", "content": "x"}]})"), 3, "--raw");
  expect_one_error(fault("x\n" + std::string(600, 'x')), 3, "prompts:2: expected a prompt of fewer tokens");
  expect_one_error(fault("x\n\xFF"), 3, "prompts:2: expected UTF-8");
  expect_one_error(fault(R"({"messages": [{"role": "assistant", "content": "x"}]})", {"--template", "chatml"}), 3,
                   "prompts:1: ");
  expect_one_error(run_process({"generate", "--model", model_.string(), "--raw", "--prompts", "none"}), 3, "none");
  expect_one_error(fault("x", {"--raw", "--prompt", "y"}), 2, "--prompt");
}

}  // namespace
}  // namespace qtune
