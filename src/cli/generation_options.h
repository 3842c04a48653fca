// What `generate` and `chat` share: their options, and a model that is ready to answer.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "qtune/eval/generate.h"
#include "qtune/eval/text_stream.h"
#include "qtune/formats/model_config.h"

namespace qtune {

struct GenerationArguments {
  std::string model, adapter, system, template_name, dtype = "float32", device = "auto";
  std::vector<std::string> stop_texts;
  GenerateOptions options;
};

struct TemplateOptions {
  CLI::Option *system, *chat_template;
};

/// --model, --adapter, --system, --template, and how tokens are chosen.
TemplateOptions add_generation_options(CLI::App& command, GenerationArguments& arguments);

/// A model folder's parts, checked one against the other. The weights come last: load_model().
struct Answerer {
  enum class Prompts { kChat, kPlainText };

  /// Throws: as the readers of the folder's files. kPlainText: no template.
  Answerer(const GenerationArguments& arguments, Prompts prompts);

  Model load_model(const GenerationArguments& arguments) const;
  TextStream make_stream() const { return TextStream(*tokenizer, stream_options); }

  ModelConfig config;  // first: its reader knows what folders of other kinds are
  std::unique_ptr<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;
  GenerateOptions options;  // with the tokens that end an answer
  TextStream::Options stream_options;
  std::optional<int32_t> text_start;  // stands before plain text
};

/// The line of an error without what it advises: another advice goes behind it.
std::string without_advice(const std::string& message);

}  // namespace qtune
