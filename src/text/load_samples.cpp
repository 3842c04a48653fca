#include "qtune/text/load_samples.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <optional>
#include <thread>

#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/data/record_reader.h"

namespace qtune {
namespace {

constexpr size_t kRecordsAtOnce = 2048;
constexpr int64_t kNamesShown = 3;

/// Tokenizer and template of the model folder, read at the first conversation: pre-tokenized data needs neither.
struct TextTools {
  std::shared_ptr<const Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;
};

struct Outcome {
  TokenizeResult result;
  std::exception_ptr error;
  bool skippable = false;  // the error is one of the record's content
};

class SampleLoader {
 public:
  explicit SampleLoader(const LoadSamplesOptions& options) : options_(options) {}

  LoadedSamples run() {
    const TokenizeOptions& tokenize = options_.tokenize;
    if (options_.max_positions > 0 && tokenize.cutoff_len > options_.max_positions) {
      spdlog::warn("cutoff_len {} is above the model's {} positions", tokenize.cutoff_len, options_.max_positions);
    }
    for (const DatasetSpec& spec : options_.datasets) read_dataset(spec);
    check_untrained();
    if (loaded_.samples.empty()) {
      throw DataError(
          fmt::format("{}: expected at least one sample to be left, found none ({}) ---> check the data and "
                      "cutoff_len",
                      options_.datasets.empty() ? "dataset" : options_.datasets.front().file, loaded_.summary()));
    }
    loaded_.tokenizer = tools_.tokenizer;
    return std::move(loaded_);
  }

 private:
  void read_dataset(const DatasetSpec& spec) {
    const auto reader = open_records(spec);
    const int64_t num_bad_before = loaded_.num_bad;
    std::vector<Record> records;
    bool more = true;
    while (more) {
      records.clear();
      while (records.size() < kRecordsAtOnce && more) {
        std::optional<Record> record = reader->next();
        more = record.has_value();
        if (more) records.push_back(std::move(*record));
      }
      prepare_tools(records);
      note_idle_options(records);
      for (Outcome& outcome : tokenize_all(records)) take(outcome, spec);
    }
    const int64_t num_bad_here = loaded_.num_bad - num_bad_before;
    if (num_bad_here > 0) spdlog::warn("{}: skipped {} records that can't be tokenized", spec.file, num_bad_here);
    loaded_.num_bad += reader->num_skipped();
  }

  void prepare_tools(const std::vector<Record>& records) {
    const auto is_conversation = [](const Record& record) { return std::holds_alternative<Conversation>(record); };
    if (tools_.tokenizer || std::none_of(records.begin(), records.end(), is_conversation)) return;
    tools_.tokenizer = Tokenizer::load_tokenizer(options_.model_folder);
    tools_.chat_template = make_chat_template(options_.template_name, options_.model_folder);
    if (options_.vocab_size > 0) check_fits_model(*tools_.tokenizer, options_.vocab_size, options_.model_folder);
  }

  void note_idle_options(const std::vector<Record>& records) {
    const TokenizeOptions& tokenize = options_.tokenize;
    const bool given = tokenize.prompt != PromptTraining::kNone || tokenize.history != HistoryTraining::kAll;
    if (!given || noted_idle_options_) return;
    for (const Record& record : records) {
      if (!std::holds_alternative<PreTokenized>(record)) continue;
      spdlog::info(
          "note: {}: pre-tokenized records keep their labels; train_on_prompt and mask_history don't change them",
          id_of(record).place());
      noted_idle_options_ = true;
      return;
    }
  }

  Outcome tokenize(const Record& record) const {
    Outcome outcome;
    const ChatTemplate* chat_template = tools_.chat_template ? &*tools_.chat_template : nullptr;
    // A sample that is too long under kRaise stops the run even where bad records are skipped; so it is told apart.
    TokenizeOptions options = options_.tokenize;
    if (options.excess == ExcessLength::kRaise) options.excess = ExcessLength::kDrop;
    try {
      outcome.skippable = true;
      outcome.result = tokenize_sample(record, tools_.tokenizer.get(), chat_template, options);
      check_ids(outcome.result.sample);
      outcome.skippable = false;
      if (outcome.result.status == SampleStatus::kTooLong && options_.tokenize.excess == ExcessLength::kRaise) {
        tokenize_sample(record, tools_.tokenizer.get(), chat_template, options_.tokenize);
      }
    } catch (const DataError&) {
      outcome.error = std::current_exception();
    } catch (...) {
      outcome.skippable = false;
      outcome.error = std::current_exception();
    }
    return outcome;
  }

  void check_ids(const TokenizedSample& sample) const {
    if (options_.vocab_size == 0) return;
    for (const int32_t id : sample.input_ids) {
      if (id < options_.vocab_size) continue;
      throw DataError(
          fmt::format("{}: expected token ids below {} (the model's vocab_size), found {} ---> tokenize with the "
                      "model's own tokenizer",
                      sample.id.place(), options_.vocab_size, id));
    }
  }

  std::vector<Outcome> tokenize_all(const std::vector<Record>& records) const {
    std::vector<Outcome> outcomes(records.size());
    std::atomic<size_t> next{0};
    const auto work = [&] {
      for (size_t i; (i = next++) < records.size();) outcomes[i] = tokenize(records[i]);
    };
    const unsigned available = std::max(1U, std::thread::hardware_concurrency());
    const size_t wanted = options_.num_threads > 0 ? static_cast<size_t>(options_.num_threads) : available;
    // Short lists are not worth a thread.
    const size_t num_threads = std::min(wanted, records.size() / 16 + 1);
    std::vector<std::jthread> threads;
    for (size_t t = 1; t < num_threads; ++t) threads.emplace_back(work);
    work();
    threads.clear();
    return outcomes;
  }

  void take(Outcome& outcome, const DatasetSpec& spec) {
    if (outcome.error) {
      if (!outcome.skippable || spec.on_bad_data == OnBadData::kRaise) std::rethrow_exception(outcome.error);
      skip(outcome.error);
      return;
    }
    ++loaded_.num_records;
    TokenizeResult& result = outcome.result;
    if (result.truncated) ++loaded_.num_truncated;
    if (result.status == SampleStatus::kTooLong) {
      ++loaded_.num_too_long;
      return;
    }
    if (result.status == SampleStatus::kNothingTrained) {
      ++loaded_.num_untrained;
      if (options_.untrained == UntrainedSamples::kLeaveOut) {
        name_untrained(result);
        return;
      }
    }
    loaded_.samples.push_back(std::move(result.sample));
  }

  void skip(const std::exception_ptr& error) {
    if (num_skips_shown_++ < kNamesShown) {
      try {
        std::rethrow_exception(error);
      } catch (const DataError& e) {
        spdlog::warn("skipped {}", e.what());
      }
    }
    ++loaded_.num_bad;
  }

  void name_untrained(const TokenizeResult& result) {
    const std::string place = result.sample.id.place();
    if (first_untrained_.empty()) first_untrained_ = place;
    if (loaded_.num_untrained <= kNamesShown) {
      spdlog::warn("left out {}: no trained token{}", place,
                   result.truncated ? fmt::format(" within cutoff_len ({} tokens)", result.full_length) : "");
    }
  }

  void check_untrained() const {
    if (options_.untrained == UntrainedSamples::kKeep || loaded_.num_untrained == 0) return;
    const double fraction = static_cast<double>(loaded_.num_untrained) / static_cast<double>(loaded_.num_records);
    if (fraction <= options_.max_untrained_fraction) return;
    throw DataError(fmt::format(
        "{}: expected a trained token in at least {:.0f} % of the samples, found none in {} of {} "
        "---> raise cutoff_len, or check which turns are trained",
        first_untrained_, 100 * (1 - options_.max_untrained_fraction), loaded_.num_untrained, loaded_.num_records));
  }

  const LoadSamplesOptions& options_;
  TextTools tools_;
  LoadedSamples loaded_;
  std::string first_untrained_;
  int64_t num_skips_shown_ = 0;
  bool noted_idle_options_ = false;
};

}  // namespace

int64_t LoadedSamples::num_tokens() const {
  int64_t sum = 0;
  for (const TokenizedSample& sample : samples) sum += sample.num_tokens();
  return sum;
}

int64_t LoadedSamples::num_trainable_tokens() const {
  int64_t sum = 0;
  for (const TokenizedSample& sample : samples) {
    if (!sample.trained.empty()) sum += std::count(sample.trained.begin() + 1, sample.trained.end(), 1);
  }
  return sum;
}

std::string LoadedSamples::summary() const {
  std::string text =
      fmt::format("{} samples, {} tokens, {} of them trained", samples.size(), num_tokens(), num_trainable_tokens());
  const auto add = [&](int64_t count, const char* what) {
    if (count > 0) text += fmt::format("; {} {}", count, what);
  };
  add(num_truncated, "truncated");
  add(num_too_long, "too long and left out");
  add(num_untrained, "without a trained token");
  add(num_bad, "bad and skipped");
  return text;
}

LoadedSamples load_samples(const LoadSamplesOptions& options) { return SampleLoader(options).run(); }

}  // namespace qtune
