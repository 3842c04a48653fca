#include "tokenize_dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <future>
#include <thread>

#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/data/record_reader.h"
#include "qtune/text/special_ids.h"
#include "tokenizing_progress.h"

namespace qtune {
namespace {

constexpr size_t kRecordsAtOnce = 2048;
constexpr size_t kBytesAtOnce = size_t{8} << 20;

struct Outcome {
  TokenizeResult result;
  std::exception_ptr error;
  bool skippable = false;  // the error is one of the record's content
  bool special_in_text = false;
};

size_t size_in_memory(const Record& record) {
  size_t bytes = sizeof record;
  if (const auto* conversation = std::get_if<Conversation>(&record)) {
    for (const Message& message : conversation->messages) bytes += sizeof message + message.content.size();
  } else {
    bytes += std::get<PreTokenized>(record).input_ids.size() * 2 * sizeof(int32_t);
  }
  return bytes;
}

/// What finds the special tokens that a message may hold as text.
AddedTokenFinder special_token_finder(const std::filesystem::path& model_folder, const Tokenizer& tokenizer) {
  std::vector<AddedToken> tokens;
  for (const auto& [id, text] : read_special_ids(model_folder, &tokenizer).texts)
    tokens.push_back({.id = id, .content = text});
  return AddedTokenFinder(std::move(tokens));
}

bool has_special_in_text(const Record& record, const AddedTokenFinder& special_tokens) {
  const auto* conversation = std::get_if<Conversation>(&record);
  if (conversation == nullptr || special_tokens.empty()) return false;
  std::vector<TextPart> parts;
  for (const Message& message : conversation->messages) special_tokens.split(message.content, parts);
  return std::any_of(parts.begin(), parts.end(), [](const TextPart& part) { return part.id >= 0; });
}

/// The next records, and the error that the reader ended with.
struct Batch {
  std::vector<Record> records;
  std::exception_ptr error;
};

Batch read_some(RecordReader& reader) {
  Batch batch;
  try {
    for (size_t bytes = 0; batch.records.size() < kRecordsAtOnce && bytes < kBytesAtOnce;) {
      std::optional<Record> record = reader.next();
      if (!record) break;
      bytes += size_in_memory(*record);
      batch.records.push_back(std::move(*record));
    }
  } catch (...) {
    batch.error = std::current_exception();
  }
  return batch;
}

/// Names all bad records. A single one that stops the run is named by the error itself.
class BadRecords {
 public:
  explicit BadRecords(const DatasetSpec& spec) : spec_(spec) {}

  void add(const std::exception_ptr& error) {
    ++count_;
    const std::string text = message(error);
    if (spec_.on_bad_data == OnBadData::kSkip) {
      if (count_ <= kMaxNamedBadRecords) spdlog::warn("skipped {}", text);
      return;
    }
    if (count_ == 1) {
      first_ = text;
    } else if (count_ <= kMaxNamedBadRecords) {
      if (count_ == 2) spdlog::error("{}", first_);
      spdlog::error("{}", text);
    }
  }

  /// For when another error is the one that is thrown.
  void name_the_only_one() const {
    if (count_ == 1) spdlog::error("{}", first_);
  }

  /// Throws where bad records stop the run and there was one.
  void check() const {
    if (count_ == 0 || spec_.on_bad_data == OnBadData::kSkip) return;
    if (count_ == 1) throw DataError(first_);
    throw DataError(fmt::format("{} (the first of {} bad records, all named above)", first_, count_));
  }

  int64_t count() const { return count_; }

 private:
  static std::string message(const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (const DataError& e) {
      return e.what();
    }
  }

  const DatasetSpec& spec_;
  int64_t count_ = 0;
  std::string first_;
};

class DatasetTokenizer {
 public:
  DatasetTokenizer(const DatasetSpec& spec, const LoadSamplesOptions& options, TextTools& tools,
                   const std::filesystem::path& target)
      : spec_(spec), options_(options), tools_(tools), store_(target), bad_(spec) {}

  std::shared_ptr<const SampleStore> run(const std::string& key) {
    const auto reader = open_records(spec_);
    TokenizingProgress progress(spec_.file);
    for (Batch batch = read_some(*reader); !batch.records.empty() || batch.error;) {
      // The next records are read while these are tokenized.
      std::future<Batch> next;
      if (!batch.error) next = std::async(std::launch::async, [&] { return read_some(*reader); });
      prepare_tools(batch.records);
      note_idle_options(batch.records);
      for (Outcome& outcome : tokenize_all(batch.records)) take(outcome);
      progress.update(counts_.num_records);
      if (batch.error) rethrow(batch.error);
      batch = next.get();
    }
    progress.finish();
    bad_.check();
    if (bad_.count() > 0) spdlog::warn("{}: skipped {} records that can't be tokenized", spec_.file, bad_.count());
    counts_.num_bad = bad_.count() + reader->num_skipped();
    return store_.finish(counts_, key);
  }

 private:
  /// What the reader found wrong joins what was wrong before.
  [[noreturn]] void rethrow(const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (const DataError& e) {
      if (spec_.on_bad_data == OnBadData::kSkip || bad_.count() == 0) throw;
      bad_.name_the_only_one();
      throw DataError(
          fmt::format("{}; besides, {} records that can't be tokenized, named in the log", e.what(), bad_.count()));
    }
  }

  void prepare_tools(const std::vector<Record>& records) {
    const auto is_conversation = [](const Record& record) { return std::holds_alternative<Conversation>(record); };
    if (tools_.tokenizer || std::none_of(records.begin(), records.end(), is_conversation)) return;
    auto tokenizer = Tokenizer::load_tokenizer(options_.model_folder);
    if (options_.vocab_size > 0) check_fits_model(*tokenizer, options_.vocab_size, options_.model_folder);
    tools_.chat_template = make_chat_template(options_.template_name, options_.model_folder);
    tools_.special_tokens = special_token_finder(options_.model_folder, *tokenizer);
    tools_.tokenizer = std::move(tokenizer);
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
      outcome.special_in_text = has_special_in_text(record, tools_.special_tokens);
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

  void take(const Outcome& outcome) {
    if (outcome.error) {
      if (!outcome.skippable) std::rethrow_exception(outcome.error);
      bad_.add(outcome.error);
      return;
    }
    ++counts_.num_records;
    const TokenizeResult& result = outcome.result;
    if (outcome.special_in_text && ++counts_.num_special_in_text == 1)
      counts_.first_special_in_text = result.sample.id.place();
    if (result.start_lost && ++counts_.num_start_lost == 1) counts_.first_start_lost = result.sample.id.place();
    if (result.truncated) ++counts_.num_truncated;
    if (result.status == SampleStatus::kTooLong) {
      ++counts_.num_too_long;
      return;
    }
    if (result.status == SampleStatus::kNothingTrained) {
      name_untrained(result);
      if (options_.untrained == UntrainedSamples::kLeaveOut) return;
    }
    store_.add(result.sample);
  }

  void name_untrained(const TokenizeResult& result) {
    const std::string place = result.sample.id.place();
    if (++counts_.num_untrained == 1) counts_.first_untrained = place;
    if (options_.untrained == UntrainedSamples::kKeep || counts_.num_untrained > kMaxNamedBadRecords) return;
    spdlog::warn("left out {}: no trained token{}", place,
                 result.truncated ? fmt::format(" within cutoff_len ({} tokens)", result.full_length) : "");
  }

  const DatasetSpec& spec_;
  const LoadSamplesOptions& options_;
  TextTools& tools_;
  SampleStoreWriter store_;
  BadRecords bad_;
  SampleCounts counts_;
  bool noted_idle_options_ = false;
};

}  // namespace

std::shared_ptr<const SampleStore> tokenize_dataset(const DatasetSpec& spec, const LoadSamplesOptions& options,
                                                    TextTools& tools, const std::filesystem::path& target,
                                                    const std::string& key) {
  return DatasetTokenizer(spec, options, tools, target).run(key);
}

}  // namespace qtune
