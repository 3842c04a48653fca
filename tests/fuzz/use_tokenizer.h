#pragma once

#include <filesystem>

namespace qtune::fuzz {

/// Loads the folder's tokenizer, and encodes and decodes some texts with it.
/// Throws: qtune::Error when it is refused; std::logic_error when ids, offsets or decoded text break a promise.
void use_tokenizer(const std::filesystem::path& folder);

}  // namespace qtune::fuzz
