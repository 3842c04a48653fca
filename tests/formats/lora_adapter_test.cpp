#include "qtune/formats/lora_adapter.h"

#include <nlohmann/json.hpp>

#include "file_parts.h"
#include "qtune/base/file.h"
#include "support/log_text.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const fs::path kModels = fs::path(QTUNE_TEST_DATA) / "models";

/// A fixture's adapter in a folder of its own.
class LoraAdapterFiles : public testing::Test {
 protected:
  LoraAdapterFiles() {
    for (const char* name : {kLoraConfigFile, kLoraWeightsFile}) {
      fs::copy_file(kModels / "llama_tied/adapter_trained" / name, dir_ / name);
    }
    fs::permissions(dir_ / kLoraConfigFile, fs::perms::owner_write, fs::perm_options::add);
  }

  void set(const char* key, const Json& value) const {
    Json config = Json::parse(read_file(dir_ / kLoraConfigFile));
    config[key] = value;
    write_file_atomic(dir_ / kLoraConfigFile, config.dump());
  }

  /// Takes a layer kind's tensors out of the weights.
  void remove_tensors(const std::string& part) const {
    fs::rename(dir_ / kLoraWeightsFile, dir_ / "all");
    const SafetensorsFile all(dir_ / "all");
    std::vector<TensorToWrite> kept;
    for (const TensorView& tensor : all.tensors()) {
      if (tensor.name.find(part) != std::string::npos) continue;
      kept.push_back({.name = tensor.name, .dtype = tensor.dtype, .shape = tensor.shape, .values = tensor.bytes});
    }
    write_safetensors(dir_ / kLoraWeightsFile, std::move(kept));
  }

  TempDir dir_;
};

// PEFT writes an excluded name among the targets, too, and no tensors of it.
TEST_F(LoraAdapterFiles, ExcludedModulesHaveNoTensors) {
  remove_tensors("q_proj");
  const auto expect_refused = [&] {
    expect_error<CheckpointError>([&] { LoraAdapter adapter(dir_.path()); }, "expected tensors of q_proj");
  };
  expect_refused();
  for (const Json& nothing : {Json(), Json::array(), Json(""), Json::array({"k_proj"}), Json::array({"proj"})}) {
    set("exclude_modules", nothing);
    expect_refused();
  }
  // A pattern tells nothing about what it matched; the tensors do.
  for (const Json& excluded :
       {Json::array({"q_proj"}), Json::array({"lm_head", "self_attn.q_proj"}), Json(".*\\.q_proj")}) {
    set("exclude_modules", excluded);
    const LoraAdapter adapter(dir_.path());
    EXPECT_EQ(adapter.config().targets.size(), 6u) << excluded;
    EXPECT_FALSE(adapter.config().has_target("q_proj"));
    EXPECT_FALSE(adapter.modules().contains("model.layers.0.self_attn.q_proj"));
  }
  for (const Json& wrong : {Json(3), Json::array({3})}) {
    set("exclude_modules", wrong);
    expect_error<CheckpointError>([&] { LoraAdapter adapter(dir_.path()); },
                                  "exclude_modules: expected a list of names");
  }
}

// One layer's q_proj only: its other layers have tensors.
TEST_F(LoraAdapterFiles, AModuleOfOneLayerMayBeExcluded) {
  remove_tensors("layers.1.self_attn.q_proj");
  set("exclude_modules", {"layers.1.self_attn.q_proj"});
  const LoraAdapter adapter(dir_.path());
  EXPECT_TRUE(adapter.config().has_target("q_proj"));
  EXPECT_EQ(adapter.modules().size(), 20u);
}

TEST_F(LoraAdapterFiles, AnotherBaseModelIsWarnedOf) {
  const auto warnings = [&](const Json& base, const fs::path& model) {
    set("base_model_name_or_path", base);
    const LogText log;
    warn_of_other_base(LoraAdapter(dir_.path()), model);
    return log.text();
  };
  EXPECT_THAT(warnings("org/Other-1B", kModels / "llama_tied"),
              testing::HasSubstr("adapter_config.json: the adapter was made for \"org/Other-1B\", not for " +
                                 (kModels / "llama_tied").string() + " --->"));
  EXPECT_NE(warnings("/somewhere/models/llama_untied/", kModels / "llama_tied"), "");
  EXPECT_NE(warnings("/cache/models--org--Big-7B/snapshots/0123abcd", kModels / "llama_tied"), "");
  for (const Json& same :
       {Json(), Json(""), Json(3), Json("."), Json("../.."), Json("Llama_Tied"), Json("org/llama_tied"),
        Json("/elsewhere/llama_tied/"), Json("/cache/models--org--Llama_tied/snapshots/0123abcd")}) {
    EXPECT_EQ(warnings(same, kModels / "llama_tied/"), "") << same;
  }
  EXPECT_EQ(warnings("org/Big-7B", "/cache/models--org--big-7B/snapshots/0123abcd"), "");
  fs::create_directory_symlink(kModels / "llama_tied", dir_ / "link");
  EXPECT_EQ(warnings((dir_ / "link").string(), kModels / "llama_tied"), "");
}

}  // namespace
}  // namespace qtune
