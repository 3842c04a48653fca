#include <fmt/format.h>

#include "gguf_model.h"
#include "gguf_tokenizer.h"
#include "json_file.h"
#include "qtune/base/error.h"
#include "qtune/formats/convert.h"
#include "qtune/formats/output_folder.h"

namespace qtune {
namespace {

using Json = nlohmann::ordered_json;

Json id_or_null(std::optional<int64_t> id) { return id ? Json(*id) : Json(nullptr); }

Json make_config(const GgufModelFacts& facts, const GgufTokenizer& tokenizer, Dtype dtype) {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_size", facts.hidden},
          {"intermediate_size", facts.intermediate},
          {"num_hidden_layers", facts.layers},
          {"num_attention_heads", facts.heads},
          {"num_key_value_heads", facts.kv_heads},
          {"head_dim", facts.head_dim},
          {"max_position_embeddings", facts.context},
          {"hidden_act", "silu"},
          {"rms_norm_eps", facts.rms_norm_eps},
          {"rope_theta", facts.rope_theta},
          {"rope_scaling", nullptr},
          {"vocab_size", facts.vocabulary},
          {"tie_word_embeddings", facts.tied},
          {"attention_bias", false},
          {"mlp_bias", false},
          {"attention_dropout", 0.0},
          {"initializer_range", 0.02},
          {"use_cache", true},
          {"bos_token_id", id_or_null(tokenizer.bos)},
          {"eos_token_id", id_or_null(tokenizer.eos)},
          {"pad_token_id", id_or_null(tokenizer.pad)},
          {"torch_dtype", dtype_torch_name(dtype)}};
}

Json make_generation_config(const GgufTokenizer& tokenizer) {
  Json config = Json::object();
  if (tokenizer.bos) config["bos_token_id"] = *tokenizer.bos;
  if (tokenizer.eos) config["eos_token_id"] = *tokenizer.eos;
  if (tokenizer.pad) config["pad_token_id"] = *tokenizer.pad;
  return config;
}

}  // namespace

ConvertSummary convert_gguf_to_hf(const std::filesystem::path& in, const std::filesystem::path& out,
                                  const ConvertOptions& options) {
  const Dtype dtype = options.dtype.value_or(Dtype::kBF16);
  const GgufFile file(in);
  const GgufModelFacts facts = read_gguf_facts(file);
  const GgufTokenizer tokenizer = read_gguf_tokenizer(file);
  if (static_cast<int64_t>(tokenizer.tokens.size()) > facts.vocabulary) {
    throw CheckpointError(
        fmt::format("{}: expected at most {} tokens for the rows of the embedding, found {} ---> the file "
                    "is damaged; copy or download it again",
                    in.string(), facts.vocabulary, tokenizer.tokens.size()));
  }
  Float16Range range;
  std::vector<TensorToWrite> tensors = gguf_model_tensors(file, facts, dtype, range);
  ConvertSummary summary{.num_tensors = static_cast<int64_t>(tensors.size()),
                         .dtype = std::string(dtype_torch_name(dtype)),
                         .tied = facts.tied,
                         .num_vocabulary = facts.vocabulary};
  for (const TensorToWrite& tensor : tensors) summary.num_values += num_values(tensor.shape).value();

  write_output_folder(out, [&](const std::filesystem::path& folder) {
    write_json_file(folder / "config.json", make_config(facts, tokenizer, dtype), in);
    write_json_file(folder / "tokenizer_config.json", make_tokenizer_config(file, tokenizer, facts.context), in);
    write_json_file(folder / "generation_config.json", make_generation_config(tokenizer), in);
    write_json_file(folder / "tokenizer.json", tokenizer.tokenizer_json, in);
    write_model_weights(folder, std::move(tensors), options.shard_bytes);
  });
  range.warn(out);
  return summary;
}

}  // namespace qtune
