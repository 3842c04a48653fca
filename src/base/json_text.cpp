#include "qtune/base/json_text.h"

#include <fmt/format.h>

#include <string_view>

#include "qtune/base/error.h"
#include "qtune/base/file.h"

namespace qtune {
namespace {

/// Of what is no JSON it says something, too; the parser refuses that.
bool nests_too_deep(std::string_view text) {
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxJsonFileDepth) return true;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return false;
}

}  // namespace

std::string read_json_text(const std::filesystem::path& path, uint64_t max_bytes) {
  std::error_code ignored;
  if (const uint64_t size = std::filesystem::file_size(path, ignored); !ignored && size > max_bytes) {
    throw CheckpointError(fmt::format("{}: expected a JSON file of at most {}, found {} ---> give the model's own file",
                                      path.string(), format_bytes(max_bytes), format_bytes(size)));
  }
  std::string text = read_file(path);
  if (nests_too_deep(text)) {
    throw CheckpointError(
        fmt::format("{}: expected lists and objects nested at most {} deep, found more ---> the file is damaged; copy "
                    "or download it again",
                    path.string(), kMaxJsonFileDepth));
  }
  return text;
}

}  // namespace qtune
