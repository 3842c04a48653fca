// A model folder with the smallest tokenizer: one token a byte, and ChatML's special tokens.
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace qtune {

inline constexpr int32_t kImEndId = 257;

/// Ids 0 to 255 are in the order of GPT-2's printable byte alphabet, not that of the bytes.
inline void write_byte_tokenizer(const std::filesystem::path& folder) {
  nlohmann::json vocab = nlohmann::json::object();
  const auto add = [&](int code_point) {
    std::string utf8;
    if (code_point < 0x80) {
      utf8 = {static_cast<char>(code_point)};
    } else {
      utf8 = {static_cast<char>(0xC0 | (code_point >> 6)), static_cast<char>(0x80 | (code_point & 0x3F))};
    }
    const int id = static_cast<int>(vocab.size());
    vocab[utf8] = id;
  };
  int others = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    add(printable ? byte : others++);
  }
  nlohmann::json specials = nlohmann::json::array();
  for (const auto& [content, id] : {std::pair{"<|im_start|>", 256}, std::pair{"<|im_end|>", kImEndId}}) {
    vocab[content] = id;
    specials.push_back({{"id", id},
                        {"content", content},
                        {"special", true},
                        {"normalized", false},
                        {"single_word", false},
                        {"lstrip", false},
                        {"rstrip", false}});
  }
  const nlohmann::json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  std::ofstream(folder / "tokenizer.json") << nlohmann::json{{"version", "1.0"},
                                                             {"truncation", nullptr},
                                                             {"padding", nullptr},
                                                             {"added_tokens", specials},
                                                             {"normalizer", nullptr},
                                                             {"pre_tokenizer", byte_level},
                                                             {"post_processor", nullptr},
                                                             {"decoder", byte_level},
                                                             {"model",
                                                              {{"type", "BPE"},
                                                               {"dropout", nullptr},
                                                               {"unk_token", nullptr},
                                                               {"continuing_subword_prefix", nullptr},
                                                               {"end_of_word_suffix", nullptr},
                                                               {"fuse_unk", false},
                                                               {"byte_fallback", false},
                                                               {"vocab", vocab},
                                                               {"merges", nlohmann::json::array()}}}};
  std::ofstream(folder / "tokenizer_config.json") << R"({"eos_token": "<|im_end|>"})";
}

}  // namespace qtune
