#include "qtune/text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "qtune/base/error.h"
#include "text_cases.h"

namespace qtune {
namespace {

using nlohmann::json;
using testing::HasSubstr;

/// A folder with a tokenizer_config.json of these entries.
class ConfigFolder {
 public:
  explicit ConfigFolder(const json& config) { write_text(dir_ / "tokenizer_config.json", config.dump()); }
  const std::filesystem::path& path() const { return dir_.path(); }

 private:
  TempDir dir_;
};

Conversation conversation_of(std::vector<Message> messages) {
  return {.id = {.file = "f.jsonl", .line = 7}, .messages = std::move(messages)};
}

std::string without_space_behind(std::string response, const std::string& end_of_turn) {
  const size_t at = response.rfind(end_of_turn);
  return at == std::string::npos ? response : response.substr(0, at + end_of_turn.size());
}

TEST(ChatTemplate, NamedTemplatesRenderWhatLlamaFactoryRenders) {
  std::map<std::string, int> seen;
  for (const json& c : read_json_lines(test_data("templates/llama_factory.jsonl"))) {
    const auto name = c["template"].get<std::string>();
    const auto eos = c["eos"].get<std::string>();
    const ConfigFolder folder(json::object({{"bos_token", c["bos"]}, {"eos_token", {{"content", eos}}}}));
    const RenderedText rendered =
        make_chat_template(name, folder.path()).render(conversation_of(messages_of(c["messages"])));
    std::string text;
    std::vector<std::string> trained, expected_trained;
    for (const json& piece : c["pieces"]) {
      text += piece[0].get<std::string>();
      if (piece[1].get<bool>())
        expected_trained.push_back(name == "empty" ? piece[0].get<std::string>() : without_space_behind(piece[0], eos));
    }
    for (const AssistantTurn& turn : rendered.turns) {
      trained.push_back(rendered.text.substr(turn.begin, turn.end - turn.begin));
      EXPECT_EQ(rendered.text.substr(turn.end_of_turn, turn.end - turn.end_of_turn), name == "empty" ? "" : eos);
    }
    EXPECT_EQ(rendered.text, text) << name;
    EXPECT_EQ(trained, expected_trained) << name;
    ++seen[name];
  }
  EXPECT_EQ(seen.size(), chat_template_names().size());
}

TEST(ChatTemplate, OwnTemplatesRenderWhatApplyChatTemplateRenders) {
  for (const json& c : read_json_lines(test_data("templates/own_chatml.jsonl"))) {
    const ConfigFolder folder(json::object({{"chat_template", c["chat_template"]}, {"eos_token", "<|im_end|>"}}));
    const ChatTemplate own = make_chat_template("", folder.path());
    const auto messages = messages_of(c["messages"]);
    const RenderedText rendered = own.render(conversation_of(messages));
    EXPECT_EQ(rendered.text, c["text"].get<std::string>());
    EXPECT_EQ(own.render_prompt(messages), c["prompt"].get<std::string>());
    size_t turn = 0;
    for (const Message& m : messages) {
      if (m.role != Role::kAssistant) continue;
      const AssistantTurn& t = rendered.turns.at(turn++);
      EXPECT_EQ(rendered.text.substr(t.begin, t.end - t.begin), m.content + "<|im_end|>");
    }
    EXPECT_EQ(turn, rendered.turns.size());
  }
}

TEST(ChatTemplate, TemplateFileComesBeforeTheConfig) {
  const std::string loop = read_json_lines(test_data("templates/own_chatml.jsonl"))[12]["chat_template"];
  const ConfigFolder folder(json::object({{"chat_template", "{{ something else }}"}}));
  write_text(folder.path() / "chat_template.jinja", loop + "\n");
  EXPECT_EQ(make_chat_template("", folder.path()).render_prompt({{.role = Role::kUser, .content = "a"}}),
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatTemplate, PromptEndsWithTheAssistantsHeader) {
  TempDir empty;
  const std::vector<Message> messages = {{.role = Role::kSystem, .content = "s"},
                                         {.role = Role::kUser, .content = "a"},
                                         {.role = Role::kAssistant, .content = "b"},
                                         {.role = Role::kUser, .content = "c"}};
  EXPECT_EQ(make_chat_template("chatml", empty.path()).render_prompt(messages),
            "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
            "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatTemplate, ContextRangesHoldTheOtherMessagesContents) {
  TempDir empty;
  const RenderedText r = make_chat_template("chatml", empty.path())
                             .render(conversation_of({{.role = Role::kSystem, .content = "sys"},
                                                      {.role = Role::kUser, .content = "hello"},
                                                      {.role = Role::kAssistant, .content = "b"}}));
  ASSERT_EQ(r.context.size(), 2u);
  EXPECT_EQ(r.text.substr(r.context[0].begin, r.context[0].end - r.context[0].begin), "sys");
  EXPECT_EQ(r.text.substr(r.context[1].begin, r.context[1].end - r.context[1].begin), "hello");
}

TEST(ChatTemplate, RolesOutOfTurnAreRefusedWithTheRecordsPlace) {
  TempDir empty;
  const ChatTemplate chatml = make_chat_template("chatml", empty.path());
  const Message user{.role = Role::kUser, .content = "a"}, answer{.role = Role::kAssistant, .content = "b"};
  const Message system{.role = Role::kSystem, .content = "s"}, tool{.role = Role::kTool, .content = "t"};
  const std::vector<std::vector<Message>> wrong = {
      {}, {user}, {answer}, {system}, {user, user, answer}, {user, answer, user}, {user, tool, answer}};
  for (const auto& messages : wrong) {
    try {
      chatml.render(conversation_of(messages));
      ADD_FAILURE() << "rendered";
    } catch (const DataError& e) {
      EXPECT_THAT(e.what(), HasSubstr("f.jsonl:7: "));
    }
  }
  EXPECT_THROW(chatml.render_prompt({user, answer}), DataError);
}

TEST(ChatTemplate, UnknownNamesAndTemplatesSayWhichThereAre) {
  const auto refusal = [](const std::string& name, const json& config) -> std::string {
    const ConfigFolder folder(config);
    try {
      make_chat_template(name, folder.path());
    } catch (const ConfigError& e) {
      return e.what();
    }
    return "accepted";
  };
  EXPECT_THAT(refusal("chatlm", json::object()), HasSubstr("smollm2"));
  EXPECT_THAT(refusal("", json::object()), HasSubstr("smollm2"));
  EXPECT_THAT(refusal("", json::object({{"chat_template", "{{ messages|groupby('role') }}"}})), HasSubstr("smollm2"));
  EXPECT_THAT(refusal("alpaca", json::object()), HasSubstr("eos_token"));
}

TEST(ChatTemplate, MalformedTokenizerConfigIsACheckpointError) {
  TempDir dir;
  write_text(dir / "tokenizer_config.json", "{");
  EXPECT_THROW(make_chat_template("", dir.path()), CheckpointError);
  EXPECT_THROW(make_chat_template("alpaca", dir.path()), CheckpointError);
  write_text(dir / "tokenizer_config.json", R"({"eos_token": 3, "chat_template": 4})");
  EXPECT_THROW(make_chat_template("", dir.path()), CheckpointError);
  EXPECT_THROW(make_chat_template("alpaca", dir.path()), CheckpointError);
}

}  // namespace
}  // namespace qtune
