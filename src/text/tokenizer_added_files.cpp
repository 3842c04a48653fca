#include "tokenizer_added_files.h"

#include <fmt/format.h>

#include <charconv>
#include <map>
#include <nlohmann/json.hpp>

#include "qtune/base/error.h"
#include "qtune/base/json_text.h"
#include "qtune/base/one_line.h"
#include "tokenizer_limits.h"

namespace qtune {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

json read_object(const fs::path& file) {
  if (!fs::exists(file)) return json::object();
  json root = json::parse(read_json_text(file), nullptr, false);
  if (!root.is_object()) throw CheckpointError(fmt::format("{}: expected a JSON object", file.string()));
  return root;
}

class AdditionsReader {
 public:
  explicit AdditionsReader(size_t num_pieces) : max_id_(token_id_limit(num_pieces)) {}

  void read_added_tokens(const json& root) {
    for (const auto& [content, id] : root.items()) {
      if (!id.is_number_unsigned()) refuse(content, "expected an id", id);
      if (!content.empty()) add({.id = checked_id(id.get<uint64_t>(), content), .content = content}, content);
    }
  }

  void read_decoder(const json& list) {
    if (list.is_null()) return;
    if (!list.is_object()) refuse("added_tokens_decoder", "expected an object", list);
    for (const auto& [key, entry] : list.items()) {
      const std::string where = "added_tokens_decoder." + key;
      uint64_t id = 0;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
      if (error != std::errc{} || end != key.data() + key.size()) refuse(where, "expected an id as key", key);
      if (!entry.is_object() || !entry.contains("content") || !entry["content"].is_string())
        refuse(where, "expected an object with \"content\"", entry);
      AddedToken token{.id = checked_id(id, where), .content = entry["content"].get<std::string>()};
      token.single_word = flag(entry, "single_word", where);
      token.lstrip = flag(entry, "lstrip", where);
      token.rstrip = flag(entry, "rstrip", where);
      if (!token.content.empty()) add(std::move(token), where);
    }
  }

  PrefixSpace read_prefix_space(const json& config) {
    if (config.value("add_prefix_space", json()) == json(false)) return PrefixSpace::kNever;
    return config.value("legacy", json()) == json(true) ? PrefixSpace::kAlways : PrefixSpace::kFirst;
  }

  std::vector<AddedToken> tokens() const {
    std::vector<AddedToken> out;
    for (const auto& [id, token] : by_id_) out.push_back(token);
    return out;
  }

 private:
  [[noreturn]] static void refuse(const std::string& where, const char* expected, const json& found) {
    throw Error(fmt::format("{}: {}, found {}", where, expected,
                            found.dump(-1, ' ', true, json::error_handler_t::replace).substr(0, 100)));
  }

  static bool flag(const json& entry, const char* key, const std::string& where) {
    const auto found = entry.find(key);
    if (found == entry.end() || found->is_null()) return false;
    if (!found->is_boolean()) refuse(where + "." + key, "expected true or false", *found);
    return found->get<bool>();
  }

  int32_t checked_id(uint64_t id, const std::string& where) const {
    if (id >= max_id_ || id > INT32_MAX)
      throw Error(fmt::format("{}: expected an id below {}, found {}", where, max_id_, id));
    return static_cast<int32_t>(id);
  }

  /// What comes later wins, if it names the same token.
  void add(AddedToken token, const std::string& where) {
    const auto found = by_id_.find(token.id);
    if (found != by_id_.end() && found->second.content != token.content)
      refuse(where, "expected the token that added_tokens.json has with this id", token.content);
    by_id_[token.id] = std::move(token);
  }

  uint64_t max_id_;
  std::map<int32_t, AddedToken> by_id_;
};

}  // namespace

TokenizerAdditions read_tokenizer_additions(const fs::path& folder, size_t num_pieces) {
  AdditionsReader reader(num_pieces);
  TokenizerAdditions out;
  fs::path file = folder / "added_tokens.json";
  try {
    reader.read_added_tokens(read_object(file));
    file = folder / "tokenizer_config.json";
    const json config = read_object(file);
    reader.read_decoder(config.value("added_tokens_decoder", json()));
    out.prefix_space = reader.read_prefix_space(config);
  } catch (const CheckpointError&) {
    throw;
  } catch (const Error& e) {
    throw CheckpointError(fmt::format("{}: {}", file.string(), one_line(e.what())));
  }
  out.tokens = reader.tokens();
  return out;
}

}  // namespace qtune
