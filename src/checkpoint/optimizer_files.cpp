#include "optimizer_files.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <regex>

#include "qtune/base/error.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

std::span<const std::byte> bytes_of(const at::Tensor& t) {
  return {static_cast<const std::byte*>(t.data_ptr()), t.nbytes()};
}

std::string optimizer_file(const Shard& shard) {
  if (shard.count == 1) return kOptimizerFile;
  return fmt::format("optimizer-{:05}-of-{:05}.safetensors", shard.rank + 1, shard.count);
}

}  // namespace

void write_optimizer(const fs::path& folder, Optimizer& optimizer) {
  std::vector<TensorToWrite> tensors;
  const bool sharded = optimizer.shard().count > 1;
  const auto add = [&](const char* moment, const ParameterState& s, const at::Tensor& t) {
    const std::string name = sharded ? fmt::format("{}.{}@{}", moment, s.name, s.begin) : moment + ("." + s.name);
    tensors.push_back(
        {.name = name, .dtype = Dtype::kF32, .shape = t.sizes().vec(), .values = [t](const ByteSink& sink) {
           const at::Tensor host = t.to(at::kCPU);  // t itself on the CPU
           sink(bytes_of(host));
         }});
  };
  for (const ParameterState& s : optimizer.state()) {
    add("exp_avg", s, s.exp_avg);
    add("exp_avg_sq", s, s.exp_avg_sq);
    if (s.master.defined()) add(kMasterTensor, s, s.master);
  }
  write_safetensors(folder / optimizer_file(optimizer.shard()), std::move(tensors));
}

std::vector<fs::path> optimizer_files(const fs::path& checkpoint) {
  static const std::regex kShard(R"(optimizer-\d{5}-of-\d{5}\.safetensors)");
  std::vector<fs::path> files;
  if (!fs::is_directory(checkpoint)) return files;
  for (const auto& entry : fs::directory_iterator(checkpoint)) {
    const std::string name = entry.path().filename().string();
    if (name == kOptimizerFile || std::regex_match(name, kShard)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string missing_shards(const fs::path& checkpoint) {
  const std::vector<fs::path> files = optimizer_files(checkpoint);
  if (files.empty() || files.front().filename() == kOptimizerFile) return "";
  const std::string name = files.front().filename().string(), of = "-of-";
  const size_t count = std::stoul(name.substr(name.find(of) + of.size(), 5));
  return files.size() == count ? "" : fmt::format("{} of {} optimizer files are there", files.size(), count);
}

StoredState::StoredState(const fs::path& checkpoint) : checkpoint_(checkpoint) {
  for (const fs::path& path : optimizer_files(checkpoint)) files_.push_back(std::make_unique<SafetensorsFile>(path));
  for (const auto& file : files_) {
    for (const TensorView& view : file->tensors()) {
      const size_t at = view.name.rfind('@');
      int64_t begin = 0;
      if (at != std::string::npos) {
        std::from_chars(view.name.data() + at + 1, view.name.data() + view.name.size(), begin);
      }
      slices_[std::string(view.name.substr(0, at))].push_back({begin, &view});
    }
  }
}

void StoredState::fill(const std::string& name, int64_t begin, const at::Tensor& target) const {
  const at::Tensor host = target.is_cpu() ? target : at::empty(target.sizes(), target.scalar_type());
  float* const values = host.data_ptr<float>();
  const int64_t end = begin + target.numel();
  int64_t filled = 0;
  const auto found = slices_.find(name);
  if (found == slices_.end()) throw CheckpointError(fmt::format("{}: tensor {} is missing", place(), name));
  for (const Slice& slice : found->second) {
    const auto size = static_cast<int64_t>(slice.view->bytes.size() / sizeof(float));
    const int64_t from = std::max(begin, slice.begin), to = std::min(end, slice.begin + size);
    if (slice.view->dtype != Dtype::kF32) break;
    if (from >= to) continue;
    std::memcpy(values + (from - begin), slice.view->bytes.data() + (from - slice.begin) * sizeof(float),
                static_cast<size_t>(to - from) * sizeof(float));
    filled += to - from;
  }
  if (filled != target.numel()) {
    throw CheckpointError(
        fmt::format("{}: tensor {}: expected {} float32 elements from {} on, found {} ---> the checkpoint belongs to "
                    "another model",
                    place(), name, target.numel(), begin, filled));
  }
  if (!target.is_cpu()) target.copy_(host);
}

}  // namespace qtune
