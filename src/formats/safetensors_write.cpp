#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "qtune/base/error.h"
#include "qtune/base/temporary_name.h"
#include "qtune/formats/safetensors.h"
#include "quote_name.h"
#include "safetensors_header.h"

namespace qtune {
namespace {

constexpr const char *kSingleFile = "model.safetensors", *kIndexFile = "model.safetensors.index.json";

SafetensorsHeader lay_out(const std::filesystem::path& path, const std::vector<TensorToWrite>& tensors) {
  SafetensorsHeader header;
  uint64_t position = 0;
  for (const TensorToWrite& tensor : tensors) {
    if (!header.entries.empty() && header.entries.back().name == tensor.name) {
      throw Error(fmt::format("{}: two tensors named {} to write", path.string(), quote_name(tensor.name)));
    }
    const uint64_t end = position + tensor.num_bytes();
    header.entries.push_back(
        {.name = tensor.name, .dtype = tensor.dtype, .shape = tensor.shape, .begin = position, .end = end});
    position = end;
  }
  return header;
}

void write_values(AtomicFileWriter& file, const TensorToWrite& tensor, const std::filesystem::path& path) {
  const uint64_t expected = tensor.num_bytes();
  uint64_t found = 0;
  const ByteSink sink = [&](std::span<const std::byte> piece) {
    found += piece.size();
    file.write(piece.data(), piece.size());
  };
  if (const auto* bytes = std::get_if<std::span<const std::byte>>(&tensor.values)) {
    sink(*bytes);
  } else {
    std::get<std::function<void(const ByteSink&)>>(tensor.values)(sink);
  }
  if (found != expected) {
    throw Error(fmt::format("{}: tensor {}: expected {} bytes for shape {}, found {}", path.string(),
                            quote_name(tensor.name), expected, shape_text(tensor.shape), found));
  }
}

/// Consecutive tensors, each group at most `shard_bytes` or a single tensor.
std::vector<std::vector<TensorToWrite>> make_shards(std::vector<TensorToWrite> tensors, uint64_t shard_bytes) {
  std::vector<std::vector<TensorToWrite>> shards;
  uint64_t filled = 0;
  for (TensorToWrite& tensor : tensors) {
    const uint64_t num_bytes = tensor.num_bytes();
    if (shards.empty() || (shard_bytes > 0 && filled + num_bytes > shard_bytes)) {
      shards.emplace_back();
      filled = 0;
    }
    filled += num_bytes;
    shards.back().push_back(std::move(tensor));
  }
  return shards;
}

/// Shards that wait for the others, under names like AtomicFileWriter's: what a killed process leaves is swept with
/// them, what a failing one leaves goes here.
class WaitingShards {
 public:
  explicit WaitingShards(std::filesystem::path folder) : folder_(std::move(folder)) {}
  WaitingShards(const WaitingShards&) = delete;
  WaitingShards& operator=(const WaitingShards&) = delete;
  ~WaitingShards() {
    std::error_code ignored;
    for (const std::string& name : names_) std::filesystem::remove(waiting(name), ignored);
  }
  std::filesystem::path add(const std::string& name) {
    names_.push_back(name);
    return waiting(name);
  }
  void rename_all() {
    for (const std::string& name : names_) std::filesystem::rename(waiting(name), folder_ / name);
    names_.clear();
  }

 private:
  std::filesystem::path waiting(const std::string& name) const { return temporary_name(folder_ / name, 0); }

  std::filesystem::path folder_;
  std::vector<std::string> names_;
};

/// A reader takes model.safetensors before an index: weights of an earlier model must not stay beside the new ones.
void remove_other_weights(const std::filesystem::path& folder, const std::set<std::string, std::less<>>& written) {
  std::vector<std::filesystem::path> old;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool shard = name.starts_with("model-") && name.find("-of-") != std::string::npos;
    const bool weights = name == kSingleFile || name == kIndexFile || (shard && name.ends_with(".safetensors"));
    if (weights && !written.contains(name)) old.push_back(entry.path());
  }
  for (const std::filesystem::path& path : old) std::filesystem::remove(path);
}

}  // namespace

uint64_t TensorToWrite::num_bytes() const {
  const std::optional<int64_t> values_count = num_values(shape);
  uint64_t result = 0;
  if (!values_count || __builtin_mul_overflow(static_cast<uint64_t>(*values_count), dtype_size(dtype), &result)) {
    throw Error(fmt::format("tensor {}: shape {} has no size", quote_name(name), shape_text(shape)));
  }
  return result;
}

void remove_model_weights(const std::filesystem::path& folder) { remove_other_weights(folder, {}); }

void write_safetensors(const std::filesystem::path& path, std::vector<TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorToWrite& a, const TensorToWrite& b) {
    return a.dtype != b.dtype ? a.dtype > b.dtype : a.name < b.name;
  });
  SafetensorsHeader header = lay_out(path, tensors);
  header.metadata = metadata;
  const std::string text = make_safetensors_header(header);
  const uint64_t num_bytes = text.size();

  AtomicFileWriter file(path);
  file.write(&num_bytes, sizeof num_bytes);
  file.write(text);
  for (const TensorToWrite& tensor : tensors) write_values(file, tensor, path);
  file.commit();
}

void write_model_weights(const std::filesystem::path& folder, std::vector<TensorToWrite> tensors,
                         uint64_t shard_bytes) {
  std::vector<std::vector<TensorToWrite>> shards = make_shards(std::move(tensors), shard_bytes);
  if (shards.size() <= 1) {
    write_safetensors(folder / kSingleFile, shards.empty() ? std::vector<TensorToWrite>{} : std::move(shards[0]));
    remove_other_weights(folder, {kSingleFile});
    return;
  }
  nlohmann::ordered_json index = {{"metadata", {{"total_size", 0}}}, {"weight_map", nlohmann::json::object()}};
  uint64_t total = 0;
  std::map<std::string, std::string> weight_map;
  WaitingShards waiting(folder);
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    for (const TensorToWrite& tensor : shards[i]) {
      total += tensor.num_bytes();
      if (!weight_map.emplace(tensor.name, name).second) {
        throw Error(fmt::format("{}: two tensors named {} to write", folder.string(), quote_name(tensor.name)));
      }
    }
    // Aside, until all are there: a save that fails half-way leaves an earlier model as it was.
    write_safetensors(waiting.add(name), std::move(shards[i]));
  }
  index["metadata"]["total_size"] = total;
  index["weight_map"] = nlohmann::json(weight_map);
  std::set<std::string, std::less<>> written = {kIndexFile};
  for (const auto& [tensor, name] : weight_map) written.insert(name);
  // Without an index a reader finds no model, rather than shards of two.
  std::filesystem::remove(folder / kIndexFile);
  waiting.rename_all();
  write_file_atomic(folder / kIndexFile, index.dump(2) + "\n");
  remove_other_weights(folder, written);
}

}  // namespace qtune
