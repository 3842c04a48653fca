#include "qtune/text/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <unordered_map>

#include "decode.h"
#include "qtune/base/error.h"
#include "tokenizer_spec.h"
#include "unicode.h"

namespace qtune {
namespace {

/// Collects ids, and spans where they are wanted.
struct Sink {
  std::vector<int32_t>* ids = nullptr;
  std::vector<TokenSpan>* spans = nullptr;

  void add(int32_t id, size_t begin, size_t end) {
    if (ids) {
      ids->push_back(id);
    } else {
      spans->push_back({id, begin, end});
    }
  }
};

/// A stretch of text on its way, and how its bytes lead back to the original.
struct Stretch {
  std::string_view text;
  size_t base = 0;                       // of text[0] in the original, or in `aligned`
  const AlignedText* aligned = nullptr;  // null: unchanged

  Stretch part(size_t begin, size_t end) const { return {text.substr(begin, end - begin), base + begin, aligned}; }
  void emit(int32_t id, size_t begin, size_t end, Sink& sink) const {
    begin += base;
    end += base;
    if (!aligned) return sink.add(id, begin, end);
    sink.add(id, aligned->begin[begin], aligned->end[end - 1]);
  }
};

class BpeTokenizer final : public Tokenizer {
 public:
  explicit BpeTokenizer(const TokenizerSpec& spec)
      : model_(spec.model),
        normalizer_(spec.normalizer),
        splits_(spec.splits),
        prefix_space_(spec.prefix_space),
        decoder_(spec.decoder),
        joins_with_spaces_(spec.joins_with_spaces) {
    for (const auto& [token, id] : spec.model.vocab) add_token(token, id);
    std::vector<AddedToken> raw, normalized;
    for (AddedToken token : spec.added_tokens) {
      add_token(token.content, token.id);
      if (!token.normalized) {
        raw.push_back(std::move(token));
        continue;
      }
      for (const NormalizeStep& step : normalizer_) {
        if (changes_text(step, token.content)) token.content = apply_step(step, aligned_copy(token.content, 0)).text;
      }
      normalized.push_back(std::move(token));
    }
    raw_tokens_ = AddedTokenFinder(std::move(raw));
    normalized_tokens_ = AddedTokenFinder(std::move(normalized));
    if (decoder_.size() == 1 && decoder_[0].kind == DecodeStep::Kind::kByteLevel) {
      for (const std::string& token : tokens_) bytes_.push_back(byte_level_bytes(token));
    }
  }

  std::vector<int32_t> encode(std::string_view text) const override {
    std::vector<int32_t> ids;
    ids.reserve(text.size() / 4 + 8);
    Sink sink{.ids = &ids};
    encode_into(text, sink);
    return ids;
  }

  std::vector<TokenSpan> encode_with_offsets(std::string_view text) const override {
    std::vector<TokenSpan> spans;
    spans.reserve(text.size() / 4 + 8);
    Sink sink{.spans = &spans};
    encode_into(text, sink);
    return spans;
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

  void encode_into(std::string_view text, Sink& sink) const {
    if (text.size() >= std::numeric_limits<uint32_t>::max() / 2)
      throw DataError(fmt::format("expected less than 2 GiB of text, found {} bytes", text.size()));
    if (const auto broken = find_invalid_utf8(text)) {
      throw DataError(fmt::format("expected UTF-8, found byte 0x{:02X} at offset {}",
                                  static_cast<unsigned char>(text[*broken]), *broken));
    }
    std::vector<TextPart> parts;
    raw_tokens_.split(text, parts);
    std::vector<BpeToken> scratch;
    const Stretch whole{text};
    for (const TextPart& part : parts) {
      if (part.id >= 0) {
        sink.add(part.id, part.begin, part.end);
      } else {
        encode_raw_part(whole.part(part.begin, part.end), scratch, sink);
      }
    }
  }

  void encode_raw_part(const Stretch& part, std::vector<BpeToken>& scratch, Sink& sink) const {
    AlignedText changed;
    Stretch now = part;
    for (const NormalizeStep& step : normalizer_) {
      if (!changes_text(step, now.text)) continue;
      changed = apply_step(step, now.aligned ? changed : aligned_copy(part.text, part.base));
      now = {changed.text, 0, &changed};
    }
    if (normalized_tokens_.empty()) return encode_part(now, scratch, sink);
    std::vector<TextPart> parts;
    normalized_tokens_.split(now.text, parts);
    for (const TextPart& p : parts) {
      if (p.id >= 0) {
        now.emit(p.id, p.begin, p.end, sink);
      } else {
        encode_part(now.part(p.begin, p.end), scratch, sink);
      }
    }
  }

  void encode_part(const Stretch& part, std::vector<BpeToken>& scratch, Sink& sink) const {
    if (part.text.empty()) return;
    if (!prefix_space_ || part.text.front() == ' ') return split(part, 0, scratch, sink);
    AlignedText own;
    if (part.aligned) {
      own.append_slice(*part.aligned, part.base, part.base + part.text.size());
    } else {
      own = aligned_copy(part.text, part.base);
    }
    const AlignedText prefixed = apply_step({NormalizeStep::Kind::kPrepend, "", " "}, own);
    split({prefixed.text, 0, &prefixed}, 0, scratch, sink);
  }

  void split(const Stretch& part, size_t depth, std::vector<BpeToken>& scratch, Sink& sink) const {
    if (depth == splits_.size()) return encode_piece(part, scratch, sink);
    const char *begin = part.text.data(), *end = begin + part.text.size();
    for (const char* p = begin; p < end;) {
      const char* next = piece_end(splits_[depth], p, end);
      split(part.part(static_cast<size_t>(p - begin), static_cast<size_t>(next - begin)), depth + 1, scratch, sink);
      p = next;
    }
  }

  void encode_piece(const Stretch& piece, std::vector<BpeToken>& scratch, Sink& sink) const {
    scratch.clear();
    model_.tokenize(piece.text, scratch);
    for (const BpeToken& token : scratch) piece.emit(token.id, token.begin, token.end, sink);
  }

  BpeModel model_;
  std::vector<NormalizeStep> normalizer_;
  AddedTokenFinder raw_tokens_, normalized_tokens_;
  std::vector<SplitRule> splits_;
  bool prefix_space_;
  std::vector<DecodeStep> decoder_;
  bool joins_with_spaces_;
  std::vector<std::string> tokens_;  // by id; empty where known_ is 0
  std::vector<uint8_t> known_;
  std::vector<std::string> bytes_;  // by id, when the decoder is ByteLevel alone
  std::unordered_map<std::string, int32_t> ids_;
};

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::load_tokenizer(const std::filesystem::path& model_folder) {
  const std::filesystem::path file = model_folder / "tokenizer.json";
  const TokenizerSpec spec = read_tokenizer_spec(file);
  try {
    return std::make_unique<BpeTokenizer>(spec);
  } catch (const Error& e) {
    throw CheckpointError(fmt::format("{}: {}", file.string(), e.what()));
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
