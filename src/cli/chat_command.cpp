// qtune chat: a conversation on the standard input and output.
#include <fmt/format.h>
#include <unistd.h>

#include <memory>

#include "commands.h"
#include "generation_options.h"
#include "interrupts.h"
#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "streams.h"

namespace qtune {
namespace {

constexpr const char* kHelp =
    "/clear  begin a new conversation\n/exit   leave (so does the end of the input)\n/help   this list\n"
    "Ctrl-C stops an answer; a second one, or one at the prompt, leaves. A message that begins with / starts with a "
    "space.";

class Chat {
 public:
  Chat(const GenerationArguments& arguments, const Answerer& answerer, Model model)
      : system_(arguments.system),
        answerer_(answerer),
        model_(std::move(model)),
        prefix_(make_prefix_cache(model_)),
        at_terminal_(::isatty(STDIN_FILENO) && ::isatty(STDERR_FILENO)) {
    clear();
  }

  int run() {
    if (at_terminal_) tell("/help lists the commands");
    std::string line;
    while (true) {
      if (at_terminal_) fmt::print(stderr, "> ");
      switch (lines_.next(interrupts_, line)) {
        case InputLines::Event::kEnd:
          if (at_terminal_) tell("");
          return kExitOk;
        case InputLines::Event::kInterrupted:
          return kExitInterrupted;
        case InputLines::Event::kLine:
          break;
      }
      if (line.find_first_not_of(" \t") == std::string::npos) continue;
      if (line == "/exit" || line == "/quit") return kExitOk;
      if (run_command(line)) continue;  // an interrupt meanwhile is one at the prompt
      answer(line.starts_with(" /") ? line.substr(1) : line);
      if (interrupts_.count() > 1) return kExitInterrupted;
      interrupts_.forget();
    }
  }

 private:
  static void tell(const std::string& text) { fmt::print(stderr, "{}\n", text); }

  void clear() {
    messages_.clear();
    if (!system_.empty()) messages_.push_back({Role::kSystem, system_});
  }

  /// A line that is one word with a slash in front; anything else is a message.
  bool run_command(const std::string& line) {
    if (!line.starts_with('/') || line.find_first_of(" \t/", 1) != std::string::npos) return false;
    if (line == "/clear") {
      clear();
    } else {
      if (line != "/help") tell(fmt::format("chat: no command {}", line));
      tell(kHelp);
    }
    return true;
  }

  void answer(const std::string& text) {
    messages_.push_back({Role::kUser, text});
    std::vector<int32_t> prompt;
    try {
      prompt = answerer_.tokenizer->encode(answerer_.chat_template->render_prompt(messages_));
    } catch (const DataError& e) {
      // Its usual advice is about the records of a data file.
      return refuse(without_advice(e.what()) + " ---> say it in another way, or name another template with --template");
    }
    const int64_t positions = answerer_.config.max_positions;
    if (static_cast<int64_t>(prompt.size()) >= positions) {
      return refuse(fmt::format(
          "expected a conversation of fewer tokens than the model's {} positions, found {} ---> shorten the "
          "message, or begin a new conversation with /clear",
          positions, prompt.size()));
    }
    TextStream stream = answerer_.make_stream();
    const Generation found = generate(
        model_, prompt, answerer_.options,
        [&](int32_t id) {
          show(stream.add(id));
          return !stream.stopped() && interrupts_.count() == 0;
        },
        prefix_, [&] { return interrupts_.count() > 0; });
    show(stream.finish() + "\n");
    tell_end(found, stream);
    if (found.ids.empty()) {
      messages_.pop_back();  // interrupted before the answer: the turn is taken back
    } else {
      messages_.push_back({Role::kAssistant, stream.text()});
    }
  }

  /// A message that can't be answered is forgotten. A program that waits for the answer is told by the end.
  void refuse(const std::string& fault) {
    messages_.pop_back();
    if (!at_terminal_) throw DataError("chat: " + fault);
    spdlog::error("chat: {}", fault);
  }

  void tell_end(const Generation& found, const TextStream& stream) const {
    if (stream.stopped()) return;
    if (found.reason == FinishReason::kLength) {
      spdlog::warn("the answer was cut after {} tokens ---> --max-new-tokens allows more", found.ids.size());
    } else if (found.reason == FinishReason::kPositions) {
      spdlog::warn("the answer was cut where the model's {} positions end ---> /clear begins a new conversation",
                   answerer_.config.max_positions);
    }
  }

  static void show(const std::string& text) {
    if (text.empty()) return;
    write_output(text);
    flush_output();
  }

  Interrupts interrupts_;
  InputLines lines_;
  std::string system_;
  const Answerer& answerer_;
  Model model_;
  PrefixCache prefix_;
  std::vector<Message> messages_;
  bool at_terminal_;
};

/// Before the weights are read.
void check_system_message(const GenerationArguments& a, const Answerer& answerer) {
  if (a.system.empty()) return;
  try {
    answerer.chat_template->render_prompt({{Role::kSystem, a.system}, {Role::kUser, "a"}});
  } catch (const DataError& e) {
    throw ConfigError(fmt::format("--system: {} ---> leave it out, or name another template with --template",
                                  without_advice(e.what())));
  }
}

int run_chat(const GenerationArguments& a) {
  const Answerer answerer(a, Answerer::Prompts::kChat);
  check_system_message(a, answerer);
  return Chat(a, answerer, answerer.load_model(a)).run();
}

}  // namespace

void add_chat_command(CLI::App& app, Action& action) {
  auto a = std::make_shared<GenerationArguments>();
  a->options.max_new_tokens = 1024;
  CLI::App* command = app.add_subcommand("chat", "A conversation with a model; /help lists its commands");
  add_generation_options(*command, *a);
  command->callback([a, &action] { action = [a] { return run_chat(*a); }; });
}

}  // namespace qtune
