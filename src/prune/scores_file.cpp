#include "qtune/prune/scores_file.h"

#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "qtune/base/error.h"
#include "qtune/prune/sample_selection.h"

namespace qtune {
namespace {

using Json = nlohmann::json;

/// Reads the arrays of one line; every complaint carries file:line.
class LineReader {
 public:
  LineReader(const Json& line, const std::string& place) : line_(line), place_(place) {}

  std::string id() const {
    const auto it = line_.find("id");
    if (it == line_.end() || it->is_null()) return place_;
    if (it->is_string()) return it->get<std::string>();
    if (it->is_number()) return it->dump();
    fail("id", "a string or a number", it->type_name());
  }

  bool id_is_number() const {
    const auto it = line_.find("id");
    return it != line_.end() && it->is_number();
  }

  const Json& required_array(const char* key) const {
    const auto it = line_.find(key);
    if (it == line_.end()) fail(key, "an array of numbers", "no such key");
    if (!it->is_array()) fail(key, "an array of numbers", it->type_name());
    return *it;
  }

  const Json* optional_array(const char* key) const {
    const auto it = line_.find(key);
    if (it == line_.end() || it->is_null()) return nullptr;
    if (!it->is_array()) fail(key, "an array", it->type_name());
    return &*it;
  }

  std::vector<double> nats(const char* key) const {
    std::vector<double> values;
    for (const Json& item : required_array(key)) {
      if (!item.is_number()) fail_at(key, values.size(), "a number", item.is_null() ? "null" : item.type_name());
      values.push_back(item.get<double>());
      if (!std::isfinite(values.back())) fail_at(key, values.size() - 1, "a finite number", item.dump());
    }
    return values;
  }

  std::vector<int32_t> integers(const char* key, size_t length) const {
    const Json* array = optional_array(key);
    if (array == nullptr) return {};
    check_length(key, array->size(), length);
    std::vector<int32_t> values;
    for (const Json& item : *array) {
      const auto value = item.is_number_integer() ? small_integer(item) : std::nullopt;
      if (!value) fail_at(key, values.size(), "an integer of 32 bits", short_text(item));
      values.push_back(*value);
    }
    return values;
  }

  std::vector<uint8_t> flags(const char* key, size_t length) const {
    const Json* array = optional_array(key);
    if (array == nullptr) return {};
    check_length(key, array->size(), length);
    std::vector<uint8_t> values;
    for (const Json& item : *array) {
      const bool is_bit = item.is_number_integer() && (item == 0 || item == 1);
      if (!item.is_boolean() && !is_bit) fail_at(key, values.size(), "true or false", short_text(item));
      values.push_back(item == true || item == 1 ? 1 : 0);
    }
    return values;
  }

  void check_length(const char* key, size_t found, size_t expected) const {
    if (found != expected) fail(key, fmt::format("{} values, as many as in nll", expected), std::to_string(found));
  }

  [[noreturn]] void fail_at(const char* key, size_t k, const std::string& expected, const std::string& found) const {
    fail(fmt::format("{}[{}]", key, k), expected, found);
  }

 private:
  [[noreturn]] void fail(const std::string& key, const std::string& expected, const std::string& found) const {
    throw DataError(fmt::format("{}: {}: expected {}, found {} ---> write the file anew with qtune score", place_, key,
                                expected, found));
  }

  static std::optional<int32_t> small_integer(const Json& item) {
    using Limits = std::numeric_limits<int32_t>;
    if (item.is_number_unsigned() && item.get<uint64_t>() > static_cast<uint64_t>(Limits::max())) return std::nullopt;
    const int64_t value = item.get<int64_t>();
    if (value < Limits::min() || value > Limits::max()) return std::nullopt;
    return static_cast<int32_t>(value);
  }

  static std::string short_text(const Json& item) {
    return item.is_structured() ? item.type_name()
                                : item.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 40);
  }

  const Json& line_;
  const std::string& place_;
};

SampleScores parse_line(const std::string& text, const std::string& place) {
  Json line;
  try {
    line = Json::parse(text);
  } catch (const Json::out_of_range&) {
    throw DataError(place +
                    ": expected finite numbers, found one that overflows ---> write the file anew with qtune score");
  } catch (const Json::exception&) {
    throw DataError(
        place +
        ": expected a JSON object, found broken JSON (NaN and Infinity are no JSON either) ---> write the file "
        "anew with qtune score");
  }
  if (!line.is_object())
    throw DataError(fmt::format("{}: expected a JSON object, found {} ---> write the file anew with qtune score", place,
                                line.type_name()));
  const LineReader reader(line, place);
  SampleScores scores{.id = reader.id(),
                      .id_is_number = reader.id_is_number(),
                      .nll = reader.nats("nll"),
                      .entropy = reader.nats("entropy"),
                      .positions = {},
                      .span = {},
                      .end_of_turn = {},
                      .reference_nll = {},
                      .base_nll = {},
                      .attention = {}};
  const size_t length = scores.nll.size();
  reader.check_length("entropy", scores.entropy.size(), length);
  double sum = 0;
  for (size_t k = 0; k < length; ++k) {
    if (scores.entropy[k] < 0) reader.fail_at("entropy", k, "at least 0", fmt::format("{}", scores.entropy[k]));
    sum += scores.entropy[k];
  }
  if (!std::isfinite(sum)) reader.fail_at("entropy", length - 1, "numbers with a finite sum", "a sum that overflows");
  scores.positions = reader.integers("positions", length);
  scores.span = reader.integers("span", length);
  scores.end_of_turn = reader.flags("end_of_turn", length);
  return scores;
}

nlohmann::ordered_json id_json(const std::string& id, bool is_number) {
  return is_number ? nlohmann::ordered_json::parse(id) : nlohmann::ordered_json(id);
}

nlohmann::ordered_json number_or_null(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
}

}  // namespace

ScoresFile read_scores(std::istream& in, const std::string& name) {
  ScoresFile file;
  std::string text;
  for (int64_t number = 1; std::getline(in, text); ++number) {
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    SampleScores scores = parse_line(text, fmt::format("{}:{}", name, number));
    if (scores.nll.empty()) {
      file.skipped.push_back(std::move(scores.id));
    } else {
      file.samples.push_back(std::move(scores));
    }
  }
  if (in.bad()) throw DataError(name + ": cannot read ---> check the file and the disk");
  return file;
}

ScoresFile read_scores(const std::filesystem::path& path) {
  if (path == "-") return read_scores(std::cin, "(standard input)");
  std::ifstream in(path, std::ios::binary);
  if (!in || std::filesystem::is_directory(path))
    throw DataError(path.string() + ": cannot open this scores file ---> check the path");
  return read_scores(in, path.string());
}

std::string scores_line(const SampleScores& scores) {
  nlohmann::ordered_json line;
  line["id"] = id_json(scores.id, scores.id_is_number);
  line["nll"] = scores.nll;
  line["entropy"] = scores.entropy;
  line["positions"] = scores.positions;
  line["span"] = scores.span;
  auto& flags = line["end_of_turn"] = nlohmann::ordered_json::array();
  for (const uint8_t flag : scores.end_of_turn) flags.push_back(flag != 0);
  const bool has_tokens = !scores.nll.empty();
  line["ppl"] = has_tokens ? number_or_null(perplexity_of(scores.nll)) : nullptr;
  line["mean_entropy"] = has_tokens ? number_or_null(mean_entropy_of(scores.entropy)) : nullptr;
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

nlohmann::ordered_json to_json(const SampleDecision& decision) {
  nlohmann::ordered_json line;
  line["id"] = id_json(decision.id, decision.id_is_number);
  line["ppl"] = number_or_null(decision.perplexity);
  line["entropy"] = number_or_null(decision.entropy);
  line["quadrant"] = quadrant_name(decision.quadrant);
  line["kept"] = decision.kept;
  line["supplement"] = decision.supplement;
  if (decision.weight != 1) line["weight"] = decision.weight;
  if (decision.kept) line["kept_tokens"] = decision.kept_tokens;
  return line;
}

nlohmann::ordered_json to_json(const Thresholds& t) {
  return {{"alpha", t.alpha},   {"beta", t.beta},     {"ppl_hi", t.ppl_hi},
          {"ppl_lo", t.ppl_lo}, {"ent_lo", t.ent_lo}, {"ent_hi", t.ent_hi}};
}

}  // namespace qtune
