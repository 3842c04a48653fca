// What lies beside a model's weights and belongs to its tokenizer.
#pragma once

#include <filesystem>
#include <vector>

namespace qtune {

/// The tokenizer's and the chat templates' files of a model folder, as paths in it, sorted: those with known names,
/// tokenizer.model.v3 and the like, additional_chat_templates/*.jinja. Only files that are there.
std::vector<std::filesystem::path> tokenizer_files(const std::filesystem::path& folder);

/// Copies a file of one folder into another, making folders between. The same folder: nothing happens.
/// Throws: Error naming the path and the reason.
void carry_over(const std::filesystem::path& name, const std::filesystem::path& source,
                const std::filesystem::path& target);

}  // namespace qtune
