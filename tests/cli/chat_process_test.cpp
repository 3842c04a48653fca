// qtune chat as a process: on a pipe, and with signals.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <sstream>

#include "support/generation_model.h"
#include "support/process.h"
#include "support/training_job.h"

namespace qtune {
namespace {

using Json = nlohmann::json;

class ChatCommand : public testing::Test {
 protected:
  Arguments arguments(const Arguments& more = {}) const {
    return Arguments{"chat", "--model", model_.string(), "--template", "chatml", "--max-new-tokens", "24"} + more;
  }
  ProcessResult chat(const std::string& input, const Arguments& more = {}) const {
    return run_process(arguments(more), {.input = input});
  }

  /// What `generate` answers to a conversation of user, assistant, user, ... messages.
  std::string answer_to(const std::vector<std::string>& contents, const Arguments& more = {}) const {
    Json messages = Json::array();
    for (size_t i = 0; i < contents.size(); ++i) {
      messages.push_back({{"role", i % 2 == 0 ? "user" : "assistant"}, {"content", contents[i]}});
    }
    write_json_lines(model_ / "prompts", {{{"messages", messages}}});
    const ProcessResult result =
        run_process(Arguments{"generate", "--model", model_.string(), "--template", "chatml", "--max-new-tokens", "24",
                              "--prompts", (model_ / "prompts").string()} +
                    more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return Json::parse(result.out)["text"];
  }

  GenerationModel model_;
};

TEST_F(ChatCommand, EachTurnIsAnsweredAsTheWholeConversationIs) {
  for (const Arguments& more : {Arguments{}, Arguments{"--system", "s"}, Arguments{"--adapter", model_.adapter()}}) {
    const std::string one = answer_to({"Hello"}, more), two = answer_to({"Hello", one, "And?"}, more);
    const std::string three = answer_to({"Hello", one, "And?", two, "So"}, more);
    const ProcessResult result = chat("Hello\nAnd?\n\nSo", more);
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(result.out, one + "\n" + two + "\n" + three + "\n") << "answers alone, nothing for eyes";
  }
}

TEST_F(ChatCommand, ClearBeginsANewConversation) {
  const std::string hello = answer_to({"Hello"}), other = answer_to({"Other"});
  EXPECT_EQ(chat("Hello\n/clear\nOther\n/exit\nHello\n").out, hello + "\n" + other + "\n") << "/exit leaves";
}

TEST_F(ChatCommand, CommandsAreNotMessages) {
  const ProcessResult result = chat("/help\n/nonsense\n");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "");
  EXPECT_NE(result.err.find("/clear  begin"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("no command /nonsense"), std::string::npos) << result.err;
  EXPECT_EQ(chat(" /help\n").out, answer_to({"/help"}) + "\n") << "with a space in front it is one";
  EXPECT_EQ(chat("/etc/fstab is what?\n").out, answer_to({"/etc/fstab is what?"}) + "\n");
}

TEST_F(ChatCommand, AnswerThatWasCutIsSaid) {
  const ProcessResult result = chat("Hello\n");
  EXPECT_NE(result.err.find("cut after 24 tokens"), std::string::npos) << result.err;
  model_.set_positions(40);
  EXPECT_NE(chat("Hello\n").err.find("40 positions end"), std::string::npos);
}

TEST_F(ChatCommand, ErrorsAreOneLine) {
  expect_one_error(chat("Hello\n" + std::string(600, 'x') + "\n"), 3, "the model's 512 positions, found ");
  expect_one_error(chat("\xFF\n"), 3, "expected UTF-8");
  expect_one_error(run_process({"chat", "--model", model_.string()}), 2, "has no chat_template");
  write_file_atomic(model_ / "chat_template.jinja",
                    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
                    "{% for m in messages %}{{ m.content }}{% endfor %}");
  expect_one_error(run_process({"chat", "--model", model_.string(), "--system", "s"}), 2,
                   "--system: the chat_template refuses the conversation: System role not supported ---> leave it out");
}

/// A chat whose input stays open, and whose answers last as long as nobody stops them.
class OpenChat : public ChatCommand {
 protected:
  OpenChat() {
    model_.set_positions(1'000'000);
    model_.set_end_tokens({330});
    const std::string path = (model_ / "input").string();
    EXPECT_EQ(::mkfifo(path.c_str(), 0600), 0);
    input_ = ::open(path.c_str(), O_RDWR);
    process_.emplace(
        Arguments{"chat", "--model", model_.string(), "--template", "chatml", "--max-new-tokens", "500000"},
        ProcessOptions{.input_pipe = path});
  }
  ~OpenChat() override { ::close(input_); }

  void say(const std::string& line) {
    ASSERT_EQ(::write(input_, line.data(), line.size()), static_cast<ssize_t>(line.size()));
  }
  bool wait_for_output(size_t more_than) {
    return process_->wait_until([&] { return process_->out_so_far().size() > more_than; });
  }
  bool wait_for_help() {
    return process_->wait_until([&] { return process_->err_so_far().find("/clear") != std::string::npos; });
  }

  int input_ = -1;
  std::optional<QtuneProcess> process_;
};

TEST_F(OpenChat, InterruptStopsTheAnswerAndTheNextMessageIsAnswered) {
  say("Hello\n");
  ASSERT_TRUE(wait_for_output(0));
  process_->send(SIGINT);
  say("/help\n");
  ASSERT_TRUE(wait_for_help()) << "the answer has stopped";
  const size_t size = process_->out_so_far().size();
  EXPECT_TRUE(process_->out_so_far().ends_with('\n'));
  say("And?\n");
  ASSERT_TRUE(wait_for_output(size));
  process_->send(SIGINT);
  say("/exit\n");
  EXPECT_EQ(process_->wait().exit_code, 0);
}

TEST_F(OpenChat, InterruptAtThePromptEndsWith130) {
  say("/help\n");
  ASSERT_TRUE(wait_for_help());
  process_->send(SIGINT);
  const ProcessResult result = process_->wait();
  EXPECT_EQ(result.exit_code, 130);
  EXPECT_EQ(result.out, "");
}

}  // namespace
}  // namespace qtune
