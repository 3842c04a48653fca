// The text of generated tokens as they come.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "qtune/text/chat_template.h"
#include "qtune/text/tokenizer.h"

namespace qtune {

/// Turns tokens into text, piece by piece: never half a character, never what may become a stop text. Each token is
/// decoded with the few before it, so the cost of one does not grow with the text.
class TextStream {
 public:
  struct Options {
    std::set<int32_t> silent_ids;         // tokens that give no text: special ones, those that end an answer
    std::vector<std::string> stop_texts;  // the text ends before the first of these
  };

  /// `tokenizer` must outlive this.
  TextStream(const Tokenizer& tokenizer, Options options);

  /// Text that this token settles, often none.
  std::string add(int32_t id);
  /// What is still held back; for the end of an answer.
  std::string finish();

  /// A stop text has come. Nothing is added behind it.
  bool stopped() const { return stopped_; }
  /// All that add() and finish() have returned.
  const std::string& text() const { return text_; }

 private:
  std::string release(std::string_view settled, bool at_end);

  const Tokenizer& tokenizer_;
  Options options_;
  std::vector<int32_t> window_;  // the tokens of the last piece, then those whose text is not settled
  size_t num_context_ = 0;       // of the former
  std::string context_;          // their text when decoded alone
  std::string held_;             // settled, but perhaps the beginning of a stop text
  std::string text_;
  bool stopped_ = false;
};

/// The token that ends an answer in this template; nullopt where it is not one token.
std::optional<int32_t> end_of_turn_id(const ChatTemplate& chat_template, const Tokenizer& tokenizer);

}  // namespace qtune
