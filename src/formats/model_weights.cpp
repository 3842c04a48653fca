#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "other_models.h"
#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/formats/safetensors.h"
#include "quote_name.h"

namespace qtune {
namespace {

constexpr uint64_t kMaxIndexBytes = 64 << 20;  // about half a million tensors

/// Tensor name -> file name of its shard.
std::map<std::string, std::string> read_weight_map(const std::filesystem::path& path) {
  const auto fail = [&](const std::string& fault) {
    throw CheckpointError(fmt::format("{}: {} ---> copy or download the file again", path.string(), fault));
  };
  std::error_code ignored;
  if (const uint64_t size = std::filesystem::file_size(path, ignored); !ignored && size > kMaxIndexBytes) {
    fail(fmt::format("expected an index of at most {}, found {}", format_bytes(kMaxIndexBytes), format_bytes(size)));
  }
  // What nests deeper than an index does is dropped while parsing, so that it takes no memory.
  const auto keep_shallow = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) { return depth <= 3; };
  const nlohmann::json index = nlohmann::json::parse(read_file(path), keep_shallow, /*allow_exceptions=*/false);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    fail("expected a JSON object with a \"weight_map\" object");
  }
  std::map<std::string, std::string> weight_map;
  for (const auto& [tensor, shard] : index["weight_map"].items()) {
    if (!shard.is_string()) fail(fmt::format("tensor {}: expected a file name", quote_name(tensor)));
    const std::string name = shard.get<std::string>();
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
        name.find('\0') != std::string::npos) {
      fail(
          fmt::format("tensor {}: expected a file of the same folder, found {}", quote_name(tensor), quote_name(name)));
    }
    weight_map[tensor] = name;
  }
  return weight_map;
}

}  // namespace

ModelWeights::ModelWeights(const std::filesystem::path& folder) : folder_(folder) {
  const std::filesystem::path single = folder / "model.safetensors", index = folder / "model.safetensors.index.json";
  std::error_code ignored;
  if (std::filesystem::exists(single, ignored)) {
    files_.push_back(std::make_unique<SafetensorsFile>(single));
    for (const TensorView& tensor : files_[0]->tensors()) tensors_.emplace(tensor.name, &tensor);
  } else if (std::filesystem::exists(index, ignored)) {
    open_shards(index);
  } else {
    throw CheckpointError(fmt::format("{}: expected model.safetensors or model.safetensors.index.json, {}",
                                      folder.string(),
                                      found_instead(folder, "found neither ---> give a model folder")));
  }
}

void ModelWeights::open_shards(const std::filesystem::path& index_path) {
  std::map<std::string, const SafetensorsFile*> open;
  for (const auto& [tensor, shard] : read_weight_map(index_path)) {
    const SafetensorsFile*& file = open[shard];
    if (file == nullptr) {
      std::error_code ignored;
      if (!std::filesystem::exists(folder_ / shard, ignored)) {
        throw CheckpointError(
            fmt::format("{}: expected the shard {} that {} names, found no such file ---> copy or "
                        "download it",
                        folder_.string(), quote_name(shard), index_path.filename().string()));
      }
      files_.push_back(std::make_unique<SafetensorsFile>(folder_ / shard));
      file = files_.back().get();
    }
    const TensorView* view = file->find(tensor);
    if (view == nullptr) {
      throw CheckpointError(
          fmt::format("{}: tensor {}: expected it in {}, found none of that name ---> shards and "
                      "index belong to different models; copy or download them again",
                      index_path.string(), quote_name(tensor), quote_name(shard)));
    }
    tensors_.emplace(tensor, view);
  }
  size_t num_stored = 0;
  for (const auto& file : files_) num_stored += file->tensors().size();
  if (num_stored != tensors_.size()) {
    spdlog::warn("{}: its shards hold {} tensors that it does not list; they are not read", index_path.string(),
                 num_stored - tensors_.size());
  }
}

const TensorView* ModelWeights::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : found->second;
}

void check_tied_head(const ModelWeights& weights) {
  const TensorView *head = weights.find("lm_head.weight"), *table = weights.find("model.embed_tokens.weight");
  if (head == nullptr || table == nullptr) return;
  bool equal = head->dtype == table->dtype && head->shape == table->shape;
  constexpr size_t kPiece = 16 << 20;
  for (size_t first = 0; equal && first < head->bytes.size(); first += kPiece) {
    const size_t count = std::min(kPiece, head->bytes.size() - first);
    const auto a = head->bytes.subspan(first, count), b = table->bytes.subspan(first, count);
    equal = std::memcmp(a.data(), b.data(), count) == 0;
    release_pages(a);
    release_pages(b);
  }
  if (equal) return;
  throw CheckpointError(
      fmt::format("{}: tie_word_embeddings is true, but lm_head.weight is another tensor than "
                  "model.embed_tokens.weight ---> set tie_word_embeddings: false in config.json to use both, or "
                  "remove lm_head.weight",
                  weights.folder().string()));
}

}  // namespace qtune
