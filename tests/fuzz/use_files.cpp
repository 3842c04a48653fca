#include "fuzz/use_files.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "fuzz/promise.h"
#include "qtune/formats/gguf.h"
#include "qtune/formats/safetensors.h"

namespace qtune::fuzz {
namespace {

void use_values(const TensorView& tensor) {
  // A copy reads every byte, so that one outside the file is seen.
  const std::vector<std::byte> bytes(tensor.bytes.begin(), tensor.bytes.end());
  if (!is_floating(tensor.dtype)) return;
  std::vector<float> values(bytes.size() / dtype_size(tensor.dtype));
  to_floats(tensor.bytes, tensor.dtype, values);
}

void use_rows(const GgufTensor& tensor) {
  constexpr int64_t kPiece = 3;
  const int64_t num_rows = tensor.num_rows(), columns = tensor.num_columns();
  for (int64_t row = 0; row < num_rows; row += kPiece) {
    const int64_t count = std::min(kPiece, num_rows - row);
    std::vector<float> values(static_cast<size_t>(count * columns));
    dequantize_rows(tensor, row, count, values);
  }
}

}  // namespace

void use_safetensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  for (const TensorView& tensor : file.tensors()) {
    check_that(file.find(tensor.name) == &tensor, "a tensor is found by its name");
    use_values(tensor);
  }
}

void use_gguf(const std::filesystem::path& path) {
  const GgufFile file(path);
  for (const GgufTensor& tensor : file.tensors()) use_rows(tensor);
  for (const char* key : {"tokenizer.ggml.tokens", "tokenizer.ggml.merges"}) {
    if (const auto texts = file.texts(key))
      check_that(texts->size() <= std::filesystem::file_size(path), "a list's length is in proportion to the file");
  }
}

void use_weights(const std::filesystem::path& folder) {
  const ModelWeights weights(folder);
  for (const auto& [name, tensor] : weights.tensors()) use_values(*tensor);
}

}  // namespace qtune::fuzz
