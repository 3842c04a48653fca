// GGUF files made by hand, byte by byte, so that every field can be given wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "qtune/formats/gguf.h"

namespace qtune {

class GgufBuilder {
 public:
  GgufBuilder& text(std::string_view key, std::string_view value) {
    head(key, GgufValueType::kString);
    put_text(metadata_, value);
    return *this;
  }
  GgufBuilder& u32(std::string_view key, uint32_t value) {
    head(key, GgufValueType::kUint32);
    put(metadata_, value);
    return *this;
  }
  GgufBuilder& f32(std::string_view key, float value) {
    head(key, GgufValueType::kFloat32);
    put(metadata_, value);
    return *this;
  }
  GgufBuilder& texts(std::string_view key, const std::vector<std::string>& values) {
    array(key, GgufValueType::kString, values.size());
    for (const std::string& value : values) put_text(metadata_, value);
    return *this;
  }
  GgufBuilder& integers(std::string_view key, const std::vector<int32_t>& values) {
    array(key, GgufValueType::kInt32, values.size());
    for (const int32_t value : values) put(metadata_, value);
    return *this;
  }
  /// An array's head alone, its elements to be added by raw().
  GgufBuilder& array(std::string_view key, GgufValueType type, uint64_t count) {
    head(key, GgufValueType::kArray);
    put(metadata_, static_cast<uint32_t>(type));
    put(metadata_, count);
    return *this;
  }
  GgufBuilder& raw(std::string_view key, uint32_t type, std::string_view bytes) {
    head(key, static_cast<GgufValueType>(type));
    metadata_ += bytes;
    return *this;
  }
  /// `dimensions` in the file's order, the fastest first; `offset` behind the head.
  GgufBuilder& tensor(std::string_view name, const std::vector<uint64_t>& dimensions, uint32_t type, uint64_t offset) {
    put_text(tensors_, name);
    put(tensors_, static_cast<uint32_t>(dimensions.size()));
    for (const uint64_t size : dimensions) put(tensors_, size);
    put(tensors_, type);
    put(tensors_, offset);
    ++num_tensors_;
    return *this;
  }
  /// A tensor of floats 0, 1, 2, .. behind all before it.
  GgufBuilder& float_tensor(std::string_view name, const std::vector<uint64_t>& dimensions) {
    tensor(name, dimensions, 0, values_.size());
    uint64_t count = 1;
    for (const uint64_t size : dimensions) count *= size;
    for (uint64_t i = 0; i < count; ++i) put(values_, static_cast<float>(i));
    values_.resize((values_.size() + 31) / 32 * 32, '\0');
    return *this;
  }
  GgufBuilder& values(std::string_view bytes) {
    values_ += bytes;
    return *this;
  }

  std::string build(uint32_t version = 3) const { return build(version, num_tensors_, num_metadata_); }
  std::string build(uint32_t version, uint64_t num_tensors, uint64_t num_metadata) const {
    std::string bytes = "GGUF";
    put(bytes, version);
    put(bytes, num_tensors);
    put(bytes, num_metadata);
    bytes += metadata_ + tensors_;
    if (!values_.empty()) bytes.resize((bytes.size() + 31) / 32 * 32, '\0');
    return bytes + values_;
  }

  template <class T>
  static void put(std::string& out, T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
  }

 private:
  static void put_text(std::string& out, std::string_view text) {
    put(out, static_cast<uint64_t>(text.size()));
    out += text;
  }
  void head(std::string_view key, GgufValueType type) {
    put_text(metadata_, key);
    put(metadata_, static_cast<uint32_t>(type));
    ++num_metadata_;
  }

  std::string metadata_, tensors_, values_;
  uint64_t num_metadata_ = 0, num_tensors_ = 0;
};

/// Metadata of a llama with one layer, hidden size 4, 1 head, and a vocabulary of 5.
inline GgufBuilder small_llama_metadata() {
  GgufBuilder builder;
  builder.text("general.architecture", "llama")
      .u32("llama.embedding_length", 4)
      .u32("llama.attention.head_count", 1)
      .u32("llama.feed_forward_length", 3)
      .u32("llama.block_count", 1)
      .u32("llama.context_length", 64)
      .f32("llama.attention.layer_norm_rms_epsilon", 1e-6f)
      .text("tokenizer.ggml.model", "gpt2")
      .text("tokenizer.ggml.pre", "gpt-2")
      .texts("tokenizer.ggml.tokens", {"<s>", "a", "b", "ab", "aba"})
      .integers("tokenizer.ggml.token_type", {3, 1, 1, 1, 1})
      .texts("tokenizer.ggml.merges", {"a b", "ab a"})
      .u32("tokenizer.ggml.eos_token_id", 0);
  return builder;
}

/// Its tensors, but for the embedding and what `without` names. The head is tied.
inline GgufBuilder& add_small_llama_layer(GgufBuilder& builder, std::string_view without = "") {
  const std::vector<std::pair<std::string, std::vector<uint64_t>>> tensors = {
      {"output_norm", {4}},     {"blk.0.attn_norm", {4}},  {"blk.0.ffn_norm", {4}},       {"blk.0.attn_q", {4, 4}},
      {"blk.0.attn_k", {4, 4}}, {"blk.0.attn_v", {4, 4}},  {"blk.0.attn_output", {4, 4}}, {"blk.0.ffn_gate", {4, 3}},
      {"blk.0.ffn_up", {4, 3}}, {"blk.0.ffn_down", {3, 4}}};
  for (const auto& [name, dimensions] : tensors) {
    if (name != without) builder.float_tensor(name + ".weight", dimensions);
  }
  return builder;
}

inline GgufBuilder small_llama() {
  GgufBuilder builder = small_llama_metadata();
  add_small_llama_layer(builder.float_tensor("token_embd.weight", {4, 5}));
  return builder;
}

}  // namespace qtune
