#include "json_file.h"

#include <fmt/format.h>

#include "qtune/base/error.h"
#include "qtune/base/file.h"

namespace qtune {

void write_json_file(const std::filesystem::path& path, const nlohmann::ordered_json& json,
                     const std::filesystem::path& source) {
  std::string text;
  try {
    text = json.dump(2);
  } catch (const nlohmann::json::exception&) {
    throw CheckpointError(
        fmt::format("{}: expected texts in UTF-8 for {}, found other bytes ---> the file is damaged; copy "
                    "or download it again",
                    source.string(), path.filename().string()));
  }
  write_file_atomic(path, text);
}

}  // namespace qtune
