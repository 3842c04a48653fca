// The safetensors format: 8 bytes header length (little-endian), a JSON header, then the values of all tensors end to
// end. Files come from strangers: everything the header says is checked before it is used.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "qtune/base/file.h"
#include "qtune/formats/dtype.h"

namespace qtune {

/// One stored tensor. `bytes` points into the mapped file and lives as long as it; it may lie at any alignment.
struct TensorView {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // row-major, exactly the size that dtype and shape say
};

/// One memory-mapped safetensors file.
class SafetensorsFile {
 public:
  /// Throws: CheckpointError naming the file, the tensor, what was expected and what was found: a file too short or too
  /// long for its header, a header that is not JSON of the right form, an unknown dtype, sizes that do not fit the
  /// shape, overlaps, holes, a name given twice.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }

  /// All tensors, in the order of their values in the file.
  const std::vector<TensorView>& tensors() const { return tensors_; }

  /// nullptr when there is no such tensor.
  const TensorView* find(std::string_view name) const;

  /// Throws: CheckpointError naming the file and the tensor.
  const TensorView& at(std::string_view name) const;

  /// Free text that the writing program left ("format": "pt").
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  MappedFile file_;
  std::vector<TensorView> tensors_;
  std::unordered_map<std::string_view, size_t> index_;  // keys point into tensors_
  std::map<std::string, std::string> metadata_;
};

/// Takes the next piece of a tensor's values.
using ByteSink = std::function<void(std::span<const std::byte>)>;

/// A tensor to write: its values either lie in memory or are made piece by piece while the file is written, so that
/// no second copy of a model is needed.
struct TensorToWrite {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;
  std::variant<std::span<const std::byte>, std::function<void(const ByteSink&)>> values;

  /// Bytes that dtype and shape ask for. Throws: Error naming the tensor when the shape has no size.
  uint64_t num_bytes() const;
};

/// Writes a file as the reference library lays it out (by dtype, then name), whole or not at all.
/// Throws: Error naming the path and the reason (disk full, two tensors of one name, a tensor that brought more or
/// fewer bytes than its shape has).
void write_safetensors(const std::filesystem::path& path, std::vector<TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

/// transformers' long-standing max_shard_size.
constexpr uint64_t kDefaultShardBytes = 5'000'000'000;

/// Writes `folder`/model.safetensors, or, where that would be larger than `shard_bytes`,
/// model-0000i-of-0000n.safetensors and model.safetensors.index.json. Tensors go into shards in the given order; one
/// larger than `shard_bytes` gets its own. Weights of an earlier model in the folder go when the new ones are whole: a
/// write that fails leaves them as they were, one that is killed leaves them or, for a moment, none.
/// Empty and ties: `shard_bytes` 0 means one file. Throws: as write_safetensors.
void write_model_weights(const std::filesystem::path& folder, std::vector<TensorToWrite> tensors,
                         uint64_t shard_bytes = kDefaultShardBytes);

/// Removes what write_model_weights writes.
void remove_model_weights(const std::filesystem::path& folder);

/// All weights of a model folder: model.safetensors, or the shards that model.safetensors.index.json names.
class ModelWeights {
 public:
  /// Throws: CheckpointError naming the file and what is wrong: neither file there, a shard missing or outside the
  /// folder, a tensor not in the shard that the index names, or any fault of a single file.
  explicit ModelWeights(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }

  /// In order of name.
  const std::map<std::string, const TensorView*, std::less<>>& tensors() const { return tensors_; }

  /// nullptr when there is no such tensor.
  const TensorView* find(std::string_view name) const;

 private:
  void open_shards(const std::filesystem::path& index_path);

  std::filesystem::path folder_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, const TensorView*, std::less<>> tensors_;
};

/// For a config with tied embeddings, whose files may hold a second copy of the table as lm_head.weight.
/// Throws: CheckpointError where it is no copy: readers differ in which of the two they take.
void check_tied_head(const ModelWeights& weights);

}  // namespace qtune
