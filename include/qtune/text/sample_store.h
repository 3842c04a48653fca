// Tokenized samples in one flat, memory-mapped file: tokenized once, read many times, never copied whole into memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/text/tokenized_sample.h"

namespace qtune {

/// What became of the records of a dataset.
struct SampleCounts {
  int64_t num_records = 0;           // read and not bad
  int64_t num_bad = 0;               // left out by OnBadData::kSkip
  int64_t num_truncated = 0;         // cut to cutoff_len
  int64_t num_too_long = 0;          // left out by ExcessLength::kDrop
  int64_t num_untrained = 0;         // without a trained token
  std::string first_untrained = {};  // the first one's place
  int64_t num_special_in_text = 0;   // with a special token written in a message
  std::string first_special_in_text = {};
  int64_t num_start_lost = 0;  // TokenizeResult::start_lost
  std::string first_start_lost = {};

  SampleCounts& operator+=(const SampleCounts& other);
};

/// The samples of one dataset, read-only. May be shared by threads.
class SampleStore {
 public:
  /// Throws: Error naming the file, when it can't be read or is not a whole store.
  explicit SampleStore(const std::filesystem::path& file);
  /// The same from an open descriptor, which is not kept; `name` is for messages.
  SampleStore(int descriptor, const std::filesystem::path& name);

  int64_t size() const { return static_cast<int64_t>(rows_.size()); }
  /// A copy of sample `index`. Throws: DataError naming the file when its bytes are not those that were written.
  TokenizedSample at(int64_t index) const;
  int64_t num_tokens(int64_t index) const { return row(index).num_tokens; }
  /// |T(x)|.
  int64_t num_trainable_tokens(int64_t index) const { return row(index).num_trainable; }
  /// Of the token ids, and of which are trained.
  uint64_t hash(int64_t index) const { return row(index).hash; }

  const SampleCounts& counts() const { return counts_; }
  /// What the writer said the samples were made from.
  const std::string& key() const { return key_; }

 private:
  friend class SampleStoreWriter;
  static constexpr uint32_t kIdIsNumber = uint32_t{1} << 31;
  struct Row {
    uint64_t begin;  // of the token ids in the file
    uint64_t hash;   // of the token ids and flags
    int64_t line;
    uint64_t id_begin;  // of the record's own id, in the table of ids
    uint32_t id_bytes;  // with kIdIsNumber
    uint32_t file;      // its index in files_
    uint32_t num_tokens;
    uint32_t num_trainable;
  };

  void read();
  const Row& row(int64_t index) const { return rows_[static_cast<size_t>(index)]; }

  MappedFile file_;
  std::span<const Row> rows_;
  std::string_view ids_;
  std::vector<std::string> files_;  // that the samples come from
  std::string key_;
  SampleCounts counts_;
};

/// The disk, not the data, is at fault.
class StoreWriteError : public Error {
 public:
  using Error::Error;
};

/// Writes a store sample by sample; holds only its table (48 bytes a sample) in memory.
class SampleStoreWriter {
 public:
  /// Empty `target`: the store lives in memory only. Throws: StoreWriteError.
  explicit SampleStoreWriter(const std::filesystem::path& target);
  ~SampleStoreWriter();
  SampleStoreWriter(const SampleStoreWriter&) = delete;
  SampleStoreWriter& operator=(const SampleStoreWriter&) = delete;

  /// Throws: StoreWriteError naming the target (disk full, ...).
  void add(const TokenizedSample& sample);

  int64_t size() const { return static_cast<int64_t>(rows_.size()); }

  /// The whole store; `target` appears only now. Throws: StoreWriteError naming the target.
  std::shared_ptr<const SampleStore> finish(const SampleCounts& counts, std::string_view key);

 private:
  void write(const void* data, size_t num_bytes);
  void flush();
  void write_through(const char* data, size_t num_bytes);

  std::unique_ptr<AtomicFileWriter> file_;
  std::filesystem::path target_;
  int memory_ = -1;  // descriptor, when there is no target
  std::string buffer_;
  uint64_t position_ = 0;
  std::vector<SampleStore::Row> rows_;
  std::string ids_;
  std::vector<std::string> files_;
};

/// The samples of all datasets of a run, in one order.
class SampleSet {
 public:
  size_t size() const { return places_.size(); }
  bool empty() const { return places_.empty(); }
  TokenizedSample operator[](size_t index) const { return store(index).at(places_[index].index); }
  int64_t num_tokens(size_t index) const { return store(index).num_tokens(places_[index].index); }
  int64_t num_trainable_tokens(size_t index) const { return store(index).num_trainable_tokens(places_[index].index); }

  int64_t num_tokens() const;
  /// Positions in T(x), over all samples.
  int64_t num_trainable_tokens() const;
  /// Of sample `index`: which tokens there are, which are trained, which end a turn.
  uint64_t hash(size_t index) const { return store(index).hash(places_[index].index); }
  /// Equal for a sample that was picked several times, different for different ones.
  uint64_t source(size_t index) const { return uint64_t{places_[index].store} << 32 | uint64_t{places_[index].index}; }
  /// Of all samples in their order: which tokens there are, and which are trained.
  uint64_t hash() const;

  /// All samples of `store`, behind those that are there.
  void append(std::shared_ptr<const SampleStore> store);
  /// The samples at `indices`, in that order; one may come several times.
  SampleSet pick(std::span<const int64_t> indices) const;

 private:
  struct Place {
    uint32_t store, index;
  };

  const SampleStore& store(size_t index) const { return *stores_[places_[index].store]; }

  std::vector<std::shared_ptr<const SampleStore>> stores_;
  std::vector<Place> places_;
};

}  // namespace qtune
