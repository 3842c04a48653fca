#include "quote_name.h"

#include <nlohmann/json.hpp>

namespace qtune {

std::string quote_name(std::string_view text) {
  constexpr size_t kMaxBytes = 120;
  std::string shown(text.substr(0, kMaxBytes));
  if (text.size() > kMaxBytes) shown += "...";
  return nlohmann::json(shown).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace qtune
