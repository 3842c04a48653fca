#include "fuzz/use_tokenizer.h"

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "fuzz/promise.h"
#include "qtune/text/tokenizer.h"
#include "qtune/text/tokenizer_parts.h"

namespace qtune::fuzz {
namespace {

/// Short ones, the scripts and spaces that pre-tokenizers tell apart, and runs long enough for the slower merges.
const std::vector<std::string>& texts() {
  static const std::vector<std::string> all = {
      "",
      "a",
      "abab aba  ab\n\n\tThe answer's 3.14159, isn't it?",
      "\xC3\xA9 e\xCC\x81 \xE4\xB8\xAD\xE6\x96\x87 \xF0\x9F\x98\x80\xE2\x96\x81x \xED\x95\x9C\xE1\x84\x92\xE1\x85\xA1",
      "<|im_start|>user\nhi<|im_end|> <s>[INST] </s><unk><0x0A>",
      std::string(1500, 'a'),
      std::string(300, ' ') + "ab" + std::string(40, '\n')};
  return all;
}

void use_text(const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<int32_t> ids = tokenizer.encode(text);
  const std::vector<TokenSpan> spans = tokenizer.encode_with_offsets(text);
  check_that(ids.size() == spans.size(), "encode and encode_with_offsets give the same ids");
  for (size_t i = 0; i < ids.size(); ++i) {
    check_that(ids[i] == spans[i].id, "encode and encode_with_offsets give the same ids");
    check_that(ids[i] >= 0 && ids[i] < tokenizer.vocab_size(), "ids are below vocab_size");
    check_that(spans[i].begin <= spans[i].end && spans[i].end <= text.size(), "offsets lie in the text");
  }
  tokenizer.decode(ids);
}

}  // namespace

void use_tokenizer(const std::filesystem::path& folder) {
  const auto tokenizer = Tokenizer::load_tokenizer(folder);
  for (const std::string& text : texts()) use_text(*tokenizer, text);
  const auto vocab_size = static_cast<int32_t>(tokenizer->vocab_size());
  const std::vector<int32_t> edges = {-1, 0, 1, vocab_size - 1, vocab_size, std::numeric_limits<int32_t>::max()};
  tokenizer->decode(edges);
  for (const int32_t id : edges) {
    if (const auto token = tokenizer->id_to_token(id)) tokenizer->token_to_id(*token);
  }
  read_tokenizer_parts(folder);
}

}  // namespace qtune::fuzz
