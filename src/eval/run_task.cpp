#include "qtune/eval/run_task.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "item_file.h"
#include "item_progress.h"
#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/base/stop_signals.h"
#include "qtune/eval/generate.h"
#include "qtune/eval/likelihood.h"
#include "qtune/jinja/python_text.h"
#include "results.h"

namespace qtune {
namespace {

using Json = nlohmann::ordered_json;

std::vector<int32_t> encode(const EvalTexts& texts, std::string_view text) {
  std::vector<int32_t> ids = texts.tokenizer->encode(text);
  if (texts.text_start && (ids.empty() || ids[0] != *texts.text_start)) ids.insert(ids.begin(), *texts.text_start);
  return ids;
}

/// The items of one task that are still to be answered.
class TaskRun {
 public:
  TaskRun(Model& model, const EvalTexts& texts, const PreparedTask& task, const EvalSettings& settings)
      : model_(model),
        texts_(texts),
        task_(task),
        batch_size_(settings.batch_size),
        file_(settings.out, task.task.name, task.settings),
        pending_(missing()),
        progress_(task.task.name, task.items.size() - pending_.size(), task.items.size()) {}

  void answer() {
    switch (task_.task.kind) {
      case TaskKind::kRanking:
        return rank_choices();
      case TaskKind::kWholeTextRanking:
        return rank_texts();
      case TaskKind::kGeneration:
        return generate_answers();
    }
  }

  const std::map<size_t, Json>& metrics() const { return file_.metrics(); }

 private:
  std::vector<size_t> missing() const {
    std::vector<size_t> items;
    for (size_t i = 0; i < task_.items.size(); ++i) {
      if (!file_.has(i)) items.push_back(i);
    }
    return items;
  }

  Json line_of(size_t i) const {
    Json line = {{"doc_id", i}, {"place", task_.items[i].id.place()}, {"prompt", task_.prompts[i]}};
    if (const auto cut = uncut_tokens_.find(i); cut != uncut_tokens_.end()) {
      line["cut"] = true;
      line["uncut_tokens"] = cut->second;
    }
    return line;
  }

  [[noreturn]] void refuse(size_t i, const std::string& expected_and_found) const {
    throw DataError(fmt::format("{}: {}: {}", task_.items[i].id.place(), task_.task.name, expected_and_found));
  }

  void require_prompt(size_t i, size_t num_tokens) const {
    if (num_tokens > 0) return;
    refuse(i, "expected a prompt of at least one token, found none ---> check --prompt and the chat template");
  }

  /// Remembers that item `i`, of `size` tokens, loses its start.
  void note_cut(size_t i, size_t size) { uncut_tokens_[i] = std::max(uncut_tokens_[i], size); }

  void warn_of_cuts() const {
    if (uncut_tokens_.empty()) return;
    spdlog::warn(
        "{}: {} of {} prompts are too long for the model's {} positions and lose their start ---> fewer shots "
        "(--num-fewshot){}",
        task_.task.name, uncut_tokens_.size(), pending_.size(), texts_.max_positions,
        task_.task.kind == TaskKind::kGeneration ? ", or a smaller --max-new-tokens" : "");
  }

  void write(Json line, const AnswerScore& score) {
    line["extracted"] = score.extracted;
    Json metrics = Json::object();
    for (const auto& [name, value] : score.metrics) metrics[name] = value;
    line["metrics"] = metrics;
    file_.add(line);
    progress_.add_one();
    throw_if_stopped();
  }

  ContinuationRequest request_of(size_t i) {
    ContinuationRequest request;
    for (const std::string& choice : task_.items[i].choices) {
      EncodedPair pair = encode_pair(texts_, task_.prompts[i], task_.before_answer + choice);
      request.context = std::move(pair.context);
      request.continuations.push_back(std::move(pair.continuation));
    }
    check_room(i, request);
    return request;
  }

  /// The context's start gives way to the longest choice, of which all tokens but the last one are read.
  void check_room(size_t i, const ContinuationRequest& request) {
    require_prompt(i, request.context.size());
    size_t longest = 0;
    for (const auto& ids : request.continuations) longest = std::max(longest, ids.size());
    const auto positions = static_cast<size_t>(texts_.max_positions);
    if (longest > positions) {
      refuse(i,
             fmt::format("expected choices of at most the model's {} positions, found one of {} tokens ---> leave the "
                         "question out, or take another model",
                         positions, longest));
    }
    if (request.context.size() + longest > positions + 1) note_cut(i, request.context.size());
  }

  void rank_choices() {
    std::vector<ContinuationRequest> requests;
    for (const size_t i : pending_) requests.push_back(request_of(i));
    warn_of_cuts();
    continuation_logprobs(model_, requests, batch_size_, [&](size_t k, const std::vector<double>& logprobs) {
      const TaskItem& item = task_.items[pending_[k]];
      Json line = line_of(pending_[k]);
      line["choices"] = item.choices;
      line["gold"] = item.gold_choice;
      line["logprobs"] = logprobs;
      line["num_tokens"] = Json::array();
      for (const auto& ids : requests[k].continuations) line["num_tokens"].push_back(ids.size());
      write(std::move(line), score_ranking(item, logprobs));
    });
  }

  /// Of texts too long for the model the start is cut away, as OpenCompass' tokenizers do.
  std::vector<int32_t> whole_text_ids(size_t i, const std::string& choice) {
    std::vector<int32_t> ids = encode(texts_, task_.prompts[i] + task_.before_answer + choice);
    if (ids.size() < 2) refuse(i, "expected a text of at least 2 tokens, found fewer ---> check --prompt");
    if (static_cast<int64_t>(ids.size()) > texts_.max_positions) {
      note_cut(i, ids.size());
      ids.erase(ids.begin(), ids.end() - texts_.max_positions);
    }
    return ids;
  }

  void rank_texts() {
    std::stable_sort(pending_.begin(), pending_.end(),
                     [&](size_t a, size_t b) { return task_.prompts[a].size() > task_.prompts[b].size(); });
    for (size_t next = 0; next < pending_.size();) {
      const size_t first = next;
      std::vector<std::vector<int32_t>> ids;
      for (; next < pending_.size() && (ids.empty() || static_cast<int64_t>(ids.size()) < batch_size_); ++next) {
        for (const std::string& choice : task_.items[pending_[next]].choices) {
          ids.push_back(whole_text_ids(pending_[next], choice));
        }
      }
      const std::vector<double> mean_nll = whole_text_nll(model_, ids);
      auto of_item = mean_nll.begin();
      for (size_t k = first; k < next; ++k) {
        const auto num_choices = static_cast<int64_t>(task_.items[pending_[k]].choices.size());
        write_ranked_texts(pending_[k], {of_item, of_item + num_choices});
        of_item += num_choices;
      }
    }
    warn_of_cuts();
  }

  void write_ranked_texts(size_t i, const std::vector<double>& mean_nll) {
    const TaskItem& item = task_.items[i];
    Json line = line_of(i);
    line["choices"] = item.choices;
    line["gold"] = item.gold_choice;
    line["mean_nll"] = mean_nll;
    write(std::move(line), score_whole_texts(item, mean_nll));
  }

  /// The prompt's tokens; one too long for the model loses its start, as in lm-eval.
  std::vector<int32_t> prompt_ids(size_t i) {
    std::vector<int32_t> ids = encode(texts_, task_.prompts[i]);
    require_prompt(i, ids.size());
    const int64_t room = texts_.max_positions - task_.task.max_new_tokens;
    if (room < 1) {
      throw ConfigError(fmt::format("--max-new-tokens: expected fewer than the model's {} positions, found {}",
                                    texts_.max_positions, task_.task.max_new_tokens));
    }
    if (static_cast<int64_t>(ids.size()) > room) {
      note_cut(i, ids.size());
      ids.erase(ids.begin(), ids.end() - room);
    }
    return ids;
  }

  GenerateOptions generate_options() const {
    GenerateOptions options{.max_new_tokens = task_.task.max_new_tokens, .stop_ids = texts_.stop_ids};
    // A stop text that is a special token gives no text that could be looked for.
    for (const std::string& text : task_.task.stop_texts) {
      const auto id = texts_.tokenizer->token_to_id(text);
      if (id && texts_.stream.silent_ids.contains(*id)) options.stop_ids.push_back(*id);
    }
    return options;
  }

  void generate_answers() {
    std::vector<std::vector<int32_t>> prompts;
    for (const size_t i : pending_) prompts.push_back(prompt_ids(i));
    warn_of_cuts();
    std::vector<size_t> order(pending_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return prompts[a].size() > prompts[b].size(); });
    std::vector<std::vector<int32_t>> sorted;
    for (const size_t k : order) sorted.push_back(std::move(prompts[k]));
    if (sorted.empty()) return;
    TextStream::Options stream_options = texts_.stream;
    stream_options.stop_texts = task_.task.stop_texts;
    std::map<size_t, TextStream> streams;
    const auto stream = [&](size_t k) -> TextStream& {
      return streams.try_emplace(k, *texts_.tokenizer, stream_options).first->second;
    };
    generate_batch(model_, sorted, generate_options(),
                   {.batch_size = batch_size_,
                    .on_token =
                        [&](size_t k, int32_t id) {
                          throw_if_stopped();
                          stream(k).add(id);
                          return !stream(k).stopped();
                        },
                    .on_finished =
                        [&](size_t k, const Generation& g) {
                          stream(k).finish();
                          write_answer(pending_[order[k]], sorted[k].size(), g, stream(k));
                          streams.erase(k);
                        }});
  }

  void write_answer(size_t i, size_t prompt_tokens, const Generation& generation, const TextStream& stream) {
    const TaskItem& item = task_.items[i];
    Json line = line_of(i);
    line["prompt_tokens"] = prompt_tokens;
    line["raw"] = stream.text();
    line["tokens"] = generation.ids;
    line["finish_reason"] = stream.stopped() ? "stop" : finish_reason_name(generation.reason);
    line["gold"] = item.golds;
    write(std::move(line), task_.task.score(item, stream.text()));
  }

  Model& model_;
  const EvalTexts& texts_;
  const PreparedTask& task_;
  int64_t batch_size_;
  ItemFile file_;
  std::vector<size_t> pending_;
  std::map<size_t, size_t> uncut_tokens_;  // of each item that is cut: its tokens before
  ItemProgress progress_;
};

}  // namespace

EncodedPair encode_pair(const EvalTexts& texts, const std::string& context, const std::string& continuation) {
  const size_t kept = context.size() - space_suffix(context);
  EncodedPair pair{.context = encode(texts, context.substr(0, kept)),
                   .continuation = encode(texts, context + continuation)};
  const size_t size = std::min(pair.context.size(), pair.continuation.size());
  pair.continuation.erase(pair.continuation.begin(), pair.continuation.begin() + static_cast<int64_t>(size));
  if (pair.continuation.empty()) {
    throw DataError(
        fmt::format("likelihood of \"{}\": expected tokens of its own behind the prompt, found none", continuation));
  }
  return pair;
}

std::vector<MetricResult> run_task(Model& model, const EvalTexts& texts, const PreparedTask& task,
                                   const EvalSettings& settings) {
  TaskRun run(model, texts, task, settings);
  run.answer();
  return mean_metrics(task, run.metrics());
}

}  // namespace qtune
