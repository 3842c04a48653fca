#include "tokenizer_sentencepiece.h"

#include <fmt/format.h>
#include <sentencepiece_processor.h>

#include <algorithm>
#include <unordered_map>

#include "added_tokens.h"
#include "bpe_cache.h"
#include "bpe_cuts.h"
#include "qtune/base/error.h"
#include "qtune/base/one_line.h"
#include "tokenizer_added_files.h"
#include "tokenizer_model_file.h"
#include "tokenizer_sink.h"
#include "unicode.h"

namespace qtune {
namespace {

using sentencepiece::SentencePieceProcessor;
namespace fs = std::filesystem;
using Kind = SentencePiece::Kind;

/// A second message of a kind is merged into the first: this one sets normalizer_spec.add_dummy_prefix to false.
constexpr std::string_view kNoDummyPrefix{"\x1A\x02\x18\x00", 4};

std::unique_ptr<SentencePieceProcessor> load_processor(const std::string& bytes) {
  auto processor = std::make_unique<SentencePieceProcessor>();
  std::string reason;
  try {
    const auto status = processor->LoadFromSerializedProto(bytes);
    if (status.ok()) return processor;
    reason = status.ToString();
  } catch (const std::exception& e) {
    reason = e.what();
  }
  std::replace(reason.begin(), reason.end(), '\n', ' ');
  throw Error("the sentencepiece library refuses it: " + reason.substr(0, 200));
}

void check(const sentencepiece::util::Status& status) {
  if (!status.ok()) throw Error("sentencepiece: " + status.ToString());
}

/// Where a text can be cut without changing its tokens; null where pieces depend on what stands around them.
std::unique_ptr<BpeCuts> cuts_of(const SentencePieceFile& file) {
  if (file.algorithm != SentencePieceFile::Algorithm::kBpe || file.changes_characters || file.removes_extra_spaces ||
      !file.escapes_spaces || file.space_is_suffix) {
    return nullptr;
  }
  auto cuts = std::make_unique<BpeCuts>(BpeCuts::Space::kSymbol);
  for (const SentencePiece& piece : file.pieces) {
    if (piece.kind == Kind::kNormal || piece.kind == Kind::kUserDefined || piece.kind == Kind::kUnused)
      cuts->add_token(piece.text);
  }
  return cuts->finish() ? std::move(cuts) : nullptr;
}

class SentencePieceTokenizer final : public SinkTokenizer {
 public:
  SentencePieceTokenizer(const SentencePieceFile& file, const TokenizerAdditions& additions)
      : whole_(load_processor(file.bytes)),
        inner_(load_processor(file.bytes + std::string(kNoDummyPrefix))),
        dummy_prefix_(file.adds_dummy_prefix && additions.prefix_space != PrefixSpace::kNever),
        prefix_everywhere_(additions.prefix_space == PrefixSpace::kAlways),
        cuts_(cuts_of(file)) {
    for (const SentencePiece& piece : file.pieces)
      tokens_.push_back({piece.text, piece.kind == Kind::kControl ? Use::kSpecial : Use::kPiece, piece.kind});
    std::vector<AddedToken> special;
    for (const AddedToken& token : additions.tokens) {
      place(token);
      special.push_back(token);
    }
    for (size_t id = 0; id < tokens_.size(); ++id) {
      const Token& token = tokens_[id];
      if (token.use == Use::kNone) continue;
      if (!ids_.emplace(token.text, static_cast<int32_t>(id)).second)
        throw Error(fmt::format("token {:?} has two ids, one of them {}", token.text, id));
      // of equal contents the finder takes the first, which may have flags
      if (token.use == Use::kSpecial) special.push_back({.id = static_cast<int32_t>(id), .content = token.text});
    }
    finder_ = AddedTokenFinder(std::move(special));
  }

  std::string decode(std::span<const int32_t> ids) const override {
    std::string out;
    std::vector<int> run;
    bool first = true;
    const auto flush = [&] {
      if (run.empty()) return;
      std::string text;
      check((first && dummy_prefix_ ? whole_ : inner_)->Decode(run, &text));
      out += text;
      run.clear();
      first = false;
    };
    for (const int32_t id : ids) {
      if (!has_token(id)) continue;
      const Token& token = tokens_[static_cast<size_t>(id)];
      if (token.use == Use::kPiece) {
        run.push_back(id);
        continue;
      }
      flush();
      out += token.text;
      first = false;
    }
    flush();
    return out;
  }

  std::optional<int32_t> token_to_id(std::string_view token) const override {
    const auto found = ids_.find(std::string(token));
    return found == ids_.end() ? std::nullopt : std::optional(found->second);
  }

  std::optional<std::string> id_to_token(int32_t id) const override {
    return has_token(id) ? std::optional(tokens_[static_cast<size_t>(id)].text) : std::nullopt;
  }

  int64_t vocab_size() const override { return static_cast<int64_t>(tokens_.size()); }

 private:
  enum class Use { kNone, kPiece, kSpecial };
  struct Token {
    std::string text;
    Use use = Use::kNone;
    Kind kind = Kind::kUnused;  // in the model
  };

  /// A token of the files beside the model: a new one, or one of its pieces.
  void place(const AddedToken& added) {
    const auto index = static_cast<size_t>(added.id);
    if (index >= tokens_.size()) tokens_.resize(index + 1);
    Token& token = tokens_[index];
    const bool reserved = token.kind == Kind::kControl || token.kind == Kind::kUnused || token.kind == Kind::kUnknown;
    if (token.use != Use::kNone && token.text != added.content && !reserved)
      throw Error(
          fmt::format("added token {:?} has id {}, which is {:?} in the model", added.content, added.id, token.text));
    token.text = added.content;
    if (token.use == Use::kNone || reserved) token.use = Use::kSpecial;
  }

  bool has_token(int32_t id) const {
    return id >= 0 && static_cast<size_t>(id) < tokens_.size() && tokens_[static_cast<size_t>(id)].use != Use::kNone;
  }

  void encode_into(std::string_view text, TokenSink& sink) const override {
    check_encodable(text);
    std::vector<TextPart> parts;
    finder_.split(text, parts);
    std::vector<BpeToken> scratch;
    for (const TextPart& part : parts) {
      if (part.id >= 0) {
        sink.add(part.id, part.begin, part.end);
        continue;
      }
      const std::string_view stretch = text.substr(part.begin, part.end - part.begin);
      const bool prefixed = dummy_prefix_ && (prefix_everywhere_ || part.begin == 0);
      if (cuts_) {
        encode_pieces(stretch, part.begin, prefixed, scratch, sink);
      } else {
        encode_stretch(prefixed ? *whole_ : *inner_, stretch, part.begin, scratch, sink);
      }
    }
  }

  static void encode_stretch(const SentencePieceProcessor& processor, std::string_view text, size_t base,
                             std::vector<BpeToken>& scratch, TokenSink& sink) {
    if (sink.ids) {
      std::vector<int> ids;
      check(processor.Encode(text, &ids));
      sink.ids->insert(sink.ids->end(), ids.begin(), ids.end());
      return;
    }
    scratch.clear();
    append_tokens(processor, text, scratch);
    for (const BpeToken& token : scratch) sink.add(token.id, base + token.begin, base + token.end);
  }

  /// Tokens with their bytes in `text`. The library gives a character's bytes to the last of its byte tokens.
  static void append_tokens(const SentencePieceProcessor& processor, std::string_view text,
                            std::vector<BpeToken>& out) {
    sentencepiece::ImmutableSentencePieceText result;
    check(processor.Encode(text, result.mutable_proto()));
    for (size_t i = 0; i < result.pieces_size(); ++i) {
      const auto piece = result.pieces(static_cast<int>(i));
      BpeToken token{static_cast<int32_t>(piece.id()), piece.begin(), piece.end()};
      out.push_back(token);
      if (token.begin == token.end || !processor.IsByte(token.id)) continue;
      size_t first = out.size() - 1;
      while (first > 0 && out.size() - first < 4 && out[first - 1].begin == token.begin &&
             out[first - 1].end == token.begin && processor.IsByte(out[first - 1].id)) {
        --first;
      }
      const bool unchanged = token.end - token.begin == out.size() - first;
      for (uint32_t k = 0; first + k < out.size(); ++k) {
        out[first + k].begin = unchanged ? token.begin + k : token.begin;
        out[first + k].end = unchanged ? token.begin + k + 1 : token.end;
      }
    }
  }

  /// One piece after another, most of them remembered.
  void encode_pieces(std::string_view text, size_t base, bool prefixed, std::vector<BpeToken>& scratch,
                     TokenSink& sink) const {
    std::string with_prefix;
    if (prefixed) text = with_prefix.append(1, ' ').append(text);
    // the prefix has no place in the original
    const size_t shift = prefixed ? 1 : 0;
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = begin + cuts_->piece_end(text.substr(begin));
      const std::string_view piece = text.substr(begin, end - begin);
      scratch.clear();
      if (!cache_.find(piece, scratch)) {
        append_tokens(*inner_, piece, scratch);
        cache_.keep(piece, scratch);
      }
      for (const BpeToken& token : scratch) {
        sink.add(token.id, base + std::max(begin + token.begin, shift) - shift,
                 base + std::max(begin + token.end, shift) - shift);
      }
      begin = end;
    }
  }

  // inner_ puts no space in front
  std::unique_ptr<SentencePieceProcessor> whole_, inner_;
  bool dummy_prefix_, prefix_everywhere_;
  std::unique_ptr<BpeCuts> cuts_;  // null: the library gets whole texts
  std::vector<Token> tokens_;      // by id
  std::unordered_map<std::string, int32_t> ids_;
  AddedTokenFinder finder_;
  PieceCache cache_;
};

}  // namespace

std::unique_ptr<Tokenizer> load_sentencepiece_tokenizer(const fs::path& model_folder) {
  const fs::path file = model_folder / "tokenizer.model";
  const SentencePieceFile content = read_sentencepiece_file(file);
  const TokenizerAdditions additions = read_tokenizer_additions(model_folder, content.pieces.size());
  try {
    return std::make_unique<SentencePieceTokenizer>(content, additions);
  } catch (const Error& e) {
    throw CheckpointError(fmt::format("{}: {}", file.string(), one_line(e.what())));
  }
}

}  // namespace qtune
