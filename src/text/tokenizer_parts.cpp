#include "qtune/text/tokenizer_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/text/special_ids.h"
#include "special_tokens.h"
#include "tokenizer_added_files.h"
#include "tokenizer_model_file.h"
#include "tokenizer_spec.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using Kind = TokenizerParts::Kind;
using Cut = TokenizerParts::Cut;

constexpr std::string_view kWordMark = "\xE2\x96\x81";  // U+2581
constexpr float kAddedScore = -1000;                    // as llama.cpp's converter gives them

/// "▁" stands for a space in the tokens of sentencepiece; text is searched for added tokens before that.
std::string with_spaces(std::string_view text) {
  std::string out;
  size_t done = 0;
  for (size_t at; (at = text.find(kWordMark, done)) != std::string_view::npos; done = at + kWordMark.size()) {
    out.append(text, done, at - done).append(1, ' ');
  }
  return out.append(text, done);
}

/// Added tokens that stand for structure although the file does not call them special.
bool looks_special(std::string_view text) {
  constexpr std::string_view kBars = "\xEF\xBD\x9C";  // U+FF5C, in DeepSeek's
  const auto framed = [&](std::string_view left, std::string_view right) {
    return text.size() >= left.size() + right.size() && text.starts_with(left) && text.ends_with(right);
  };
  return text == "<pad>" || text == "<mask>" || text == "<2mass>" || text == "[@BOS@]" || framed("<|", "|>") ||
         framed(fmt::format("<{}", kBars), fmt::format("{}>", kBars)) || framed("<unused", ">");
}

TokenizerParts::Token& token_at(TokenizerParts& parts, int32_t id) {
  const auto index = static_cast<size_t>(id);
  if (index >= parts.tokens.size()) {
    parts.tokens.resize(index + 1);
    parts.is_added.resize(index + 1);
  }
  return parts.tokens[index];
}

void add_added_tokens(TokenizerParts& parts, const std::vector<AddedToken>& added, const fs::path& folder) {
  const SpecialIds special = read_special_ids(folder, nullptr);
  for (const AddedToken& token : added) {
    if (token_at(parts, token.id).kind == Kind::kByte) continue;  // some files list these, too
    const bool control = special.contains(token.id) || looks_special(token.content);
    token_at(parts, token.id) = {.text = control ? token.content : with_spaces(token.content),
                                 .kind = control ? Kind::kControl : Kind::kUserDefined,
                                 .score = kAddedScore};
    parts.is_added[static_cast<size_t>(token.id)] = true;
  }
}

/// Tokens that tokenizer_config.json calls bos_token and the like are special, wherever they stand.
void mark_named_tokens(TokenizerParts& parts, const fs::path& folder) {
  const SpecialTokens special = read_named_tokens(folder);
  for (TokenizerParts::Token& token : parts.tokens) {
    if (token.kind != Kind::kNormal && token.kind != Kind::kUserDefined) continue;
    const bool named = std::any_of(special.named.begin(), special.named.end(),
                                   [&](const auto& entry) { return entry.second == token.text; });
    if (named) token.kind = Kind::kControl;
  }
}

std::string step_name(const PreStep& step) {
  switch (step.kind) {
    case PreStep::Kind::kRule:
      switch (step.rule) {
        case SplitRule::kDigitsEach:
          return "single digits";
        case SplitRule::kDigitsRuns:
          return "runs of digits";
        case SplitRule::kGpt2:
          return "GPT-2's";
        case SplitRule::kNumbersOfOne:
          return "Qwen2's";
        case SplitRule::kNumbersOfThree:
          return "Llama 3's";
      }
      break;
    case PreStep::Kind::kLiteral:
      return fmt::format("Split at {:?}", step.text);
    case PreStep::Kind::kWhitespace:
      return "Whitespace";
    case PreStep::Kind::kSpaceSplit:
      return "WhitespaceSplit";
    case PreStep::Kind::kPrefix:
      return fmt::format("prefix {:?}", step.text);
    case PreStep::Kind::kReplace:
      return fmt::format("space as {:?}", step.text);
  }
  return "";
}

void read_byte_level_cut(const TokenizerSpec& spec, TokenizerParts& parts) {
  const std::vector<PreStep>& steps = spec.pre_tokenizer;
  // llama.cpp has no normalizer here; NFC changes few texts, and its converter leaves it out, too
  for (const NormalizeStep& step : spec.normalizer) {
    if (step.kind == NormalizeStep::Kind::kNfc) continue;
    parts.cut_name = "a normalizer other than NFC";
    return;
  }
  const bool only_rules =
      std::all_of(steps.begin(), steps.end(), [](const PreStep& step) { return step.kind == PreStep::Kind::kRule; });
  if (!only_rules || steps.empty() || steps.size() > 2) return;
  const SplitRule last = steps.back().rule;
  if (steps.size() == 2) {
    if (steps[0].rule == SplitRule::kDigitsEach && last == SplitRule::kGpt2) parts.cut = Cut::kDigitsThenGpt2;
    return;
  }
  if (last == SplitRule::kGpt2) parts.cut = Cut::kGpt2;
  if (last == SplitRule::kNumbersOfOne) parts.cut = Cut::kNumbersOfOne;
  if (last == SplitRule::kNumbersOfThree) parts.cut = Cut::kNumbersOfThree;
}

/// Spaces become U+2581, in the normalizer or in the pre-tokenizer, and nothing else happens.
void read_word_cut(const TokenizerSpec& spec, TokenizerParts& parts) {
  bool replaces = false, other = false;
  for (const NormalizeStep& step : spec.normalizer) {
    const bool mark = step.content == kWordMark;
    parts.adds_space_prefix |= step.kind == NormalizeStep::Kind::kPrepend && mark;
    replaces |= step.kind == NormalizeStep::Kind::kReplace && step.pattern == " " && mark;
    other |= step.kind == NormalizeStep::Kind::kNfc || !mark;
  }
  for (const PreStep& step : spec.pre_tokenizer) {
    const bool mark = step.text == kWordMark;
    parts.adds_space_prefix |= step.kind == PreStep::Kind::kPrefix && mark;
    replaces |= step.kind == PreStep::Kind::kReplace && mark;
    const bool cuts_words = step.kind == PreStep::Kind::kLiteral && step.delimiter == Delimiter::kMergedWithNext;
    other |= !mark || !(step.kind == PreStep::Kind::kPrefix || step.kind == PreStep::Kind::kReplace || cuts_words);
  }
  if (replaces && !other) parts.cut = Cut::kWords;
}

/// Whether a piece of tokenizer.model stands at each id of tokenizer.json's own vocabulary.
bool same_vocabulary(const BpeSpec& model, const SentencePieceFile& file) {
  return model.vocab.size() >= file.pieces.size() &&
         std::all_of(model.vocab.begin(), model.vocab.end(), [&](const auto& entry) {
           const auto id = static_cast<size_t>(entry.second);
           return id >= file.pieces.size() || file.pieces[id].text == entry.first;
         });
}

Kind kind_of(const SentencePiece& piece) { return static_cast<Kind>(piece.kind); }
static_assert(static_cast<int>(Kind::kByte) == static_cast<int>(SentencePiece::Kind::kByte) &&
              static_cast<int>(Kind::kNormal) == static_cast<int>(SentencePiece::Kind::kNormal));

void add_pieces(TokenizerParts& parts, const SentencePieceFile& file, const fs::path& path) {
  if (file.algorithm != SentencePieceFile::Algorithm::kBpe) {
    throw CheckpointError(
        fmt::format("{}: expected a sentencepiece model of type bpe, found another type ---> only BPE can be written "
                    "in another format",
                    path.string()));
  }
  parts.model = TokenizerParts::Model::kSentencePiece;
  parts.file = path;
  parts.cut = Cut::kWords;
  if (!file.escapes_spaces || file.space_is_suffix || file.changes_characters) {
    parts.cut = Cut::kOther;
    parts.cut_name = "a sentencepiece normalizer that changes more than spaces";
  }
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    const SentencePiece& piece = file.pieces[id];
    const Kind kind = kind_of(piece);
    token_at(parts, static_cast<int32_t>(id)) = {kind == Kind::kUserDefined ? with_spaces(piece.text) : piece.text,
                                                 kind, piece.score};
  }
}

bool is_byte_token(std::string_view text) {
  return text.size() == 6 && text.starts_with("<0x") && text[5] == '>' &&
         text.substr(3, 2).find_first_not_of("0123456789ABCDEFabcdef") == std::string_view::npos;
}

TokenizerParts parts_of_spec(TokenizerSpec spec, const fs::path& folder) {
  const fs::path model_file = folder / "tokenizer.model";
  TokenizerParts parts;
  parts.file = folder / "tokenizer.json";
  parts.ignores_merges = spec.model.ignore_merges;
  for (const PreStep& step : spec.pre_tokenizer) {
    parts.cut_name += fmt::format("{}{}", parts.cut_name.empty() ? "" : ", then ", step_name(step));
  }
  if (spec.model.byte_level) {
    read_byte_level_cut(spec, parts);
  } else {
    parts.model = TokenizerParts::Model::kByteFallbackBpe;
    read_word_cut(spec, parts);
    if (!spec.model.byte_fallback) {
      parts.cut = Cut::kOther;
      parts.cut_name = "characters that are lost where they have no token";
    }
  }
  std::error_code ignored;
  std::optional<SentencePieceFile> pieces;
  if (!spec.model.byte_level && fs::exists(model_file, ignored)) {
    pieces = read_sentencepiece_file(model_file);
    if (!same_vocabulary(spec.model, *pieces)) {
      spdlog::warn("{}: another vocabulary than tokenizer.json's; it is not used", model_file.string());
      pieces.reset();
    }
  }
  if (pieces) {
    const Cut cut = parts.cut;
    add_pieces(parts, *pieces, model_file);
    parts.cut = cut;
  } else {
    for (auto& [text, id] : spec.model.vocab) {
      const bool byte = parts.model == TokenizerParts::Model::kByteFallbackBpe && is_byte_token(text);
      token_at(parts, id) = {.text = std::move(text), .kind = byte ? Kind::kByte : Kind::kNormal};
    }
    parts.merges = std::move(spec.model.merges);
  }
  add_added_tokens(parts, spec.added_tokens, folder);
  return parts;
}

}  // namespace

TokenizerParts read_tokenizer_parts(const fs::path& model_folder) {
  std::error_code ignored;
  TokenizerParts parts;
  if (fs::exists(model_folder / "tokenizer.json", ignored)) {
    parts = parts_of_spec(read_tokenizer_spec(model_folder / "tokenizer.json"), model_folder);
  } else if (const fs::path file = model_folder / "tokenizer.model"; fs::exists(file, ignored)) {
    const SentencePieceFile content = read_sentencepiece_file(file);
    const TokenizerAdditions additions = read_tokenizer_additions(model_folder, content.pieces.size());
    add_pieces(parts, content, file);
    add_added_tokens(parts, additions.tokens, model_folder);
    parts.adds_space_prefix = content.adds_dummy_prefix && additions.prefix_space != PrefixSpace::kNever;
  } else {
    throw CheckpointError(
        fmt::format("{}: expected tokenizer.json or tokenizer.model, found neither ---> put the model's own tokenizer "
                    "there",
                    model_folder.string()));
  }
  mark_named_tokens(parts, model_folder);
  return parts;
}

}  // namespace qtune
