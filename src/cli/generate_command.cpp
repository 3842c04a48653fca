// qtune generate: answers to prompts. One prompt's is streamed to stdout, several become JSON lines.
#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>

#include "commands.h"
#include "generation_options.h"
#include "number_range.h"
#include "prompt_files.h"
#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/base/stop_signals.h"
#include "streams.h"

namespace qtune {
namespace {

struct GenerateArguments : GenerationArguments {
  std::vector<std::string> prompts;
  std::string prompts_file, column = "prompt";
  bool raw = false, json = false;
  int64_t batch_size = 16;
};

/// What is wrong with a prompt is wrong use when it stands on the command line, else a fault of the data.
[[noreturn]] void refuse(const GenerateArguments& a, const std::string& message) {
  if (a.prompts_file.empty()) throw ConfigError(message);
  throw DataError(message);
}

std::vector<Prompt> gather_prompts(const GenerateArguments& a) {
  if (!a.prompts_file.empty()) return read_prompts(a.prompts_file, a.column);
  std::vector<Prompt> prompts;
  for (const std::string& text : a.prompts) {
    const std::string place = a.prompts.size() == 1 ? "generate" : fmt::format("--prompt {}", prompts.size() + 1);
    prompts.push_back(make_prompt(text, place));
  }
  if (!prompts.empty()) return prompts;
  const std::string text(std::istreambuf_iterator<char>(std::cin), {});
  if (text.empty()) refuse(a, "generate: expected a prompt (--prompt, or on the standard input), found none");
  return {make_prompt(text, "generate")};
}

/// The prompt's tokens. Throws: DataError that does not name the prompt.
std::vector<int32_t> encode(const GenerateArguments& a, const Answerer& answerer, std::vector<Message> messages) {
  if (!a.raw) {
    if (!a.system.empty() && messages[0].role != Role::kSystem)
      messages.insert(messages.begin(), {Role::kSystem, a.system});
    return answerer.tokenizer->encode(answerer.chat_template->render_prompt(messages));
  }
  const std::string& text = messages[0].content;
  std::vector<int32_t> ids = answerer.tokenizer->encode(text);
  if (!text.empty() && answerer.text_start && (ids.empty() || ids[0] != *answerer.text_start))
    ids.insert(ids.begin(), *answerer.text_start);
  return ids;
}

std::vector<int32_t> encode_prompt(const GenerateArguments& a, const Answerer& answerer, const Prompt& prompt) {
  if (a.raw && prompt.shown.contains("messages")) refuse(a, prompt.place + ": --raw: expected a text, found messages");
  std::vector<int32_t> ids;
  try {
    ids = encode(a, answerer, prompt.messages);
  } catch (const DataError& e) {
    refuse(a, fmt::format("{}: {}", prompt.place, e.what()));
  }
  if (ids.empty()) refuse(a, prompt.place + ": expected a prompt (--prompt, or on the standard input), found none");
  if (static_cast<int64_t>(ids.size()) >= answerer.config.max_positions) {
    refuse(a,
           fmt::format(
               "{}: expected a prompt of fewer tokens than the model's {} positions, found {} ---> shorten the prompt",
               prompt.place, answerer.config.max_positions, ids.size()));
  }
  return ids;
}

void stream_answer(Model& model, const Answerer& answerer, const std::vector<int32_t>& prompt) {
  TextStream stream = answerer.make_stream();
  const auto show = [](const std::string& text) {
    if (text.empty()) return;
    write_output(text);
    flush_output();
  };
  generate(model, prompt, answerer.options, [&](int32_t id) {
    show(stream.add(id));
    return !stream.stopped();
  });
  show(stream.finish() + "\n");
}

/// JSON lines in the prompts' order, each written as soon as all before it are.
class AnswerLines {
 public:
  AnswerLines(const Answerer& answerer, const std::vector<Prompt>& prompts) : answerer_(answerer), prompts_(prompts) {}

  bool add(size_t index, int32_t id) {
    TextStream& stream = streams_.try_emplace(index, answerer_.make_stream()).first->second;
    stream.add(id);
    return !stream.stopped();
  }

  void finish(size_t index, const Generation& generation) {
    TextStream& stream = streams_.try_emplace(index, answerer_.make_stream()).first->second;
    stream.finish();
    nlohmann::ordered_json line = prompts_[index].shown;
    line["text"] = stream.text();
    line["tokens"] = generation.ids;
    line["finish_reason"] = stream.stopped() ? "stop" : finish_reason_name(generation.reason);
    streams_.erase(index);
    num_tokens_ += generation.ids.size();
    lines_[index] = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    for (; !lines_.empty() && lines_.begin()->first == next_; ++next_) {
      write_output(lines_.begin()->second);
      flush_output();
      lines_.erase(lines_.begin());
    }
  }

  size_t num_tokens() const { return num_tokens_; }
  size_t num_written() const { return next_; }

 private:
  const Answerer& answerer_;
  const std::vector<Prompt>& prompts_;
  std::map<size_t, TextStream> streams_;
  std::map<size_t, std::string> lines_;  // those that wait for one before them
  size_t next_ = 0, num_tokens_ = 0;
};

void answer_all(Model& model, const GenerateArguments& a, const Answerer& answerer, const std::vector<Prompt>& prompts,
                const std::vector<std::vector<int32_t>>& ids) {
  AnswerLines lines(answerer, prompts);
  const auto start = std::chrono::steady_clock::now();
  const StopSignals signals;
  const auto on_token = [&](size_t index, int32_t id) {
    throw_if_stopped();
    return lines.add(index, id);
  };
  try {
    generate_batch(model, ids, answerer.options,
                   {.batch_size = a.batch_size,
                    .on_token = on_token,
                    .on_finished = [&](size_t index, const Generation& g) { lines.finish(index, g); }});
  } catch (const Error& e) {
    if (e.exit_code() != kExitInterrupted) throw;
    throw Error(fmt::format("generate: interrupted, {} of {} answers are written", lines.num_written(), prompts.size()),
                kExitInterrupted);
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  spdlog::info("{} prompts answered: {} tokens in {:.1f} s ({:.1f} tokens/s)", prompts.size(), lines.num_tokens(),
               seconds, static_cast<double>(lines.num_tokens()) / seconds);
}

int run_generate(const GenerateArguments& a) {
  const Answerer answerer(a, a.raw ? Answerer::Prompts::kPlainText : Answerer::Prompts::kChat);
  const std::vector<Prompt> prompts = gather_prompts(a);
  std::vector<std::vector<int32_t>> ids;
  for (const Prompt& prompt : prompts) ids.push_back(encode_prompt(a, answerer, prompt));
  Model model = answerer.load_model(a);
  if (prompts.size() == 1 && a.prompts_file.empty() && !a.json) {
    stream_answer(model, answerer, ids[0]);
  } else {
    answer_all(model, a, answerer, prompts, ids);
  }
  return kExitOk;
}

}  // namespace

void add_generate_command(CLI::App& app, Action& action) {
  auto a = std::make_shared<GenerateArguments>();
  CLI::App* command = app.add_subcommand("generate", "Answer prompts; greedy unless --temperature is given");
  const TemplateOptions in_template = add_generation_options(*command, *a);
  auto* prompt = command
                     ->add_option("--prompt", a->prompts,
                                  "The user's message; several: JSON lines; without it, the standard input is one")
                     ->allow_extra_args(false);
  auto* file = command
                   ->add_option("--prompts", a->prompts_file,
                                "File (-: standard input) with a prompt a line: text, or JSON objects")
                   ->excludes(prompt);
  command->add_option("--column", a->column, "The text in those objects; else their \"messages\"")
      ->needs(file)
      ->capture_default_str();
  command->add_flag("--raw", a->raw, "Prompts are plain text to continue: no chat template")
      ->excludes(in_template.system)
      ->excludes(in_template.chat_template);
  command->add_flag("--json", a->json, "A JSON line for a single prompt too");
  command->add_option("--batch-size", a->batch_size, "Prompts answered at a time")
      ->check(number_between(1, 1 << 16))
      ->capture_default_str();
  command->callback([a, &action] { action = [a] { return run_generate(*a); }; });
}

}  // namespace qtune
