// Record -> TokenizedSample: rendering, one tokenization of the whole text, trained flags, truncation.
#pragma once

#include <cstdint>
#include <vector>

#include "qtune/data/record.h"
#include "qtune/text/chat_template.h"
#include "qtune/text/tokenized_sample.h"
#include "qtune/text/tokenizer.h"

namespace qtune {

/// What happens to samples longer than cutoff_len.
enum class ExcessLength { kTruncate, kDrop, kRaise };

/// Which tokens of a conversation are trained besides the answers.
enum class PromptTraining { kNone, kAll };

/// Which answers of a conversation are trained.
enum class HistoryTraining { kAll, kLastAnswer };

struct TokenizeOptions {
  int64_t cutoff_len = 2048;  // >= 1, tokens
  ExcessLength excess = ExcessLength::kTruncate;
  PromptTraining prompt = PromptTraining::kNone;    // train_on_prompt
  HistoryTraining history = HistoryTraining::kAll;  // mask_history: kLastAnswer
  std::vector<int32_t> eos_ids;                     // the model's; only pre-tokenized samples need them
};

enum class SampleStatus {
  kWhole,
  kTruncated,
  kTooLong,         // left out by ExcessLength::kDrop
  kNothingTrained,  // no trainable position, or none left after truncation: it can't be trained on
};

struct TokenizeResult {
  SampleStatus status = SampleStatus::kWhole;
  TokenizedSample sample;   // for kTooLong as it was; for kNothingTrained what is left
  int64_t full_length = 0;  // tokens before truncation
  bool truncated = false;   // tokens were cut away (kTruncated, or kNothingTrained because of it)
  bool start_lost = false;  // an answer's first word shares its token with the template's text before it: not trained
};

/// Tokens of one record, and which of them are trained.
///
/// A conversation is rendered and tokenized once, as a whole. A token belongs to an answer when its first byte lies in
/// the assistant's content or in the end-of-turn token behind it. Answers are trained, unless their message says
/// `train: false` or, with kLastAnswer, they are not the last one. kAll trains every token outside of the answers too.
/// A pre-tokenized record has its own labels (the two training options do not touch it); an id of `eos_ids` that ends a
/// run of trained tokens is its end of turn.
///
/// Truncation (kTruncate) shares cutoff_len among the turns in order, or from the last turn back with kLastAnswer, by
/// LLaMA-Factory's rule. A turn is a prompt of p tokens (all that stands before the answer) and an answer of a tokens
/// (with the template's text behind it). Of the r tokens that are left, the answer gets at most
///   r               when 2a < r,
///   r - p           when 2p < r,
///   floor(r a/(p+a)) otherwise,
/// at most r less the prompt's template tokens, and at least one token before its end of turn where that fits beside
/// them; and the prompt what then remains. Unlike there, what goes is content, from its end: in the prompt the last
/// message's first, never the template's tokens; in the answer what stands before its end-of-turn token, which stays,
/// with the template's text behind it. A turn whose template tokens do not fit, or whose answer would lose all its
/// content, is left out, and so are all turns that come after it in that order. Text behind the last answer is cut at
/// its end. In a pre-tokenized record trained runs are the answers, and a prompt, whose template is not known, is cut
/// at its end.
///
/// `tokenizer` and `chat_template` may be null for pre-tokenized records.
/// Throws: DataError with the record's place: roles that do not fit the template, text that is not UTF-8, a sample
/// longer than cutoff_len under kRaise. ConfigError: a conversation without tokenizer or template.
TokenizeResult tokenize_sample(const Record& record, const Tokenizer* tokenizer, const ChatTemplate* chat_template,
                               const TokenizeOptions& options);

}  // namespace qtune
