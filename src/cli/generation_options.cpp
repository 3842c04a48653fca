#include "generation_options.h"

#include <algorithm>

#include "adapter_option.h"
#include "device_option.h"
#include "dtype_option.h"
#include "number_range.h"
#include "qtune/text/special_ids.h"

namespace qtune {

TemplateOptions add_generation_options(CLI::App& command, GenerationArguments& a) {
  command.add_option("--model", a.model, "Model folder")->required();
  add_adapter_option(command, a.adapter);
  TemplateOptions options{};
  options.system = command.add_option("--system", a.system, "System message");
  options.chat_template = command.add_option("--template", a.template_name,
                                             "Chat template by LLaMA-Factory's name; default: the model's own");
  SamplingOptions& s = a.options.sampling;
  command.add_option("--max-new-tokens", a.options.max_new_tokens, "An answer's most tokens")
      ->check(number_at_least(1))
      ->capture_default_str();
  command.add_option("--temperature", s.temperature, "0: greedy")
      ->check(number_between(0.0, 1e3))
      ->capture_default_str();
  command.add_option("--top-k", s.top_k, "Choose among the k most likely tokens; 0: all")
      ->check(number_at_least(0))
      ->capture_default_str();
  command.add_option("--top-p", s.top_p, "... among the fewest that hold this share of the probability")
      ->check(number_between(1e-6, 1.0))
      ->capture_default_str();
  command.add_option("--min-p", s.min_p, "... among those at least this likely, measured by the likeliest")
      ->check(number_between(0.0, 1.0))
      ->capture_default_str();
  command.add_option("--repetition-penalty", s.repetition_penalty, "Above 1: tokens seen before become less likely")
      ->check(number_between(1e-3, 1e3))
      ->capture_default_str();
  command.add_option("--seed", s.seed, "Of sampling")->check(number_at_least(0))->capture_default_str();
  command.add_option("--stop", a.stop_texts, "The answer ends before this text; may be given several times")
      ->allow_extra_args(false);
  add_dtype_option(command, a.dtype);
  add_device_option(command, a.device);
  return options;
}

Answerer::Answerer(const GenerationArguments& a, Prompts prompts)
    : config(read_model_config(a.model)), tokenizer(Tokenizer::load_tokenizer(a.model)), options(a.options) {
  check_fits_model(*tokenizer, config.vocab_size, a.model);
  options.stop_ids = config.eos_ids;
  if (prompts == Prompts::kChat) {
    chat_template = make_chat_template(a.template_name, a.model);
    if (const auto id = end_of_turn_id(*chat_template, *tokenizer)) options.stop_ids.push_back(*id);
  } else {
    text_start = read_text_start(a.model, *tokenizer);
  }
  stream_options.stop_texts = a.stop_texts;
  stream_options.silent_ids.insert(options.stop_ids.begin(), options.stop_ids.end());
  for (const auto& [id, text] : read_special_ids(a.model, tokenizer.get()).texts) stream_options.silent_ids.insert(id);
}

Model Answerer::load_model(const GenerationArguments& a) const {
  return Model::load(a.model, {.compute_dtype = parse_compute_dtype(a.dtype),
                               .device = device_from(a.device),
                               .adapter = adapter_from(a.adapter)});
}

std::string without_advice(const std::string& message) { return message.substr(0, message.find(" ---> ")); }

}  // namespace qtune
