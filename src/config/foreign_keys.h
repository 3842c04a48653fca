// Keys of LLaMA-Factory, the HF Trainer, TRL, Axolotl and torchtune that are not qtune's own: what becomes of each.
#pragma once

#include <string>
#include <vector>

namespace qtune {

enum class ForeignKind {
  kOldName,        // an earlier name of a key: read as that key, with a note
  kHarmless,       // accepted with a note; qtune has no use for it
  kUnsupported,    // an error, unless its value asks for nothing special
  kOtherSpelling,  // another program's name of a key: an error that names qtune's
  kOtherMeaning,   // another program's key that none here is equal to: an error that says what does the same
};

struct ForeignKey {
  std::string name;  // a '*' at the end stands for any rest
  ForeignKind kind;
  std::string text;  // kOldName, kOtherSpelling: qtune's key; kHarmless: why; others: what to do instead
  std::string
      harmless_value;  // kUnsupported: the values that ask for nothing special, "a, b"; "": null, false, none, 0
};

/// In the order of the docs page.
const std::vector<ForeignKey>& foreign_keys();

/// The entry for `name`, for a section that holds it ("fsdp_config" for "fsdp_config.x"), or for a pattern that fits;
/// nullptr where there is none.
const ForeignKey* find_foreign_key(const std::string& name);

}  // namespace qtune
