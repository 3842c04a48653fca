#include "qtune/prune/ratings.h"

#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "qtune/base/error.h"

namespace qtune {
namespace {

using Json = nlohmann::json;

[[noreturn]] void fail(const std::string& place, const std::string& expected, const std::string& found) {
  throw DataError(fmt::format("{}: expected {}, found {} ---> one object {{\"id\": ..., \"score\": ...}} a line", place,
                              expected, found));
}

std::string short_text(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 40);
}

std::string id_of(const Json& line, const std::string& place) {
  const auto id = line.find("id");
  if (id == line.end()) fail(place, "an id", "none");
  if (id->is_string()) return id->get<std::string>();
  if (!id->is_number()) fail(place, "id: a string or a number", short_text(*id));
  return id->dump();
}

double score_of(const Json& line, const std::string& place) {
  const auto score = line.find("score");
  if (score == line.end()) fail(place, "a score", "none");
  if (!score->is_number() || !std::isfinite(score->get<double>())) {
    fail(place, "score: a finite number", short_text(*score));
  }
  return score->get<double>();
}

}  // namespace

Ratings::Ratings(const std::filesystem::path& file) : name_(file.string()) {
  std::ifstream in(file, std::ios::binary);
  if (!in || std::filesystem::is_directory(file))
    throw DataError(name_ + ": cannot open this file of ratings ---> check pruning.sample.score_file");
  std::string text;
  for (int64_t number = 1; std::getline(in, text); ++number) {
    if (text.find_first_not_of(" \t\r") != std::string::npos) add_line(text, number);
  }
  if (in.bad()) throw DataError(name_ + ": cannot read ---> check the file and the disk");
  if (ratings_.empty()) throw DataError(name_ + ": expected ratings, found none ---> check pruning.sample.score_file");
}

void Ratings::add_line(const std::string& text, int64_t number) {
  const std::string place = fmt::format("{}:{}", name_, number);
  Json line;
  try {
    line = Json::parse(text);
  } catch (const Json::exception&) {
    fail(place, "a JSON object with finite numbers", "broken JSON (NaN and Infinity are no JSON either)");
  }
  if (!line.is_object()) fail(place, "a JSON object", line.type_name());
  const Rating rating{.score = score_of(line, place), .line = number};
  const auto [first, is_new] = ratings_.emplace(id_of(line, place), rating);
  if (is_new) return;
  throw DataError(fmt::format("{}: expected every id once, found \"{}\" again, first in line {} ---> take one out",
                              place, first->first, first->second.line));
}

std::string Ratings::same_place(std::string_view id) const {
  const auto last_part = [](std::string_view text) { return text.substr(text.rfind('/') + 1); };
  const std::string_view name = last_part(id);
  if (name.find(':') == std::string_view::npos) return "";
  for (const auto& [rated, rating] : ratings_) {
    if (last_part(rated) == name) return rated;
  }
  return "";
}

double Ratings::of(std::string_view id, const std::string& place) const {
  const auto it = ratings_.find(id);
  if (it != ratings_.end()) return it->second.score;
  const std::string expected = fmt::format("{}: expected a score for every sample, found none for \"{}\"{}", name_, id,
                                           place.empty() ? "" : " (" + place + ")");
  const std::string near = same_place(id);
  if (near.empty()) throw DataError(expected + " ---> rate it, or leave it out of the data");
  throw DataError(
      fmt::format("{}, but one for \"{}\" ---> a record without an \"id\" is named by its file's path as it is "
                  "written: write dataset as it was when the data was scored, or give the records ids",
                  expected, near));
}

}  // namespace qtune
