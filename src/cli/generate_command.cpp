// qtune generate: an answer to a prompt, streamed to stdout.
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <iterator>
#include <memory>

#include "adapter_option.h"
#include "commands.h"
#include "dtype_option.h"
#include "qtune/base/error.h"
#include "qtune/eval/generate.h"
#include "qtune/formats/model_config.h"
#include "qtune/text/chat_template.h"
#include "qtune/text/tokenizer.h"
#include "streams.h"

namespace qtune {
namespace {

struct GenerateArguments {
  std::string model, adapter, prompt, system, template_name, dtype = "float32";
  bool raw = false;
  GenerateOptions options;
};

/// Prints text as tokens arrive, holding back bytes that are not yet a whole character.
class TextStream {
 public:
  explicit TextStream(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void add(int32_t id) {
    ids_.push_back(id);
    const std::string text = tokenizer_.decode(ids_);
    constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
    if (text.size() < printed_ || text.ends_with(kReplacement)) return;
    print(text);
  }

  void finish() {
    print(tokenizer_.decode(ids_));
    write_output("\n");
    flush_output();
  }

 private:
  void print(const std::string& text) {
    write_output(std::string_view(text).substr(std::min(printed_, text.size())));
    flush_output();
    printed_ = text.size();
  }

  const Tokenizer& tokenizer_;
  std::vector<int32_t> ids_;
  size_t printed_ = 0;
};

std::string prompt_text(const GenerateArguments& arguments) {
  std::string prompt = arguments.prompt;
  if (prompt.empty()) prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
  if (arguments.raw) return prompt;
  std::vector<Message> messages;
  if (!arguments.system.empty()) messages.push_back({Role::kSystem, arguments.system});
  messages.push_back({Role::kUser, prompt});
  return make_chat_template(arguments.template_name, arguments.model).render_prompt(messages);
}

int run_generate(const GenerateArguments& arguments) {
  const auto tokenizer = Tokenizer::load_tokenizer(arguments.model);
  const std::vector<int32_t> prompt = tokenizer->encode(prompt_text(arguments));
  if (prompt.empty()) throw ConfigError("generate: expected a prompt (--prompt, or on the standard input), found none");
  const ModelConfig config = read_model_config(arguments.model);
  check_fits_model(*tokenizer, config.vocab_size, arguments.model);
  if (static_cast<int64_t>(prompt.size()) >= config.max_positions) {
    throw ConfigError(fmt::format(
        "generate: expected a prompt of fewer tokens than the model's {} positions, found {} ---> shorten the prompt",
        config.max_positions, prompt.size()));
  }
  Model model = Model::load(arguments.model, {.compute_dtype = parse_compute_dtype(arguments.dtype),
                                              .adapter = adapter_from(arguments.adapter)});
  GenerateOptions options = arguments.options;
  options.stop_ids = config.eos_ids;
  TextStream stream(*tokenizer);
  generate(model, prompt, options, [&](int32_t id) {
    // A stop token ends the answer; it is not part of its text.
    if (std::find(options.stop_ids.begin(), options.stop_ids.end(), id) == options.stop_ids.end()) stream.add(id);
    return true;
  });
  stream.finish();
  return kExitOk;
}

}  // namespace

void add_generate_command(CLI::App& app, Action& action) {
  auto a = std::make_shared<GenerateArguments>();
  CLI::App* command = app.add_subcommand("generate", "Answer a prompt; greedy unless --temperature is given");
  command->add_option("--model", a->model, "Model folder")->required();
  add_adapter_option(*command, a->adapter);
  command->add_option("--prompt", a->prompt, "The user's message; without it, the standard input is read");
  auto* system = command->add_option("--system", a->system, "System message");
  auto* chat_template = command->add_option("--template", a->template_name,
                                            "Chat template by LLaMA-Factory's name; default: the model's own");
  command->add_flag("--raw", a->raw, "The prompt is plain text to continue: no chat template")
      ->excludes(system)
      ->excludes(chat_template);
  command->add_option("--max-new-tokens", a->options.max_new_tokens)->check(CLI::PositiveNumber)->capture_default_str();
  command->add_option("--temperature", a->options.temperature, "0: greedy")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--top-k", a->options.top_k, "0: all")->check(CLI::NonNegativeNumber)->capture_default_str();
  command->add_option("--top-p", a->options.top_p)->check(CLI::Range(1e-6, 1.0))->capture_default_str();
  command->add_option("--seed", a->options.seed)->capture_default_str();
  add_dtype_option(*command, a->dtype);
  command->callback([a, &action] { action = [a] { return run_generate(*a); }; });
}

}  // namespace qtune
