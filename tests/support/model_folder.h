// Folders with a small model that a test makes, right or wrong in one place.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/formats/safetensors.h"

namespace qtune {

/// config.json of a fixture in tests/data/models, to change and to write elsewhere.
inline nlohmann::json fixture_config(const std::string& name) {
  return nlohmann::json::parse(read_file(std::filesystem::path(QTUNE_TEST_DATA) / "models" / name / "config.json"));
}

inline void write_config(const std::filesystem::path& folder, const nlohmann::json& config) {
  write_file_atomic(folder / "config.json", config.dump(2));
}

/// Weights of a fixture by name, in the stored dtype.
class WeightsToChange {
 public:
  explicit WeightsToChange(const std::string& fixture)
      : weights_(std::filesystem::path(QTUNE_TEST_DATA) / "models" / fixture) {
    for (const auto& [name, view] : weights_.tensors()) {
      values_[name] = {.name = name,
                       .dtype = view->dtype,
                       .shape = view->shape,
                       .bytes = std::vector<std::byte>(view->bytes.begin(), view->bytes.end())};
    }
  }

  struct Tensor {
    std::string name;
    Dtype dtype = Dtype::kF32;
    std::vector<int64_t> shape;
    std::vector<std::byte> bytes;
  };

  Tensor& at(const std::string& name) { return values_.at(name); }
  void add(const std::string& name, Dtype dtype, const std::vector<int64_t>& shape) {
    const size_t size = static_cast<size_t>(*num_values(shape)) * dtype_size(dtype);
    values_[name] = {.name = name, .dtype = dtype, .shape = shape, .bytes = std::vector<std::byte>(size)};
  }
  void remove(const std::string& name) { values_.erase(name); }

  /// The values again in another floating dtype.
  void convert(const std::string& name, Dtype dtype) {
    Tensor& t = at(name);
    std::vector<float> floats(t.bytes.size() / dtype_size(t.dtype));
    to_floats(t.bytes, t.dtype, floats);
    t.dtype = dtype;
    t.bytes.resize(floats.size() * dtype_size(dtype));
    from_floats(floats, dtype, t.bytes);
  }

  void write(const std::filesystem::path& folder, uint64_t shard_bytes = 0) const {
    std::vector<TensorToWrite> tensors;
    for (const auto& [name, t] : values_) {
      tensors.push_back(
          {.name = name, .dtype = t.dtype, .shape = t.shape, .values = std::span<const std::byte>(t.bytes)});
    }
    write_model_weights(folder, std::move(tensors), shard_bytes);
  }

 private:
  ModelWeights weights_;
  std::map<std::string, Tensor> values_;
};

/// Runs `action` and expects an exception of type E whose one-line message holds all `parts`.
template <class E, class F>
void expect_throws(F action, const std::vector<std::string>& parts) {
  try {
    action();
    ADD_FAILURE() << "no error, expected one with: " << testing::PrintToString(parts);
  } catch (const E& error) {
    for (const std::string& part : parts) EXPECT_THAT(error.what(), testing::HasSubstr(part));
    EXPECT_THAT(error.what(), testing::Not(testing::HasSubstr("\n")));
  } catch (const std::exception& error) {
    const std::string text = error.what();
    ADD_FAILURE() << "another error than expected: " << text.substr(0, text.find('\n'));
  }
}

}  // namespace qtune
