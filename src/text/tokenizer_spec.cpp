#include "tokenizer_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "qtune/base/error.h"
#include "qtune/base/json_text.h"
#include "qtune/base/one_line.h"
#include "tokenizer_limits.h"
#include "unicode.h"

namespace qtune {
namespace {

using nlohmann::json;

constexpr int kMaxNesting = 8;  // of Sequence steps

/// Carries only the reason; read_tokenizer_spec adds the file.
[[noreturn]] void refuse(const std::string& reason) { throw Error(reason); }

bool nested_deeper_than(const json& value, int depth) {
  if (!value.is_structured()) return false;
  return depth == 0 || std::any_of(value.begin(), value.end(),
                                   [&](const json& inner) { return nested_deeper_than(inner, depth - 1); });
}

std::string shown(const json& value) {
  if (nested_deeper_than(value, 8)) return "something nested";  // printing it recurses
  std::string text = value.dump(-1, ' ', true);
  if (text.size() > 100) text = text.substr(0, 97) + "...";
  return text;
}

const json& member(const json& object, const char* key, const std::string& where) {
  static const json kNull;
  if (!object.is_object()) refuse(fmt::format("{}: expected an object, found {}", where, shown(object)));
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

std::string text_member(const json& object, const char* key, const std::string& where) {
  const json& value = member(object, key, where);
  if (!value.is_string()) refuse(fmt::format("{}.{}: expected a string, found {}", where, key, shown(value)));
  return value.get<std::string>();
}

bool flag_member(const json& object, const char* key, bool fallback, const std::string& where) {
  const json& value = member(object, key, where);
  if (value.is_null()) return fallback;
  if (!value.is_boolean()) refuse(fmt::format("{}.{}: expected true or false, found {}", where, key, shown(value)));
  return value.get<bool>();
}

size_t count_member(const json& object, const char* key, const std::string& where) {
  const json& value = member(object, key, where);
  if (!value.is_number_unsigned()) refuse(fmt::format("{}.{}: expected a count, found {}", where, key, shown(value)));
  return value.get<size_t>();
}

int32_t parse_id(const json& value, size_t num_tokens, const std::string& where) {
  const uint64_t limit = token_id_limit(num_tokens);
  if (!value.is_number_unsigned() || value.get<uint64_t>() >= limit) {
    refuse(fmt::format("{}: expected a token id below {}, found {}", where, limit, shown(value)));
  }
  return value.get<int32_t>();
}

[[noreturn]] void refuse_step(const char* what, const std::string& type) {
  refuse(fmt::format(
      "{} {} is not supported ---> use a tokenizer of the GPT-2, SmolLM2, Llama 2, Llama 3 or Qwen2 kind", what, type));
}

/// A step or, for Sequence, its steps in order: calls fn(type, step) for each.
template <class Fn>
void for_each_step(const json& step, const char* section, const char* list_key, const Fn& fn, int depth = 0) {
  if (step.is_null()) return;
  const std::string type = text_member(step, "type", section);
  if (type != "Sequence") return fn(type, step);
  if (depth == kMaxNesting) refuse(fmt::format("{}: Sequence nested more than {} deep", section, kMaxNesting));
  const json& steps = member(step, list_key, section);
  if (!steps.is_array()) refuse(fmt::format("{}.{}: expected a list, found {}", section, list_key, shown(steps)));
  for (const json& inner : steps) {
    if (inner.is_null()) refuse(fmt::format("{}.{}: expected a step, found null", section, list_key));
    for_each_step(inner, section, list_key, fn, depth + 1);
  }
}

/// The String pattern of a Replace step.
std::string literal_pattern(const json& step, const char* section) {
  const json& pattern = member(step, "pattern", section);
  if (!pattern.is_object() || !pattern.contains("String"))
    refuse_step(section, fmt::format("Replace of pattern {}", shown(pattern)));
  std::string text = text_member(pattern, "String", section);
  if (text.empty()) refuse(fmt::format("{}: Replace of an empty pattern", section));
  return text;
}

void parse_normalizer(const json& root, TokenizerSpec& spec) {
  using Kind = NormalizeStep::Kind;
  for_each_step(
      member(root, "normalizer", "file"), "normalizer", "normalizers", [&](const std::string& type, const json& step) {
        if (type == "NFC") {
          spec.normalizer.push_back({Kind::kNfc, "", ""});
        } else if (type == "Prepend") {
          spec.normalizer.push_back({Kind::kPrepend, "", text_member(step, "prepend", "normalizer")});
        } else if (type == "Replace") {
          spec.normalizer.push_back(
              {Kind::kReplace, literal_pattern(step, "normalizer"), text_member(step, "content", "normalizer")});
        } else {
          refuse_step("normalizer", type);
        }
      });
}

PreStep parse_split(const json& step) {
  static const std::unordered_map<std::string, Delimiter> kDelimiters = {
      {"Isolated", Delimiter::kIsolated},
      {"Removed", Delimiter::kRemoved},
      {"MergedWithPrevious", Delimiter::kMergedWithPrevious},
      {"MergedWithNext", Delimiter::kMergedWithNext},
      {"Contiguous", Delimiter::kContiguous}};
  const std::string section = "pre_tokenizer";
  const json& pattern = member(step, "pattern", section);
  const std::string behavior = text_member(step, "behavior", section);
  const bool invert = flag_member(step, "invert", false, section);
  const auto delimiter = kDelimiters.find(behavior);
  const bool literal = pattern.is_object() && pattern.contains("String");
  // the known expressions match all of any text, so that to remove what they do not match is to isolate
  const bool isolates = behavior == (invert ? "Removed" : "Isolated");
  if (delimiter == kDelimiters.end() || !pattern.is_object() || (literal ? invert : !isolates)) {
    refuse_step("pre_tokenizer", fmt::format("Split of pattern {}, behavior {}{}", shown(pattern), behavior,
                                             invert ? ", inverted" : ""));
  }
  if (literal) {
    PreStep out{.kind = PreStep::Kind::kLiteral, .delimiter = delimiter->second};
    out.text = text_member(pattern, "String", section);
    if (out.text.empty()) refuse("pre_tokenizer: Split of an empty pattern");
    return out;
  }
  const std::string regex = text_member(pattern, "Regex", section);
  const auto rule = split_rule_of_regex(regex);
  if (!rule) refuse_step("pre_tokenizer", fmt::format("Split by the regular expression {}", shown(regex)));
  return {.kind = PreStep::Kind::kRule, .rule = *rule};
}

/// Metaspace, of a pre_tokenizer or a decoder.
struct Metaspace {
  std::string replacement;
  std::string prepend_scheme;
  bool split;
};

Metaspace parse_metaspace(const json& step, const char* section) {
  Metaspace out{.replacement = text_member(step, "replacement", section)};
  if (out.replacement.empty() || code_point_at(out.replacement.data()).length != out.replacement.size())
    refuse(fmt::format("{}: Metaspace with replacement {}, expected one character", section, shown(out.replacement)));
  // files of before 2024 have add_prefix_space instead
  const bool prefix = flag_member(step, "add_prefix_space", true, section);
  const bool has_scheme = !member(step, "prepend_scheme", section).is_null();
  out.prepend_scheme = has_scheme ? text_member(step, "prepend_scheme", section) : prefix ? "always" : "never";
  if (out.prepend_scheme != "always" && out.prepend_scheme != "first" && out.prepend_scheme != "never")
    refuse_step(section, fmt::format("Metaspace with prepend_scheme {}", shown(out.prepend_scheme)));
  if (has_scheme && !prefix && out.prepend_scheme != "never")
    refuse(fmt::format("{}: Metaspace with add_prefix_space false and prepend_scheme {}, expected never", section,
                       out.prepend_scheme));
  out.split = flag_member(step, "split", true, section);
  return out;
}

void add_metaspace(const json& step, std::vector<PreStep>& out) {
  const Metaspace metaspace = parse_metaspace(step, "pre_tokenizer");
  out.push_back({.kind = PreStep::Kind::kReplace, .text = metaspace.replacement});
  if (metaspace.prepend_scheme != "never") {
    out.push_back({.kind = PreStep::Kind::kPrefix,
                   .text = metaspace.replacement,
                   .where = metaspace.prepend_scheme == "first" ? PreStep::Where::kFirst : PreStep::Where::kAlways});
  }
  if (metaspace.split) {
    out.push_back(
        {.kind = PreStep::Kind::kLiteral, .text = metaspace.replacement, .delimiter = Delimiter::kMergedWithNext});
  }
}

void parse_pre_tokenizer(const json& root, TokenizerSpec& spec) {
  const char* section = "pre_tokenizer";
  using Kind = PreStep::Kind;
  std::vector<PreStep>& out = spec.pre_tokenizer;
  for_each_step(
      member(root, section, "file"), section, "pretokenizers", [&](const std::string& type, const json& step) {
        if (spec.model.byte_level) refuse(fmt::format("pre_tokenizer: {} behind ByteLevel is not supported", type));
        if (type == "Digits") {
          const bool each = flag_member(step, "individual_digits", false, section);
          out.push_back({.kind = Kind::kRule, .rule = each ? SplitRule::kDigitsEach : SplitRule::kDigitsRuns});
        } else if (type == "Split") {
          out.push_back(parse_split(step));
        } else if (type == "Whitespace") {
          out.push_back({.kind = Kind::kWhitespace});
        } else if (type == "WhitespaceSplit") {
          out.push_back({.kind = Kind::kSpaceSplit});
        } else if (type == "Metaspace") {
          add_metaspace(step, out);
        } else if (type == "ByteLevel") {
          if (flag_member(step, "add_prefix_space", true, section)) out.push_back({.kind = Kind::kPrefix, .text = " "});
          if (flag_member(step, "use_regex", true, section))
            out.push_back({.kind = Kind::kRule, .rule = SplitRule::kGpt2});
          spec.model.byte_level = true;
        } else {
          refuse_step(section, type);
        }
      });
}

void parse_decoder(const json& root, TokenizerSpec& spec) {
  using Kind = DecodeStep::Kind;
  const char* section = "decoder";
  const json& decoder = member(root, section, "file");
  spec.joins_with_spaces = decoder.is_null();
  for_each_step(decoder, section, "decoders", [&](const std::string& type, const json& step) {
    DecodeStep out{};
    if (type == "ByteLevel") {
      out.kind = Kind::kByteLevel;
    } else if (type == "Replace") {
      out = {Kind::kReplace, literal_pattern(step, section), text_member(step, "content", section)};
    } else if (type == "ByteFallback") {
      out.kind = Kind::kByteFallback;
    } else if (type == "Fuse") {
      out.kind = Kind::kFuse;
    } else if (type == "Strip") {
      out = {Kind::kStrip, "", text_member(step, "content", section), count_member(step, "start", section),
             count_member(step, "stop", section)};
      if (out.content.empty() || code_point_at(out.content.data()).length != out.content.size()) {
        refuse(fmt::format("decoder: Strip of {}, expected one character", shown(out.content)));
      }
    } else if (type == "Metaspace") {
      const Metaspace metaspace = parse_metaspace(step, section);
      out = {.kind = Kind::kMetaspace,
             .pattern = metaspace.replacement,
             .drops_prefix = metaspace.prepend_scheme != "never"};
    } else {
      refuse_step(section, type);
    }
    spec.decoder.push_back(std::move(out));
  });
}

void check_post_processor(const json& root) {
  for_each_step(member(root, "post_processor", "file"), "post_processor", "processors",
                [](const std::string& type, const json&) {
                  static const std::unordered_set<std::string> kOnlyAddSpecialTokens = {
                      "ByteLevel", "TemplateProcessing", "RobertaProcessing", "BertProcessing"};
                  if (!kOnlyAddSpecialTokens.contains(type)) refuse_step("post_processor", type);
                });
}

std::pair<std::string, std::string> parse_merge(const json& merge, size_t rank) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  }
  if (merge.is_string()) {
    const auto& text = merge.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos)
      return {text.substr(0, space), text.substr(space + 1)};
  }
  refuse(
      fmt::format("model.merges[{}]: expected \"left right\" or [\"left\", \"right\"], found {}", rank, shown(merge)));
}

void parse_vocab(const json& model, BpeSpec& out) {
  const json& vocab = member(model, "vocab", "model");
  if (!vocab.is_object() || vocab.empty())
    refuse(fmt::format("model.vocab: expected an object of tokens and ids, found {}", shown(vocab)));
  out.vocab.reserve(vocab.size());
  std::unordered_set<int32_t> seen;
  for (const auto& [token, value] : vocab.items()) {
    const int32_t id = parse_id(value, vocab.size(), "model.vocab");
    if (!seen.insert(id).second)
      refuse(fmt::format("model.vocab: id {} stands for two tokens, one is {}", id, shown(token)));
    out.vocab.emplace_back(token, id);
  }
}

void parse_model(const json& root, BpeSpec& out) {
  const json& model = member(root, "model", "file");
  if (model.is_null()) refuse("expected a \"model\", found none");
  const json& type = member(model, "type", "model");  // old files leave it out
  const bool looks_like_bpe = type.is_null() && model.contains("merges");
  if (!looks_like_bpe && !(type.is_string() && type.get_ref<const std::string&>() == "BPE")) {
    refuse_step("model", type.is_string() ? type.get<std::string>() : shown(type));
  }
  parse_vocab(model, out);
  const json& merges = member(model, "merges", "model");
  if (!merges.is_array()) refuse(fmt::format("model.merges: expected a list, found {}", shown(merges)));
  out.merges.reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) out.merges.push_back(parse_merge(merges[rank], rank));
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const json& value = member(model, key, "model");
    if (!value.is_null() && value != "") refuse_step("model", fmt::format("BPE with {} {}", key, shown(value)));
  }
  const json& dropout = member(model, "dropout", "model");
  if (!dropout.is_null() && dropout != 0.0) refuse_step("model", fmt::format("BPE with dropout {}", shown(dropout)));
  if (!member(model, "unk_token", "model").is_null()) out.unk_token = text_member(model, "unk_token", "model");
  out.fuse_unk = flag_member(model, "fuse_unk", false, "model");
  out.byte_fallback = flag_member(model, "byte_fallback", false, "model");
  out.ignore_merges = flag_member(model, "ignore_merges", false, "model");
}

/// Refuses an added token whose id is not the one the library would give it: the vocabulary's, else the next free one.
void check_added_id(const AddedToken& token, const std::unordered_map<std::string_view, int32_t>& vocab, int32_t& next,
                    const std::string& where) {
  const auto known = vocab.find(token.content);
  const int32_t expected = known == vocab.end() ? next : known->second;
  if (token.id != expected)
    refuse(fmt::format("{}: expected id {} for token {}, found {}", where, expected, shown(token.content), token.id));
  if (known == vocab.end()) ++next;
}

void parse_added_tokens(const json& root, TokenizerSpec& spec) {
  const json& list = member(root, "added_tokens", "file");
  if (list.is_null()) return;
  if (!list.is_array()) refuse(fmt::format("added_tokens: expected a list, found {}", shown(list)));
  std::unordered_map<std::string_view, int32_t> vocab;
  for (const auto& [token, id] : spec.model.vocab) vocab.emplace(token, id);
  auto next = static_cast<int32_t>(vocab.size());
  std::unordered_set<std::string> seen;
  std::vector<AddedToken> special, plain;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string where = fmt::format("added_tokens[{}]", i);
    AddedToken token;
    token.content = text_member(list[i], "content", where);
    token.id = parse_id(member(list[i], "id", where), vocab.size() + list.size(), where + ".id");
    token.single_word = flag_member(list[i], "single_word", false, where);
    token.lstrip = flag_member(list[i], "lstrip", false, where);
    token.rstrip = flag_member(list[i], "rstrip", false, where);
    const bool is_special = flag_member(list[i], "special", false, where);
    token.normalized = flag_member(list[i], "normalized", !is_special, where);
    if (token.content.empty()) continue;
    if (!seen.insert(token.content).second)
      refuse(fmt::format("{}: token {} is listed twice", where, shown(token.content)));
    check_added_id(token, vocab, next, where);
    (is_special ? special : plain).push_back(std::move(token));
  }
  spec.added_tokens = std::move(special);
  std::move(plain.begin(), plain.end(), std::back_inserter(spec.added_tokens));
}

TokenizerSpec parse_spec(const json& root) {
  if (!root.is_object()) refuse(fmt::format("expected a JSON object, found {}", shown(root)));
  TokenizerSpec spec;
  parse_normalizer(root, spec);
  parse_pre_tokenizer(root, spec);
  parse_model(root, spec.model);
  parse_added_tokens(root, spec);
  parse_decoder(root, spec);
  check_post_processor(root);
  check_steps(spec);
  return spec;
}

}  // namespace

TokenizerSpec read_tokenizer_spec(const std::filesystem::path& file) {
  if (!std::filesystem::is_regular_file(file)) {
    throw CheckpointError(
        fmt::format("{}: expected a file ---> put the model's own tokenizer.json there", file.string()));
  }
  try {
    return parse_spec(json::parse(read_json_text(file)));
  } catch (const json::exception& e) {
    const std::string reason = one_line(std::string(e.what()).substr(0, 200));
    throw CheckpointError(fmt::format("{}: expected JSON, found a fault: {}", file.string(), reason));
  } catch (const CheckpointError&) {
    throw;
  } catch (const Error& e) {
    throw CheckpointError(fmt::format("{}: {}", file.string(), one_line(e.what())));
  }
}

}  // namespace qtune
