// The files of a checkpoint that hold the optimizer's tensors: one, or with zero_stage: 1 one for each rank.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "qtune/formats/safetensors.h"
#include "qtune/optim/optimizer.h"

namespace qtune {

inline constexpr const char* kOptimizerFile = "optimizer.safetensors";
/// Before a parameter's name, as exp_avg and exp_avg_sq: its slice of the float32 masters, where those are sliced.
inline constexpr const char* kMasterTensor = "master";

/// Writes this rank's file.
void write_optimizer(const std::filesystem::path& folder, Optimizer& optimizer);

/// What of a sharded checkpoint is not there ("optimizer files 2 of 3"); empty: all is, or it has no shards.
std::string missing_shards(const std::filesystem::path& checkpoint);

/// Those in a checkpoint, by name. None: it was saved with save_only_model.
std::vector<std::filesystem::path> optimizer_files(const std::filesystem::path& checkpoint);

/// The optimizer's tensors in a checkpoint (moments, and masters where those were sliced), whole or in slices, and any
/// part of them.
class StoredState {
 public:
  explicit StoredState(const std::filesystem::path& checkpoint);

  bool has(const std::string& name) const { return slices_.contains(name); }

  /// target = the elements from `begin` on of the tensor called `name`.
  /// Throws: CheckpointError naming a tensor that is missing, or has not all of these elements in float32.
  void fill(const std::string& name, int64_t begin, const at::Tensor& target) const;

  /// The one stored tensor of a checkpoint without shards; null: it has shards.
  const TensorView* whole(const std::string& name) const { return is_sharded() ? nullptr : files_[0]->find(name); }
  bool is_sharded() const { return files_.size() != 1 || files_[0]->path().filename() != kOptimizerFile; }
  std::string place() const { return is_sharded() ? checkpoint_.string() : files_[0]->path().string(); }

 private:
  struct Slice {
    int64_t begin;
    const TensorView* view;
  };
  std::filesystem::path checkpoint_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, std::vector<Slice>> slices_;
};

}  // namespace qtune
