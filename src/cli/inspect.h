// The three things that `qtune inspect` looks at.
#pragma once

#include <cstdint>
#include <string>

namespace qtune {

/// Facts of a model folder, and what training it would take.
int inspect_model(const std::string& folder);

/// State of a run's folder; with step >= 1 the fates of that step's samples.
int inspect_run(const std::string& folder, int64_t step);

}  // namespace qtune
