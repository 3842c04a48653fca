// Where what is not yet whole is written: beside its target.
#pragma once

#include <filesystem>

namespace qtune {

/// "TARGET.tmp-PID-SERIAL".
std::filesystem::path temporary_name(const std::filesystem::path& target, int serial);

/// Removes files and folders of such names that processes left which are no more. What can't be removed stays.
void remove_leftovers(const std::filesystem::path& target);

/// The same for every target in `folder`. Only where this process writes nothing yet: what bears its number is taken
/// for that of an earlier one (in a container all have the same).
void remove_leftovers_in(const std::filesystem::path& folder);

}  // namespace qtune
