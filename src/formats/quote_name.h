// Names from files we do not trust, made fit for a one-line message.
#pragma once

#include <string>
#include <string_view>

namespace qtune {

/// In quotes, with control characters and broken UTF-8 escaped, cut after 120 bytes.
std::string quote_name(std::string_view text);

}  // namespace qtune
