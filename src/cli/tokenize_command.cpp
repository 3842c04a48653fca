// qtune tokenize: lines of text to token ids and back, on stdin and stdout.
#include <fmt/format.h>

#include <charconv>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "commands.h"
#include "qtune/base/error.h"
#include "qtune/text/tokenizer.h"
#include "streams.h"

namespace qtune {
namespace {

struct TokenizeFlags {
  std::string model;
  bool json = false;
  bool decode = false;
};

/// What a faulty line is answered with; run_tokenize adds its number.
[[noreturn]] void refuse(const char* expected, std::string_view found) {
  const std::string shown =
      nlohmann::json(found.substr(0, 80)).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  throw DataError(fmt::format("expected {}, found {}{}", expected, shown, found.size() > 80 ? "..." : ""));
}

std::vector<int32_t> parse_ids(const std::string& line) {
  std::vector<int32_t> ids;
  const char *p = line.data(), *end = p + line.size();
  while (true) {
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r')) ++p;
    if (p == end) return ids;
    int32_t id = 0;
    const auto [next, error] = std::from_chars(p, end, id);
    if (error != std::errc{} || (next < end && *next != ' ' && *next != '\t' && *next != '\r')) {
      refuse("token ids with spaces between them", line);
    }
    ids.push_back(id);
    p = next;
  }
}

nlohmann::json parse_json(const std::string& line, const char* expected) {
  nlohmann::json value = nlohmann::json::parse(line, nullptr, false);
  if (value.is_discarded()) refuse(expected, line);
  return value;
}

std::vector<int32_t> parse_json_ids(const std::string& line) {
  constexpr const char* kExpected = "a JSON array of token ids";
  const nlohmann::json value = parse_json(line, kExpected);
  if (!value.is_array()) refuse(kExpected, line);
  std::vector<int32_t> ids;
  ids.reserve(value.size());
  for (const auto& id : value) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX) refuse(kExpected, line);
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

void append_decoded(const Tokenizer& tokenizer, const TokenizeFlags& flags, const std::string& line, std::string& out) {
  const std::vector<int32_t> ids = flags.json ? parse_json_ids(line) : parse_ids(line);
  for (const int32_t id : ids) {
    if (!tokenizer.id_to_token(id))
      throw DataError(fmt::format("expected ids of this tokenizer's vocabulary, found {}", id));
  }
  const std::string text = tokenizer.decode(ids);
  out += flags.json ? nlohmann::json(text).dump() : text;
}

void append_encoded(const Tokenizer& tokenizer, const TokenizeFlags& flags, const std::string& line, std::string& out) {
  std::vector<int32_t> ids;
  if (flags.json) {
    const nlohmann::json value = parse_json(line, "a JSON string");
    if (!value.is_string()) refuse("a JSON string", line);
    ids = tokenizer.encode(value.get_ref<const std::string&>());
  } else {
    ids = tokenizer.encode(line);
  }
  if (flags.json) out += '[';
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) out += flags.json ? ", " : " ";
    out += fmt::format_int(ids[i]).str();
  }
  if (flags.json) out += ']';
}

int run_tokenize(const TokenizeFlags& flags) {
  const std::unique_ptr<Tokenizer> tokenizer = Tokenizer::load_tokenizer(flags.model);
  std::ios::sync_with_stdio(false);
  std::string line, out;
  for (int64_t number = 1; std::getline(std::cin, line); ++number) {
    try {
      (flags.decode ? append_decoded : append_encoded)(*tokenizer, flags, line, out);
    } catch (const DataError& e) {
      throw DataError(fmt::format("stdin:{}: {}", number, e.what()));
    }
    out += '\n';
    write_output(out);
    out.clear();
  }
  flush_output();
  return kExitOk;
}

}  // namespace

void add_tokenize_command(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("tokenize", "Text lines on stdin to token ids on stdout, or the reverse");
  const auto flags = std::make_shared<TokenizeFlags>();
  command->add_option("--model", flags->model, "Folder that holds tokenizer.json")->required();
  command->add_flag("--json", flags->json,
                    "A JSON string a line in, a JSON array of ids a line out (texts may hold line ends)");
  command->add_flag("--decode", flags->decode, "Ids in, text out");
  command->callback([flags, &action] { action = [flags] { return run_tokenize(*flags); }; });
}

}  // namespace qtune
