#include "output_check.h"

#include <fmt/format.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "qtune/base/error.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

/// Absolute and without links, as far as there is something; the name itself may be a link, which is written through.
fs::path place_of(const fs::path& path) {
  std::error_code ignored;
  const fs::path whole = fs::absolute(path, ignored).lexically_normal();
  const fs::path folder = fs::weakly_canonical(whole.parent_path(), ignored);
  return folder / whole.filename();
}

bool is_same_file(const fs::path& a, const fs::path& b) {
  std::error_code ignored;
  return fs::equivalent(a, b, ignored) || place_of(a) == place_of(b);
}

/// The first line that is not blank; nullopt where there is none.
std::optional<std::string> first_line(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  for (std::string line; std::getline(in, line);) {
    if (line.find_first_not_of(" \t\r") != std::string::npos) return line;
  }
  return std::nullopt;
}

bool is_object_with(const std::string& line, const char* first, const char* second) {
  const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
  return json.is_object() && json.contains(first) && json.contains(second);
}

bool begins_a_page(std::string line) {
  for (char& c : line) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const size_t begin = line.find_first_not_of(" \t\xEF\xBB\xBF");
  return line.compare(begin, 14, "<!doctype html") == 0 || line.compare(begin, 5, "<html") == 0;
}

bool is_of_kind(const std::string& line, OutputKind kind) {
  switch (kind) {
    case OutputKind::kScores:
      return is_object_with(line, "nll", "entropy");
    case OutputKind::kThresholds:
      return is_object_with(line, "alpha", "beta");
    case OutputKind::kPage:
      return begins_a_page(line);
  }
  return false;
}

const char* name_of(OutputKind kind) {
  return kind == OutputKind::kScores ? "scores" : kind == OutputKind::kThresholds ? "thresholds" : "an HTML page";
}

}  // namespace

void check_output(const char* option, const std::string& path, OutputKind kind,
                  const std::vector<std::string>& inputs) {
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  if (fs::exists(status) && !fs::is_regular_file(status)) return;
  for (const std::string& input : inputs) {
    if (input.empty() || input == "-" || !is_same_file(path, input)) continue;
    throw ConfigError(
        fmt::format("{}: {}: expected a file of its own, found {}, which this command reads ---> give "
                    "another path",
                    option, path, input));
  }
  if (!fs::exists(status)) return;
  const auto line = first_line(path);
  if (!line || is_of_kind(*line, kind)) return;
  throw ConfigError(
      fmt::format("{}: {}: expected no file, or one with {} to replace, found another ---> give another "
                  "path, or remove that file first",
                  option, path, name_of(kind)));
}

}  // namespace qtune
