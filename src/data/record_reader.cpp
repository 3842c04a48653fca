#include "qtune/data/record_reader.h"

#include <fmt/format.h>

#include <filesystem>

#include "convert_record.h"
#include "qtune/base/log.h"
#include "record_source.h"

namespace qtune {
namespace {

/// The files of a dataset as one stream of records, good and bad.
class DatasetReader : public RecordReader {
 public:
  explicit DatasetReader(const DatasetSpec& spec) : spec_(spec), files_(data_files(spec)), converter_(spec) {
    open_next_file();
  }

  std::optional<Record> next() override {
    while (!ended_ && !enough()) {
      try {
        if (!advance()) break;
        source_->parse(json_);
        Record record = converter_.convert(json_, files_[num_opened_ - 1]);
        ++num_read_;
        return record;  // also behind a bad one: what comes after reading may find more faults to name
      } catch (const BadRecord& e) {
        note_bad(e);
        if (raising_ && num_read_ == 0 && num_bad_ >= kMaxNamedBadRecords) break;  // not this kind of file at all
      }
    }
    if (!ended_) end();
    return std::nullopt;
  }

  int64_t num_skipped() const override { return num_bad_; }

 private:
  bool enough() const { return spec_.num_samples >= 0 && num_read_ >= spec_.num_samples; }

  void open_next_file() { source_ = open_source(files_[num_opened_++], converter_.columns()); }

  /// Moves to the next record of this or the next file, or starts again where more records are asked for than there
  /// are.
  bool advance() {
    while (!source_->advance()) {
      if (num_opened_ == files_.size()) {
        const bool again = spec_.count == SampleCount::kExactly && spec_.num_samples > 0 && num_read_ > 0 && !raising_;
        if (!again) return false;
        if (num_passes_++ == 0) {
          spdlog::warn("{}: {} records, num_samples asks for {}: read again from the start", spec_.file, num_read_,
                       spec_.num_samples);
        }
        num_opened_ = 0;
      }
      open_next_file();
    }
    return true;
  }

  void note_bad(const BadRecord& error) {
    if (num_passes_ > 0) return;  // named in the first pass
    ++num_bad_;
    if (spec_.on_bad_data == OnBadData::kSkip) {
      if (num_bad_ <= kMaxNamedBadRecords) spdlog::warn("skipped {}", error.fault());
      return;
    }
    raising_ = true;
    if (num_bad_ == 1) {
      first_bad_ = error;
      return;
    }
    // A single one is named by the exception alone.
    if (num_bad_ == 2) spdlog::error("{}", first_bad_->fault());
    if (num_bad_ <= kMaxNamedBadRecords) spdlog::error("{}", error.fault());
  }

  void end() {
    ended_ = true;
    if (raising_) raise();
    if (num_bad_ > 0) {
      const int64_t unnamed = std::max<int64_t>(0, num_bad_ - kMaxNamedBadRecords);
      spdlog::warn("{}: skipped {} bad records{}, read {}", spec_.file, num_bad_,
                   unnamed > 0 ? fmt::format(" ({} of them not named)", unnamed) : "", num_read_);
    }
    if (num_read_ == 0 && spec_.num_samples != 0) {
      throw DataError(fmt::format("{}: expected at least one record, found {} ---> check the file", spec_.file,
                                  num_bad_ == 0 ? "an empty file" : "only bad ones"));
    }
  }

  [[noreturn]] void raise() const {
    if (num_bad_ == 1) throw *first_bad_;
    const bool all = num_read_ > 0 || num_bad_ < kMaxNamedBadRecords;
    throw DataError(fmt::format(
        "{}; {} {} bad records, the first {} named in the log ---> fix the lines or set "
        "on_bad_data: skip",
        first_bad_->fault(), all ? "in all" : "at least", num_bad_, std::min(num_bad_, kMaxNamedBadRecords)));
  }

  DatasetSpec spec_;
  std::vector<std::string> files_;
  size_t num_opened_ = 0;
  std::unique_ptr<RecordSource> source_;
  RecordConverter converter_;
  JsonRecord json_;
  std::optional<BadRecord> first_bad_;
  int64_t num_read_ = 0, num_bad_ = 0, num_passes_ = 0;
  bool raising_ = false, ended_ = false;
};

}  // namespace

std::unique_ptr<RecordSource> open_source(const std::string& file, const std::set<std::string>& columns) {
  if (std::filesystem::path(file).extension() == ".parquet") return open_parquet(file, columns);
  return open_json(file);
}

std::unique_ptr<RecordReader> open_records(const DatasetSpec& spec) { return std::make_unique<DatasetReader>(spec); }

}  // namespace qtune
