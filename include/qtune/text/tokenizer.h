// Tokenizers: text to token ids and back, equal to Hugging Face's tokenizers library and to sentencepiece.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qtune {

/// One token and where it comes from.
struct TokenSpan {
  int32_t id;
  size_t begin, end;  // bytes [begin, end) of the text given to encode; empty for what a normalizer put in
};

/// A tokenizer that was read from a model's folder. All const methods may be called from several threads at once.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Reads `tokenizer.json`: BPE on bytes (GPT-2, SmolLM2, Llama 3, Qwen2/3) or with byte fallback (Llama 2, Mistral).
  /// A step, model or pattern that is not known here is refused by its name, never left out. Its `truncation` and
  /// `padding` are not used, and its `post_processor` adds nothing, since encode() adds no special tokens.
  /// A folder without it: `tokenizer.model`, a sentencepiece model, with what added_tokens.json and
  /// tokenizer_config.json add to it. docs/tokenizers.md says what is known, and where the references differ.
  /// Throws: CheckpointError naming the file and what is wrong.
  static std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& model_folder);

  /// Token ids of `text`. No BOS or EOS is added; special tokens written in the text are recognised.
  /// Throws: DataError when `text` is not valid UTF-8.
  virtual std::vector<int32_t> encode(std::string_view text) const = 0;

  /// The same ids, each with its bytes in `text`. Tokens of a character that several tokens share have its inner byte
  /// borders, unless a normalizer changed it: then each has the whole range that was changed together.
  virtual std::vector<TokenSpan> encode_with_offsets(std::string_view text) const = 0;

  /// Text of `ids`, special tokens written out. Ids without a token give nothing; bytes that are not UTF-8 give U+FFFD.
  virtual std::string decode(std::span<const int32_t> ids) const = 0;

  virtual std::optional<int32_t> token_to_id(std::string_view token) const = 0;
  /// The token as the vocabulary spells it (byte-level tokens in their printable form).
  virtual std::optional<std::string> id_to_token(int32_t id) const = 0;

  /// Highest id + 1: what a model's embedding must hold at least.
  virtual int64_t vocab_size() const = 0;
};

/// Throws: CheckpointError naming the folder when the tokenizer has ids that a model of `model_vocab_size` lacks.
void check_fits_model(const Tokenizer& tokenizer, int64_t model_vocab_size, const std::filesystem::path& model_folder);

}  // namespace qtune
