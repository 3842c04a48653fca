#include "qtune/text/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <unordered_map>

#include "decode.h"
#include "qtune/base/error.h"
#include "qtune/base/one_line.h"
#include "tokenizer_sentencepiece.h"
#include "tokenizer_sink.h"
#include "tokenizer_spec.h"
#include "unicode.h"

namespace qtune {
namespace {

/// A stretch of text on its way, and how its bytes lead back to the original.
struct Stretch {
  std::string_view text;
  size_t base = 0;                       // of text[0] in the original, or in `aligned`
  const AlignedText* aligned = nullptr;  // null: unchanged
  bool at_start = false;                 // nothing of the original stands before it

  Stretch part(size_t begin, size_t end) const {
    return {text.substr(begin, end - begin), base + begin, aligned, at_start && begin == 0};
  }
  Stretch changed(const AlignedText& now) const { return {now.text, 0, &now, at_start}; }

  AlignedText copy(Tracking tracking) const {
    if (!aligned) return aligned_copy(text, base, tracking);
    AlignedText out{.tracking = tracking};
    out.append_slice(*aligned, base, base + text.size());
    return out;
  }

  void emit(int32_t id, size_t begin, size_t end, TokenSink& sink) const {
    begin += base;
    end += base;
    if (!aligned) return sink.add(id, begin, end);
    sink.add(id, aligned->begin_of(begin), aligned->end_of(end - 1));
  }
};

class BpeTokenizer final : public SinkTokenizer {
 public:
  explicit BpeTokenizer(const TokenizerSpec& spec)
      : model_(spec.model),
        normalizer_(spec.normalizer),
        pre_tokenizer_(spec.pre_tokenizer),
        decoder_(spec.decoder),
        joins_with_spaces_(spec.joins_with_spaces) {
    reserve_ids(spec);
    for (const auto& [token, id] : spec.model.vocab) add_token(token, id);
    std::vector<AddedToken> raw, normalized;
    for (AddedToken token : spec.added_tokens) {
      add_token(token.content, token.id);
      if (!token.normalized) {
        raw.push_back(std::move(token));
        continue;
      }
      for (const NormalizeStep& step : normalizer_) {
        if (changes_text(step, token.content))
          token.content = apply_step(step, aligned_copy(token.content, 0, Tracking::kOff)).text;
      }
      tokens_[static_cast<size_t>(token.id)] = token.content;  // so is it decoded
      normalized.push_back(std::move(token));
    }
    raw_tokens_ = AddedTokenFinder(std::move(raw));
    normalized_tokens_ = AddedTokenFinder(std::move(normalized));
    if (decoder_.size() == 1 && decoder_[0].kind == DecodeStep::Kind::kByteLevel) {
      bytes_.reserve(tokens_.size());
      for (const std::string& token : tokens_) bytes_.push_back(byte_level_bytes(token));
    }
  }

  std::string decode(std::span<const int32_t> ids) const override {
    if (!bytes_.empty()) {
      std::string bytes;
      for (const int32_t id : ids) {
        if (has_token(id)) bytes += bytes_[static_cast<size_t>(id)];
      }
      return find_invalid_utf8(bytes) ? to_valid_utf8(bytes) : bytes;
    }
    std::vector<std::string> tokens;
    for (const int32_t id : ids) {
      if (!has_token(id)) continue;
      if (joins_with_spaces_ && !tokens.empty()) tokens.emplace_back(" ");
      tokens.push_back(tokens_[static_cast<size_t>(id)]);
    }
    return run_decoder(decoder_, std::move(tokens));
  }

  std::optional<int32_t> token_to_id(std::string_view token) const override {
    const auto found = ids_.find(std::string(token));
    return found == ids_.end() ? std::nullopt : std::optional(found->second);
  }

  std::optional<std::string> id_to_token(int32_t id) const override {
    return has_token(id) ? std::optional(tokens_[static_cast<size_t>(id)]) : std::nullopt;
  }

  int64_t vocab_size() const override { return static_cast<int64_t>(tokens_.size()); }

 private:
  /// Grown step by step, tables of far-apart ids would take twice the memory.
  void reserve_ids(const TokenizerSpec& spec) {
    int32_t highest = 0;
    for (const auto& [token, id] : spec.model.vocab) highest = std::max(highest, id);
    for (const AddedToken& token : spec.added_tokens) highest = std::max(highest, token.id);
    tokens_.reserve(static_cast<size_t>(highest) + 1);
    known_.reserve(static_cast<size_t>(highest) + 1);
  }

  void add_token(const std::string& token, int32_t id) {
    const auto index = static_cast<size_t>(id);
    if (index >= tokens_.size()) {
      tokens_.resize(index + 1);
      known_.resize(index + 1, 0);
    }
    if (known_[index] && tokens_[index] != token)
      throw Error(fmt::format("added token {:?} has the id of {:?}", token, tokens_[index]));
    tokens_[index] = token;
    known_[index] = 1;
    ids_[token] = id;
  }

  bool has_token(int32_t id) const {
    return id >= 0 && static_cast<size_t>(id) < known_.size() && known_[static_cast<size_t>(id)];
  }

  void encode_into(std::string_view text, TokenSink& sink) const override {
    check_encodable(text);
    std::vector<TextPart> parts;
    raw_tokens_.split(text, parts);
    std::vector<BpeToken> scratch;
    const Stretch whole{.text = text, .at_start = true};
    for (const TextPart& part : parts) {
      if (part.id >= 0) {
        sink.add(part.id, part.begin, part.end);
      } else {
        encode_raw_part(whole.part(part.begin, part.end), scratch, sink);
      }
    }
  }

  static Tracking tracking_of(const TokenSink& sink) { return sink.ids ? Tracking::kOff : Tracking::kOn; }

  void encode_raw_part(const Stretch& part, std::vector<BpeToken>& scratch, TokenSink& sink) const {
    AlignedText changed;
    Stretch now = part;
    for (const NormalizeStep& step : normalizer_) {
      if (!changes_text(step, now.text)) continue;
      changed = apply_step(step, now.aligned ? changed : part.copy(tracking_of(sink)));
      now = part.changed(changed);
    }
    if (normalized_tokens_.empty()) return pre_tokenize(now, 0, scratch, sink);
    std::vector<TextPart> parts;
    normalized_tokens_.split(now.text, parts);
    for (const TextPart& p : parts) {
      if (p.id >= 0) {
        now.emit(p.id, p.begin, p.end, sink);
      } else {
        pre_tokenize(now.part(p.begin, p.end), 0, scratch, sink);
      }
    }
  }

  /// Hands what the steps from `depth` on make of the part to the model.
  void pre_tokenize(const Stretch& part, size_t depth, std::vector<BpeToken>& scratch, TokenSink& sink) const {
    if (part.text.empty()) return;
    if (depth == pre_tokenizer_.size()) return encode_piece(part, scratch, sink);
    const PreStep& step = pre_tokenizer_[depth];
    const auto change = [&](NormalizeStep how) {
      const AlignedText changed = apply_step(how, part.copy(tracking_of(sink)));
      pre_tokenize(part.changed(changed), depth + 1, scratch, sink);
    };
    switch (step.kind) {
      case PreStep::Kind::kRule:
        return cut(part, depth, scratch, sink);
      case PreStep::Kind::kPrefix:
        if (part.text.starts_with(step.text) || (step.where == PreStep::Where::kFirst && !part.at_start)) break;
        return change({NormalizeStep::Kind::kPrepend, "", step.text});
      case PreStep::Kind::kReplace:
        if (part.text.find(' ') == std::string_view::npos) break;
        return change({NormalizeStep::Kind::kReplace, " ", step.text});
      case PreStep::Kind::kLiteral:
      case PreStep::Kind::kWhitespace:
      case PreStep::Kind::kSpaceSplit:
        for (const PieceRange& piece : pieces_of(step, part.text))
          pre_tokenize(part.part(piece.begin, piece.end), depth + 1, scratch, sink);
        return;
    }
    pre_tokenize(part, depth + 1, scratch, sink);
  }

  void cut(const Stretch& part, size_t depth, std::vector<BpeToken>& scratch, TokenSink& sink) const {
    const char *begin = part.text.data(), *end = begin + part.text.size();
    for (const char* p = begin; p < end;) {
      const char* next = piece_end(pre_tokenizer_[depth].rule, p, end);
      pre_tokenize(part.part(static_cast<size_t>(p - begin), static_cast<size_t>(next - begin)), depth + 1, scratch,
                   sink);
      p = next;
    }
  }

  void encode_piece(Stretch piece, std::vector<BpeToken>& scratch, TokenSink& sink) const {
    const BpeCuts* cuts = model_.cuts();
    while (!piece.text.empty()) {
      const size_t end = cuts ? cuts->piece_end(piece.text) : piece.text.size();
      scratch.clear();
      model_.tokenize(piece.text.substr(0, end), scratch);
      for (const BpeToken& token : scratch) piece.emit(token.id, token.begin, token.end, sink);
      piece = piece.part(end, piece.text.size());
    }
  }

  BpeModel model_;
  std::vector<NormalizeStep> normalizer_;
  AddedTokenFinder raw_tokens_, normalized_tokens_;
  std::vector<PreStep> pre_tokenizer_;
  std::vector<DecodeStep> decoder_;
  bool joins_with_spaces_;
  std::vector<std::string> tokens_;  // by id; empty where known_ is 0
  std::vector<uint8_t> known_;
  std::vector<std::string> bytes_;  // by id, when the decoder is ByteLevel alone
  std::unordered_map<std::string, int32_t> ids_;
};

}  // namespace

void check_encodable(std::string_view text) {
  if (text.size() >= std::numeric_limits<uint32_t>::max() / 2)
    throw DataError(fmt::format("expected less than 2 GiB of text, found {} bytes", text.size()));
  if (const auto broken = find_invalid_utf8(text)) {
    throw DataError(fmt::format("expected UTF-8, found byte 0x{:02X} at offset {}",
                                static_cast<unsigned char>(text[*broken]), *broken));
  }
}

std::unique_ptr<Tokenizer> Tokenizer::load_tokenizer(const std::filesystem::path& model_folder) {
  const std::filesystem::path file = model_folder / "tokenizer.json";
  if (!std::filesystem::exists(file)) {
    if (std::filesystem::is_regular_file(model_folder / "tokenizer.model"))
      return load_sentencepiece_tokenizer(model_folder);
    throw CheckpointError(
        fmt::format("{}: expected a tokenizer, found neither tokenizer.json nor tokenizer.model ---> point --model at "
                    "a folder that "
                    "holds one of them",
                    model_folder.string()));
  }
  const TokenizerSpec spec = read_tokenizer_spec(file);
  try {
    return std::make_unique<BpeTokenizer>(spec);
  } catch (const Error& e) {
    throw CheckpointError(fmt::format("{}: {}", file.string(), one_line(e.what())));
  }
}

void check_fits_model(const Tokenizer& tokenizer, int64_t model_vocab_size, const std::filesystem::path& model_folder) {
  if (tokenizer.vocab_size() <= model_vocab_size) return;
  throw CheckpointError(
      fmt::format("{}: expected a tokenizer of at most {} tokens (the model's vocab_size), found {} ---> put in the "
                  "model's own tokenizer",
                  model_folder.string(), model_vocab_size, tokenizer.vocab_size()));
}

}  // namespace qtune
