#include "qtune/formats/safetensors.h"

#include <fmt/format.h>

#include <cstring>

#include "checkpoint_file.h"
#include "qtune/base/error.h"
#include "quote_name.h"
#include "safetensors_header.h"

namespace qtune {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the reference library's limit

[[noreturn]] void fail_size(const std::string& where, const std::string& found, std::string_view what_to_do) {
  throw CheckpointError(fmt::format("{}: {} ---> {}", where, found, what_to_do));
}

constexpr std::string_view kTorn = "the file is torn; copy or download it again";

/// The header's text.
std::string_view header_text(std::span<const std::byte> file, const std::string& where) {
  uint64_t num_bytes = 0;
  if (file.size() < sizeof num_bytes) {
    fail_size(where, fmt::format("file is {} bytes, a safetensors file has 8 or more", file.size()), kTorn);
  }
  std::memcpy(&num_bytes, file.data(), sizeof num_bytes);
  if (num_bytes > kMaxHeaderBytes) {
    fail_size(where, fmt::format("header length {}, at most {} bytes are expected", num_bytes, kMaxHeaderBytes),
              "the file is damaged or no safetensors file");
  }
  if (num_bytes > file.size() - sizeof num_bytes) {
    fail_size(where, fmt::format("file is {} bytes, its header needs {}", file.size(), num_bytes + sizeof num_bytes),
              kTorn);
  }
  return {reinterpret_cast<const char*>(file.data()) + sizeof num_bytes, num_bytes};
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(map_checkpoint_file(path)) {
  const std::string where = path.string();
  const std::string_view text = header_text(file_.bytes(), where);
  SafetensorsHeader header = parse_safetensors_header(text, where);
  metadata_ = std::move(header.metadata);

  const std::span<const std::byte> data = file_.bytes().subspan(sizeof(uint64_t) + text.size());
  const uint64_t expected = header.entries.empty() ? 0 : header.entries.back().end;
  if (expected != data.size()) {
    fail_size(where,
              fmt::format("file is {} bytes, its header needs {}", file_.bytes().size(),
                          static_cast<unsigned __int128>(file_.bytes().size() - data.size()) + expected),
              expected > data.size() ? kTorn : "something was added to the file; copy or download it again");
  }
  tensors_.reserve(header.entries.size());
  for (HeaderEntry& entry : header.entries) {
    tensors_.push_back({.name = std::move(entry.name),
                        .dtype = entry.dtype,
                        .shape = std::move(entry.shape),
                        .bytes = data.subspan(entry.begin, entry.end - entry.begin)});
  }
  for (size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].name, i);
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

const TensorView& SafetensorsFile::at(std::string_view name) const {
  const TensorView* tensor = find(name);
  if (tensor == nullptr) {
    throw CheckpointError(
        fmt::format("{}: expected a tensor {}, found none of that name among {} ---> give the file "
                    "that holds it",
                    path().string(), quote_name(name), tensors_.size()));
  }
  return *tensor;
}

}  // namespace qtune
