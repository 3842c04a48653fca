// The trained model (or adapter) that a run ends with, in output_dir itself, and the step it is of.
//
// final_model.json notes that step. It is written after the weights and removed before they are replaced, so a note
// is never beside weights of another step. Weights without one: a save that was cut short, or another program's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace qtune {

/// Whether weights or an adapter lie in the folder, of any run or of none.
bool holds_final_model(const std::filesystem::path& output_dir);

/// How many steps the final model was trained. nullopt: there is none, or nothing says so.
std::optional<int64_t> final_model_step(const std::filesystem::path& output_dir);

/// Throws: Error naming the file and the reason.
void note_final_model(const std::filesystem::path& output_dir, int64_t step);

/// Removes the note alone.
void forget_final_model(const std::filesystem::path& output_dir);

/// Removes note, weights and adapter.
void remove_final_model(const std::filesystem::path& output_dir);

}  // namespace qtune
