// The checkpoint's own chat_template.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <set>

#include "qtune/base/error.h"
#include "qtune/text/chat_template.h"
#include "text_cases.h"

namespace qtune {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

/// A checkpoint's template with these tokens in its tokenizer_config.json.
ChatTemplate own_template(const std::string& source, json tokens = {{"eos_token", "<|im_end|>"}}) {
  TempDir folder;
  write_text(folder / "tokenizer_config.json", tokens.dump());
  write_text(folder / "chat_template.jinja", source);
  return make_chat_template("", folder.path());
}

Conversation conversation_of(std::vector<Message> messages) {
  return {.id = {.file = "f.jsonl", .line = 7}, .messages = std::move(messages)};
}

Message user(const std::string& content) { return {.role = Role::kUser, .content = content}; }
Message assistant(const std::string& content) { return {.role = Role::kAssistant, .content = content}; }

std::string today() {
  const std::time_t now = std::time(nullptr);
  char text[64];
  return {text, std::strftime(text, sizeof text, "%d %b %Y", std::localtime(&now))};
}

std::string with_date(std::string text) {
  const size_t at = text.find("{DATE}");
  return at == std::string::npos ? text : text.replace(at, 6, today());
}

std::vector<std::string> trained_texts(const RenderedText& rendered) {
  std::vector<std::string> out;
  for (const AssistantTurn& t : rendered.turns) {
    if (t.train) out.push_back(rendered.text.substr(t.begin, t.end - t.begin));
  }
  return out;
}

std::string text_behind(const RenderedText& rendered, size_t turn) {
  const AssistantTurn& t = rendered.turns.at(turn);
  return rendered.text.substr(t.end, t.behind - t.end);
}

const char* const kChatml = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";

TEST(OwnTemplate, FamiliesRenderAndTrainWhatTransformersRenders) {
  std::set<std::string> seen;
  for (const json& c : read_json_lines(test_data("chat_templates/cases.jsonl"))) {
    const auto name = c["template"].get<std::string>();
    const ChatTemplate own = own_template(read_file(test_data("chat_templates/" + name + ".jinja")), c["tokens"]);
    const Conversation conversation = conversation_of(messages_of(c["messages"]));
    if (c.contains("error")) {
      try {
        own.render(conversation);
        ADD_FAILURE() << name << " rendered";
      } catch (const DataError& e) {
        EXPECT_THAT(e.what(), AllOf(HasSubstr("f.jsonl:7: "), HasSubstr(c["error"].get<std::string>())));
      }
      continue;
    }
    const RenderedText rendered = own.render(conversation);
    EXPECT_EQ(rendered.text, with_date(c["text"])) << name;
    EXPECT_EQ(own.render_prompt(conversation.messages), with_date(c["prompt"])) << name;
    EXPECT_EQ(trained_texts(rendered), c["trained"].get<std::vector<std::string>>()) << name << " " << c["messages"];
    EXPECT_EQ(own.depends_on_date(), name == "llama31");
    seen.insert(name);
  }
  EXPECT_EQ(seen.size(), 12u);
}

TEST(OwnTemplate, TextBehindTheEndOfTurnIsNotTrained) {
  const RenderedText r = own_template(kChatml).render(conversation_of({user("q"), assistant("a"), user("r")}));
  EXPECT_THAT(trained_texts(r), ElementsAre("a<|im_end|>"));
  EXPECT_EQ(text_behind(r, 0), "\n");
}

TEST(OwnTemplate, EndOfTurnIsASpecialTokenOfTheTemplate) {
  const json tokens = {
      {"eos_token", "</s>"},
      {"added_tokens_decoder",
       {{"5", {{"content", "<e>"}, {"special", true}}}, {"6", {{"content", "<n>"}, {"special", false}}}}}};
  const auto trained = [&](const std::string& ending, const std::string& next) {
    return trained_texts(own_template("{% for m in messages %}{{ m.content }}" + ending + "{% endfor %}", tokens)
                             .render(conversation_of({assistant("a"), user(next)})));
  };
  EXPECT_THAT(trained("<e>", "u"), ElementsAre("a<e>"));
  EXPECT_THAT(trained(" </s>!", "u"), ElementsAre("a </s>"));
  EXPECT_THAT(trained("<n>", "u"), ElementsAre("a"));
  EXPECT_THAT(trained("", "<e>"), ElementsAre("a"));
  EXPECT_THAT(trained(" x<e>", "u"), ElementsAre("a"));
}

TEST(OwnTemplate, SpecialTokensAreAlsoReadFromTokenizerJson) {
  TempDir folder;
  write_text(folder / "tokenizer.json", R"({"added_tokens": [{"id": 1, "content": "<|im_end|>", "special": true}],)"
                                        R"("model": {"vocab": {"a": 0}}})");
  write_text(folder / "chat_template.jinja", kChatml);
  const RenderedText r = make_chat_template("", folder.path()).render(conversation_of({user("q"), assistant("a")}));
  EXPECT_THAT(trained_texts(r), ElementsAre("a<|im_end|>"));
}

TEST(OwnTemplate, EmptyAnswersTrainTheirEndOfTurn) {
  for (const char* content : {"", "  \n"}) {
    const RenderedText r =
        own_template("{% for m in messages %}<{{ m.role }}>{{ m.content|trim }}<|im_end|>{% endfor %}")
            .render(conversation_of({user("q"), assistant(content), user("")}));
    EXPECT_THAT(trained_texts(r), ElementsAre("<|im_end|>"));
    EXPECT_EQ(r.turns[0].begin, r.turns[0].end_of_turn);
  }
}

TEST(OwnTemplate, ContentThatTheTemplateLeavesOutIsNotTrained) {
  const RenderedText dropped =
      own_template("{% for m in messages %}{{ m.content if loop.first else m.content[:0] }}<|im_end|>{% endfor %}")
          .render(conversation_of({assistant("a"), assistant("b")}));
  EXPECT_THAT(trained_texts(dropped), ElementsAre("a<|im_end|>"));
  ASSERT_EQ(dropped.turns.size(), 2u) << "the dropped answer is still the last one";
  EXPECT_FALSE(dropped.turns[1].train);
  const RenderedText changed = own_template("{% for m in messages %}{{ m.content|upper }}<|im_end|>{% endfor %}")
                                   .render(conversation_of({user("q"), assistant("a\u0149b")}));
  EXPECT_EQ(changed.text, "Q<|im_end|>A\u02BCNB<|im_end|>");
  EXPECT_TRUE(trained_texts(changed).empty());
}

TEST(OwnTemplate, StartOfTheContentThatTheTemplateWritesItselfIsTrained) {
  const char* source =
      "{% for m in messages %}x<think>\n{{ m.content.split('<think>')[-1].lstrip('\\n') }}<|im_end|>{% endfor %}";
  EXPECT_THAT(trained_texts(own_template(source).render(conversation_of({assistant("<think>\nwell")}))),
              ElementsAre("<think>\nwell<|im_end|>"));
  EXPECT_THAT(trained_texts(own_template(source).render(conversation_of({assistant("<think>well")}))),
              ElementsAre("<think>\nwell<|im_end|>"));
  EXPECT_THAT(trained_texts(own_template(source).render(conversation_of({assistant("So: <think>well")}))),
              ElementsAre("well<|im_end|>"));
  EXPECT_THAT(trained_texts(own_template(source).render(conversation_of({assistant("\nwell")}))),
              ElementsAre("well<|im_end|>"))
      << "white space alone is the template's";
}

TEST(OwnTemplate, GenerationBlocksAreWhatIsTrained) {
  const auto trained = [](const std::string& block) {
    return trained_texts(
        own_template("{% for m in messages %}{% if m.role == 'user' %}u{% else %}" + block + "{% endif %}{% endfor %}")
            .render(conversation_of({user("q"), assistant("a"), user("q"), assistant("b")})));
  };
  EXPECT_THAT(trained("{% generation %}({{ m.content }})<|im_end|>{% endgeneration %}\n"),
              ElementsAre("(a)<|im_end|>", "(b)<|im_end|>"));
  EXPECT_THAT(trained("{% generation %}({{ m.content }})<|im_end|>\n{{ '' }}{% endgeneration %}"),
              ElementsAre("(a)<|im_end|>", "(b)<|im_end|>"));
  EXPECT_THAT(trained("-{% generation %}{{ m.content }}{% endgeneration %}<|im_end|>"),
              ElementsAre("a<|im_end|>", "b<|im_end|>"));
  EXPECT_THAT(trained("{{ m.content }}<|im_end|>{% if false %}{% generation %}{% endgeneration %}{% endif %}"),
              testing::IsEmpty());
  const ChatTemplate two = own_template(
      "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% generation %}"
      "{{ m.content[:0] }}<|im_end|>{% endgeneration %}{% endfor %}");
  EXPECT_THAT(trained_texts(two.render(conversation_of({assistant("")}))), ElementsAre("<|im_end|>"));
}

TEST(OwnTemplate, MessagesWithTrainFalseAreNotTrained) {
  Message quiet = assistant("a");
  quiet.train = false;
  const RenderedText r = own_template(kChatml).render(conversation_of({user("q"), quiet, user("r"), assistant("b")}));
  ASSERT_EQ(r.turns.size(), 2u);
  EXPECT_FALSE(r.turns[0].train);
  EXPECT_TRUE(r.turns[1].train);
}

TEST(OwnTemplate, ContextRangesHoldTheOtherMessagesContents) {
  const RenderedText r =
      own_template("{% for m in messages[1:] %}[{{ messages[0].content if loop.first }} {{ m.content }}]{% endfor %}")
          .render(conversation_of({{.role = Role::kSystem, .content = "sys"}, user("hello"), assistant("b")}));
  ASSERT_EQ(r.text, "[sys hello][ b]");
  ASSERT_EQ(r.context.size(), 2u);
  EXPECT_EQ(r.text.substr(r.context[0].begin, r.context[0].end - r.context[0].begin), "sys");
  EXPECT_EQ(r.text.substr(r.context[1].begin, r.context[1].end - r.context[1].begin), "hello");
}

TEST(OwnTemplate, AnswerInSeveralPlacesIsAnError) {
  const ChatTemplate twice =
      own_template("{% for m in messages %}{{ m.content }}{% endfor %}{{ messages[0].content }}");
  EXPECT_THROW(twice.render(conversation_of({assistant("a"), user("q")})), DataError);
}

TEST(OwnTemplate, WhatIsNotKnownIsNamedWithFileAndLine) {
  const auto refusal = [](const std::string& source) -> std::string {
    try {
      own_template(source).render(conversation_of({user("q"), assistant("a")}));
    } catch (const ConfigError& e) {
      return e.what();
    }
    return "rendered";
  };
  EXPECT_THAT(refusal("a\n{{ messages|groupby('role') }}"),
              AllOf(HasSubstr("chat_template.jinja"), HasSubstr("line 2"), HasSubstr("groupby"), HasSubstr("smollm2")));
  EXPECT_THAT(refusal("{% include 'x' %}"), HasSubstr("include"));
  EXPECT_THAT(refusal("{% frobnicate %}"), HasSubstr("frobnicate"));
  EXPECT_THAT(refusal("{{ 'a'.encode() }}"), HasSubstr("encode"));
  EXPECT_THAT(refusal("\n\n{% set f = messages[0].content.casefold %}"),
              AllOf(HasSubstr("casefold"), HasSubstr("line 3")));
  EXPECT_THAT(refusal("{{ 'a' "), HasSubstr("}}"));
}

TEST(OwnTemplate, FailuresWhileRenderingNameTheRecord) {
  const auto failure = [](const std::string& source) -> std::string {
    try {
      own_template(source).render(conversation_of({user("q"), assistant("a")}));
    } catch (const DataError& e) {
      return e.what();
    }
    return "rendered";
  };
  EXPECT_THAT(failure("{{ raise_exception('no\nsuch ' ~ 'thing') }}"),
              HasSubstr("f.jsonl:7: the chat_template refuses"));
  EXPECT_THAT(failure("{{ raise_exception('no\nsuch ' ~ 'thing') }}"), HasSubstr("no such thing"));
  EXPECT_THAT(failure("\n{{ a.b }}"),
              AllOf(HasSubstr("f.jsonl:7: "), HasSubstr("'a' is undefined"), HasSubstr("line 2")));
  EXPECT_THAT(failure("{{ 'a' * 1000000000 }}"), HasSubstr("too much text"));
}

TEST(OwnTemplate, TokensWithNamesAreGivenToTheTemplate) {
  const json tokens = {{"bos_token", {{"content", "<s>"}}}, {"image_token", "<i>"}, {"pad_token", nullptr}};
  EXPECT_EQ(own_template("{{ bos_token }}{{ image_token }}{{ pad_token is defined }}{{ tools is none }}", tokens)
                .render_prompt({user("q")}),
            "<s><i>FalseTrue");
}

TEST(OwnTemplate, OfSeveralTemplatesTheDefaultOneIsTaken) {
  TempDir folder;
  const json list =
      json::array({{{"name", "tool_use"}, {"template", "tools"}}, {{"name", "default"}, {"template", "d"}}});
  write_text(folder / "tokenizer_config.json", json::object({{"chat_template", list}}).dump());
  EXPECT_EQ(make_chat_template("", folder.path()).render_prompt({user("q")}), "d");
}

}  // namespace
}  // namespace qtune
