#include "qtune/text/sample_store.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "qtune/base/error.h"
#include "qtune/base/hash.h"
#include "qtune/base/rng.h"

// The file: the samples end to end, each its token ids (int32) and flags (a byte a token) padded to 8 bytes; the table
// of rows; the record's own ids; a JSON object with key, data files and counts; the trailer. Little-endian.

namespace qtune {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr char kMagic[] = "QTSMP01";
constexpr uint8_t kTrained = 1, kEndOfTurn = 2;
constexpr size_t kAlignment = 8;
constexpr size_t kBufferBytes = size_t{1} << 20;

struct Trailer {
  uint64_t rows_begin, num_rows, ids_begin, info_begin;
  uint64_t hash;  // table_hash
  char magic[8];
};

size_t sample_bytes(size_t num_tokens) {
  const size_t bytes = num_tokens * (sizeof(int32_t) + 1);
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <class T>
std::string_view as_text(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

template <class Action>
void as_store_error(const Action& write) {
  try {
    write();
  } catch (const Error& e) {
    throw StoreWriteError(e.what());
  }
}

uint64_t table_hash(std::string_view rows, std::string_view ids_and_info) {
  return mix64(hash64(rows)) ^ hash64(ids_and_info);
}

}  // namespace

SampleCounts& SampleCounts::operator+=(const SampleCounts& other) {
  num_records += other.num_records;
  num_bad += other.num_bad;
  num_truncated += other.num_truncated;
  num_too_long += other.num_too_long;
  num_untrained += other.num_untrained;
  if (first_untrained.empty()) first_untrained = other.first_untrained;
  num_special_in_text += other.num_special_in_text;
  if (first_special_in_text.empty()) first_special_in_text = other.first_special_in_text;
  num_start_lost += other.num_start_lost;
  if (first_start_lost.empty()) first_start_lost = other.first_start_lost;
  return *this;
}

SampleStore::SampleStore(const std::filesystem::path& file) : file_(file) { read(); }

SampleStore::SampleStore(int descriptor, const std::filesystem::path& name) : file_(descriptor, name) { read(); }

void SampleStore::read() {
  const std::span<const std::byte> bytes = file_.bytes();
  const auto require = [&](bool holds) {
    if (!holds) throw Error(fmt::format("{}: expected a whole file of tokenized samples", file_.path().string()));
  };
  Trailer trailer;
  require(bytes.size() >= sizeof trailer);
  const size_t end = bytes.size() - sizeof trailer;
  std::memcpy(&trailer, bytes.data() + end, sizeof trailer);
  require(std::memcmp(trailer.magic, kMagic, sizeof kMagic) == 0);
  require(trailer.rows_begin <= trailer.ids_begin && trailer.ids_begin <= trailer.info_begin &&
          trailer.info_begin <= end && trailer.rows_begin % kAlignment == 0);
  require(trailer.num_rows <= end / sizeof(Row) &&
          trailer.ids_begin - trailer.rows_begin == trailer.num_rows * sizeof(Row));
  require(table_hash(as_text(bytes.subspan(trailer.rows_begin, trailer.ids_begin - trailer.rows_begin)),
                     as_text(bytes.subspan(trailer.ids_begin, end - trailer.ids_begin))) == trailer.hash);

  rows_ = {reinterpret_cast<const Row*>(bytes.data() + trailer.rows_begin), trailer.num_rows};
  ids_ = as_text(bytes.subspan(trailer.ids_begin, trailer.info_begin - trailer.ids_begin));
  const auto info = nlohmann::json::parse(as_text(bytes.subspan(trailer.info_begin, end - trailer.info_begin)));
  files_ = info.at("files");
  key_ = info.at("key");
  counts_ = {.num_records = info.at("num_records"),
             .num_bad = info.at("num_bad"),
             .num_truncated = info.at("num_truncated"),
             .num_too_long = info.at("num_too_long"),
             .num_untrained = info.at("num_untrained"),
             .first_untrained = info.at("first_untrained"),
             .num_special_in_text = info.at("num_special_in_text"),
             .first_special_in_text = info.at("first_special_in_text"),
             .num_start_lost = info.at("num_start_lost"),
             .first_start_lost = info.at("first_start_lost")};
}

TokenizedSample SampleStore::at(int64_t index) const {
  const Row& r = row(index);
  const std::span<const std::byte> bytes = file_.bytes();
  const size_t n = r.num_tokens, payload = n * (sizeof(int32_t) + 1);
  // The table is known to be whole; the samples, which are many, are looked at when they are used.
  const bool inside = r.begin <= bytes.size() && payload <= bytes.size() - r.begin;
  if (!inside || hash64(as_text(bytes.subspan(r.begin, payload))) != r.hash) {
    throw DataError(fmt::format("{}: sample {} is damaged ---> delete this file, it will be made again",
                                file_.path().string(), index));
  }
  TokenizedSample sample;
  sample.id = {.file = files_.at(r.file),
               .line = r.line,
               .record = std::string(ids_.substr(r.id_begin, r.id_bytes & ~kIdIsNumber)),
               .is_number = (r.id_bytes & kIdIsNumber) != 0};
  sample.input_ids.resize(n);
  if (n > 0) std::memcpy(sample.input_ids.data(), bytes.data() + r.begin, n * sizeof(int32_t));
  sample.trained.resize(n);
  sample.end_of_turn.resize(n);
  const auto* flags = reinterpret_cast<const uint8_t*>(bytes.data() + r.begin + n * sizeof(int32_t));
  for (size_t k = 0; k < n; ++k) {
    sample.trained[k] = flags[k] & kTrained;
    sample.end_of_turn[k] = (flags[k] & kEndOfTurn) / kEndOfTurn;
  }
  return sample;
}

SampleStoreWriter::SampleStoreWriter(const std::filesystem::path& target) : target_(target) {
  if (!target.empty()) {
    as_store_error([&] { file_ = std::make_unique<AtomicFileWriter>(target); });
    return;
  }
  memory_ = ::memfd_create("qtune-samples", MFD_CLOEXEC);
  if (memory_ < 0) throw StoreWriteError(fmt::format("no memory for tokenized samples: {}", std::strerror(errno)));
}

SampleStoreWriter::~SampleStoreWriter() {
  if (memory_ >= 0) ::close(memory_);
}

void SampleStoreWriter::add(const TokenizedSample& sample) {
  const size_t n = sample.input_ids.size();
  if (files_.empty() || files_.back() != sample.id.file) files_.push_back(sample.id.file);
  if (rows_.size() >= std::numeric_limits<uint32_t>::max() || n > std::numeric_limits<uint32_t>::max()) {
    throw DataError(fmt::format("{}: expected less than 2^32 samples, and tokens in each", sample.id.place()));
  }
  std::string bytes(sample_bytes(n), '\0');
  if (n > 0) std::memcpy(bytes.data(), sample.input_ids.data(), n * sizeof(int32_t));
  uint32_t num_trainable = 0;
  for (size_t k = 0; k < n; ++k) {
    bytes[n * sizeof(int32_t) + k] =
        static_cast<char>((sample.trained[k] ? kTrained : 0) | (sample.end_of_turn[k] ? kEndOfTurn : 0));
    num_trainable += k > 0 && sample.trained[k];
  }
  rows_.push_back({.begin = position_,
                   .hash = hash64(std::string_view(bytes).substr(0, n * (sizeof(int32_t) + 1))),
                   .line = sample.id.line,
                   .id_begin = ids_.size(),
                   .id_bytes = static_cast<uint32_t>(sample.id.record.size()) |
                               (sample.id.is_number ? SampleStore::kIdIsNumber : 0),
                   .file = static_cast<uint32_t>(files_.size() - 1),
                   .num_tokens = static_cast<uint32_t>(n),
                   .num_trainable = num_trainable});
  ids_ += sample.id.record;
  write(bytes.data(), bytes.size());
}

std::shared_ptr<const SampleStore> SampleStoreWriter::finish(const SampleCounts& counts, std::string_view key) {
  const nlohmann::json info = {{"files", files_},
                               {"key", key},
                               {"num_records", counts.num_records},
                               {"num_bad", counts.num_bad},
                               {"num_truncated", counts.num_truncated},
                               {"num_too_long", counts.num_too_long},
                               {"num_untrained", counts.num_untrained},
                               {"first_untrained", counts.first_untrained},
                               {"num_special_in_text", counts.num_special_in_text},
                               {"first_special_in_text", counts.first_special_in_text},
                               {"num_start_lost", counts.num_start_lost},
                               {"first_start_lost", counts.first_start_lost}};
  const std::string ids_and_info = ids_ + info.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  Trailer trailer{.rows_begin = position_, .num_rows = rows_.size()};
  trailer.ids_begin = trailer.rows_begin + rows_.size() * sizeof(SampleStore::Row);
  trailer.info_begin = trailer.ids_begin + ids_.size();
  trailer.hash = table_hash(as_text(rows_), ids_and_info);
  std::memcpy(trailer.magic, kMagic, sizeof kMagic);
  write(rows_.data(), rows_.size() * sizeof(SampleStore::Row));
  write(ids_and_info.data(), ids_and_info.size());
  write(&trailer, sizeof trailer);
  flush();
  if (!file_) return std::make_shared<const SampleStore>(memory_, "samples in memory");
  as_store_error([&] { file_->commit(); });
  return std::make_shared<const SampleStore>(target_);
}

void SampleStoreWriter::write(const void* data, size_t num_bytes) {
  position_ += num_bytes;
  if (num_bytes >= kBufferBytes) {
    flush();
    return write_through(static_cast<const char*>(data), num_bytes);
  }
  buffer_.append(static_cast<const char*>(data), num_bytes);
  if (buffer_.size() >= kBufferBytes) flush();
}

void SampleStoreWriter::flush() {
  write_through(buffer_.data(), buffer_.size());
  buffer_.clear();
}

void SampleStoreWriter::write_through(const char* data, size_t num_bytes) {
  if (file_) return as_store_error([&] { file_->write(data, num_bytes); });
  while (num_bytes > 0) {
    const ssize_t n = ::write(memory_, data, num_bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw StoreWriteError(fmt::format("no memory for tokenized samples: {}", std::strerror(errno)));
    data += n;
    num_bytes -= static_cast<size_t>(n);
  }
}

int64_t SampleSet::num_tokens() const {
  int64_t sum = 0;
  for (size_t i = 0; i < size(); ++i) sum += num_tokens(i);
  return sum;
}

int64_t SampleSet::num_trainable_tokens() const {
  int64_t sum = 0;
  for (size_t i = 0; i < size(); ++i) sum += num_trainable_tokens(i);
  return sum;
}

uint64_t SampleSet::hash() const {
  uint64_t hash = 0;
  for (size_t i = 0; i < size(); ++i) hash = mix64(hash ^ this->hash(i));
  return hash;
}

void SampleSet::append(std::shared_ptr<const SampleStore> store) {
  const auto number = static_cast<uint32_t>(stores_.size());
  places_.reserve(places_.size() + static_cast<size_t>(store->size()));
  for (int64_t i = 0; i < store->size(); ++i) places_.push_back({number, static_cast<uint32_t>(i)});
  stores_.push_back(std::move(store));
}

SampleSet SampleSet::pick(std::span<const int64_t> indices) const {
  SampleSet picked;
  picked.stores_ = stores_;
  picked.places_.reserve(indices.size());
  for (const int64_t index : indices) picked.places_.push_back(places_[static_cast<size_t>(index)]);
  return picked;
}

}  // namespace qtune
