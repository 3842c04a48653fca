// A small model folder to make GGUF files of.
#pragma once

#include <nlohmann/json.hpp>

#include "file_parts.h"
#include "qtune/base/file.h"
#include "qtune/formats/convert_to_gguf.h"
#include "qtune/formats/safetensors.h"
#include "support/temp_dir.h"

namespace qtune {

inline const std::filesystem::path kData = QTUNE_TEST_DATA;

/// A fixture's model with a tokenizer of 20 tokens.
class GgufOut : public testing::Test {
 protected:
  explicit GgufOut(const std::string& model = "llama_tied") {
    std::filesystem::create_directory(in_);
    for (const char* name : {"config.json", "model.safetensors"}) {
      std::filesystem::copy_file(kData / "models" / model / name, in_ / name);
    }
    std::filesystem::copy_file(kData / "gguf/tokenizer.json", in_ / "tokenizer.json");
    write_file_atomic(in_ / "tokenizer_config.json", R"({"eos_token": "<|im_end|>", "bos_token": "<|im_start|>"})");
  }

  nlohmann::json read_json(const char* name) const { return nlohmann::json::parse(read_file(in_ / name)); }
  void write_json(const char* name, const nlohmann::json& json) const { write_file_atomic(in_ / name, json.dump()); }

  GgufFile convert(const GgufOutOptions& options = {}) const {
    std::filesystem::remove(out_);  // of an earlier call
    convert_hf_to_gguf(in_, out_, options);
    return GgufFile(out_);
  }

  template <class E = CheckpointError>
  void expect_refused(std::string_view part) const {
    expect_error<E>([&] { convert_hf_to_gguf(in_, out_); }, part);
    EXPECT_EQ(num_entries(dir_.path()), 1u) << "something was left behind";
  }

  TempDir dir_;
  std::filesystem::path in_ = dir_ / "model", out_ = dir_ / "out.gguf";
};

}  // namespace qtune
