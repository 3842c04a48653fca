#include "qtune/text/tokenize_sample.h"

#include <fmt/format.h>

#include <algorithm>

#include "qtune/base/error.h"
#include "truncate.h"

namespace qtune {
namespace {

/// A sample with what truncation must know about its tokens.
struct Draft {
  TokenizedSample sample;
  std::vector<TokenTurn> turns;
  std::vector<uint8_t> is_content;
  bool start_lost = false;
};

/// Index of the first token that begins at or behind byte `offset`, looking from token `from` on.
size_t token_at(const std::vector<TokenSpan>& tokens, size_t offset, size_t from) {
  const auto found = std::partition_point(tokens.begin() + static_cast<std::ptrdiff_t>(from), tokens.end(),
                                          [&](const TokenSpan& t) { return t.begin < offset; });
  return static_cast<size_t>(found - tokens.begin());
}

Draft draft_conversation(const Conversation& conversation, const Tokenizer& tokenizer,
                         const ChatTemplate& chat_template, const TokenizeOptions& options) {
  const RenderedText rendered = chat_template.render(conversation);
  std::vector<TokenSpan> tokens;
  try {
    tokens = tokenizer.encode_with_offsets(rendered.text);
  } catch (const DataError& e) {
    throw DataError(fmt::format("{}: {}", conversation.id.place(), e.what()));
  }
  Draft draft;
  TokenizedSample& sample = draft.sample;
  sample.id = conversation.id;
  for (const TokenSpan& t : tokens) sample.input_ids.push_back(t.id);
  sample.trained.assign(tokens.size(), options.prompt == PromptTraining::kAll);
  sample.end_of_turn.assign(tokens.size(), 0);
  draft.is_content.assign(tokens.size(), 0);
  for (const TextRange& range : rendered.context) {
    const size_t begin = token_at(tokens, range.begin, 0);
    for (size_t i = begin; i < tokens.size() && tokens[i].begin < range.end; ++i) draft.is_content[i] = 1;
  }
  size_t at = 0;
  for (const AssistantTurn& turn : rendered.turns) {
    const size_t answer = token_at(tokens, turn.begin, at), content_end = token_at(tokens, turn.end_of_turn, answer);
    const size_t end = token_at(tokens, turn.end, content_end), behind = token_at(tokens, turn.behind, end);
    const bool last = &turn == &rendered.turns.back();
    const bool train = turn.train && (last || options.history == HistoryTraining::kAll);
    for (size_t i = answer; i < end; ++i) {
      sample.trained[i] = train;
      sample.end_of_turn[i] = train && i >= content_end;
    }
    const bool has_content = turn.begin < turn.end_of_turn;
    draft.start_lost |= train && has_content && answer > at && tokens[answer - 1].end > turn.begin;
    draft.turns.push_back({at, answer, content_end, behind});
    at = behind;
  }
  if (at < tokens.size()) draft.turns.push_back({at, tokens.size(), tokens.size(), tokens.size()});
  return draft;
}

Draft draft_pre_tokenized(const PreTokenized& record, const TokenizeOptions& options) {
  const size_t n = record.input_ids.size();
  if (record.labels.size() != n)
    throw DataError(fmt::format("{}: expected {} labels, found {}", record.id.place(), n, record.labels.size()));
  Draft draft;
  TokenizedSample& sample = draft.sample;
  sample.id = record.id;
  sample.input_ids = record.input_ids;
  sample.trained.resize(n);
  sample.end_of_turn.assign(n, 0);
  draft.is_content.assign(n, 1);
  for (size_t i = 0; i < n; ++i) sample.trained[i] = record.labels[i] != kIgnoreLabel;
  for (size_t begin = 0; begin < n;) {
    size_t answer = begin;
    while (answer < n && !sample.trained[answer]) ++answer;
    size_t end = answer;
    while (end < n && sample.trained[end]) ++end;
    const auto& eos = options.eos_ids;
    const bool ends_turn = end > answer && std::find(eos.begin(), eos.end(), sample.input_ids[end - 1]) != eos.end();
    if (ends_turn) sample.end_of_turn[end - 1] = 1;
    draft.turns.push_back({begin, answer, end - (ends_turn ? 1 : 0), end});
    begin = end;
  }
  return draft;
}

template <class T>
void keep_only(std::vector<T>& values, const std::vector<uint8_t>& kept) {
  size_t size = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (kept[i]) values[size++] = values[i];
  }
  values.resize(size);
}

void truncate(Draft& draft, const TokenizeOptions& options) {
  const TurnOrder order =
      options.history == HistoryTraining::kLastAnswer ? TurnOrder::kLastToFirst : TurnOrder::kFirstToLast;
  const auto kept =
      kept_after_truncation(draft.turns, draft.is_content, static_cast<size_t>(options.cutoff_len), order);
  keep_only(draft.sample.input_ids, kept);
  keep_only(draft.sample.trained, kept);
  keep_only(draft.sample.end_of_turn, kept);
}

}  // namespace

TokenizeResult tokenize_sample(const Record& record, const Tokenizer* tokenizer, const ChatTemplate* chat_template,
                               const TokenizeOptions& options) {
  Draft draft;
  if (const auto* conversation = std::get_if<Conversation>(&record)) {
    if (!tokenizer || !chat_template) {
      throw ConfigError(fmt::format(
          "{}: expected a tokenizer and a template for a conversation, found none ---> use pre-tokenized data, "
          "or a model folder that holds them",
          conversation->id.place()));
    }
    draft = draft_conversation(*conversation, *tokenizer, *chat_template, options);
  } else {
    draft = draft_pre_tokenized(std::get<PreTokenized>(record), options);
  }
  TokenizeResult result;
  result.start_lost = draft.start_lost && options.prompt == PromptTraining::kNone;
  result.full_length = draft.sample.num_tokens();
  if (result.full_length > options.cutoff_len) {
    if (options.excess == ExcessLength::kRaise) {
      throw DataError(
          fmt::format("{}: expected at most {} tokens (cutoff_len), found {} ---> raise cutoff_len, or set "
                      "excess_length_strategy to truncate or drop",
                      draft.sample.id.place(), options.cutoff_len, result.full_length));
    }
    if (options.excess == ExcessLength::kDrop) {
      result.status = SampleStatus::kTooLong;
      result.sample = std::move(draft.sample);
      return result;
    }
    truncate(draft, options);
    result.truncated = true;
    result.status = SampleStatus::kTruncated;
  }
  result.sample = std::move(draft.sample);
  if (trainable_positions(result.sample).empty()) result.status = SampleStatus::kNothingTrained;
  return result;
}

}  // namespace qtune
