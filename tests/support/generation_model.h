// A fixture's model with a tokenizer that has a token for each byte, in a folder of its own.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>

#include "qtune/base/file.h"
#include "support/byte_tokenizer.h"
#include "support/temp_dir.h"

namespace qtune {

class GenerationModel {
 public:
  explicit GenerationModel(const std::string& name = "llama_tied") {
    const auto source = std::filesystem::path(QTUNE_TEST_DATA) / "models" / name;
    for (const char* file : {"config.json", "generation_config.json", "model.safetensors"}) {
      std::filesystem::copy_file(source / file, folder_ / file);
    }
    adapter_ = source / "adapter_trained";
    write_byte_tokenizer(folder_.path());
  }

  const std::filesystem::path& path() const { return folder_.path(); }
  std::string string() const { return folder_.path().string(); }
  std::filesystem::path operator/(const std::string& name) const { return folder_ / name; }
  /// Of the same fixture.
  std::string adapter() const { return adapter_.string(); }

  void set_end_tokens(const std::vector<int32_t>& ids) const {
    write_file_atomic(folder_ / "generation_config.json", nlohmann::json{{"eos_token_id", ids}}.dump());
  }
  void set_positions(int64_t count) const {
    auto config = nlohmann::json::parse(read_file(folder_ / "config.json"));
    config["max_position_embeddings"] = count;
    write_file_atomic(folder_ / "config.json", config.dump());
  }

 private:
  TempDir folder_;
  std::filesystem::path adapter_;
};

}  // namespace qtune
