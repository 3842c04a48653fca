#include "qtune/data/record_reader.h"

#include <fmt/format.h>

#include <filesystem>

#include "convert_record.h"
#include "json_source.h"
#include "qtune/base/log.h"

namespace qtune {
namespace {

constexpr int64_t kSkipsShown = 3;

class JsonRecordReader : public RecordReader {
 public:
  explicit JsonRecordReader(const DatasetSpec& spec) : spec_(spec), source_(open_json(spec.file)), converter_(spec) {}

  std::optional<Record> next() override {
    while (!ended_) {
      if (spec_.num_samples >= 0 && num_read_ >= spec_.num_samples) break;
      try {
        if (!source_->next(json_)) break;
        Record record = converter_.convert(json_);
        ++num_read_;
        return record;
      } catch (const BadRecord& e) {
        if (spec_.on_bad_data == OnBadData::kRaise) throw;
        if (num_skipped_++ < kSkipsShown) spdlog::warn("skipped {}", e.what());
      }
    }
    if (!ended_) end();
    return std::nullopt;
  }

  int64_t num_skipped() const override { return num_skipped_; }

 private:
  void end() {
    ended_ = true;
    if (num_skipped_ > 0) {
      spdlog::warn("{}: skipped {} bad records, read {}", spec_.file, num_skipped_, num_read_);
    }
    if (num_read_ == 0 && spec_.num_samples != 0) {
      throw DataError(fmt::format("{}: expected at least one record, found {} ---> check the file", spec_.file,
                                  num_skipped_ == 0 ? "an empty file" : "only bad ones"));
    }
  }

  DatasetSpec spec_;
  std::unique_ptr<JsonSource> source_;
  RecordConverter converter_;
  JsonRecord json_;
  int64_t num_read_ = 0, num_skipped_ = 0;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<RecordReader> open_records(const DatasetSpec& spec) {
  const std::string extension = std::filesystem::path(spec.file).extension().string();
  if (extension == ".parquet" || extension == ".arrow" || extension == ".csv" || extension == ".gz") {
    throw DataError(
        fmt::format("{}: expected .jsonl or .json, found {}, which is not supported in this version ---> "
                    "convert to .jsonl",
                    spec.file, extension));
  }
  return std::make_unique<JsonRecordReader>(spec);
}

}  // namespace qtune
