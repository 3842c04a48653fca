// Changes to inputs that leave their outer form whole, so that they reach what lies behind the first check.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "fuzz/targets.h"
#include "qtune/base/rng.h"

namespace qtune::fuzz {

/// Changes bytes at will; libFuzzer's own, or damage() of support/damage.h.
using MutateBytes = std::function<std::string(std::string)>;

/// One to four changes of the value: numbers at the edge of their range, members taken out, doubled, renamed, moved,
/// values wrapped in lists, texts changed by `mutate_bytes`. nullopt: no JSON, or nested too deep to walk.
std::optional<std::string> mutate_json(const std::string& text, CounterRng& rng, const MutateBytes& mutate_bytes);

/// Changes header or values, and sets the header's length right; often data_offsets and the file's size, too.
std::optional<std::string> mutate_safetensors(const std::string& bytes, CounterRng& rng,
                                              const MutateBytes& mutate_bytes);

/// By the target's form; what no form fits, and one in eight of the others, is changed byte by byte.
std::string mutate(Form form, const std::string& bytes, CounterRng& rng, const MutateBytes& mutate_bytes);

}  // namespace qtune::fuzz
