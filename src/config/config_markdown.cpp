#include <fmt/format.h>
#include <fmt/ranges.h>

#include "check_config.h"
#include "foreign_keys.h"
#include "qtune/config/print_config.h"

namespace qtune {
namespace {

constexpr const char* kIntroduction = R"(# Configuration

<!-- Generated: `build/bin/qtune config --markdown > docs/config.md`.
     Edit the declarations in include/qtune/config/train_config.h instead. -->

For whoever writes a configuration for `qtune train`. Keys are named as LLaMA-Factory and the HF Trainer name them, so
that a LLaMA-Factory SFT file for a text model runs as it is. Defaults are LLaMA-Factory's, else the HF Trainer's.

```
qtune train --config run.yaml                                                # a file
qtune train --config run.yaml learning_rate=1e-5 pruning.sample.keep=0.25    # with changes; the last one wins
qtune config --config run.yaml                                               # all values, and where each came from
```

- Dots name keys inside sections. A list is a YAML list or one text with commas. `key=null` takes a file's value back
  where the key may be null, `pruning=null` a whole section.
- Numbers may be written `1e-4`. A whole number may be written `32.0`.
- All faults of a file are reported at once, with line numbers, before anything is loaded. Exit code 2.
- Anchors and aliases of YAML are not read.
- The values a run used lie in `config.yaml` in its `output_dir`.
)";

constexpr const char* kPruningNote = R"(
Without `pruning` nothing is pruned. Naming one method leaves the other at `none`. Q-Tuning in full:

```yaml
pruning:
  sample: {method: qtuning, keep: 0.125}
  token:  {method: qtuning, keep: 0.5, mode: mask, lambda: 0.5}
  scope: global
```
)";

std::string in_table(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '|') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

// "one of ...", a range, and what of it this version has.
std::string values_cell(const ConfigKey& key) {
  std::string cell =
      key.allowed.choices.empty() ? describe(key.allowed) : fmt::format("`{}`", fmt::join(key.allowed.choices, "`, `"));
  if (const NotYetRule* rule = find_not_yet(key.name)) {
    if (!cell.empty()) cell += "; ";
    cell += fmt::format("**this version: only `{}`**", fmt::join(rule->available, "`, `"));
  }
  return cell;
}

std::string key_tables() {
  TrainConfig defaults;
  std::string text, group;
  for (const ConfigKey& key : config_keys(defaults)) {
    if (key.group != group) {
      text += fmt::format("\n## {}\n", key.group);
      if (key.group == "Pruning") text += kPruningNote;
      text += "\n| key | type | default | values | meaning |\n|---|---|---|---|---|\n";
      group = key.group;
    }
    const std::string default_value = format_value(key.field);
    const std::string type = fmt::format("{}{}", type_name(key.field), is_nullable(key.field) ? " or null" : "");
    text += fmt::format("| `{}` | {} | {} | {} | {} |\n", key.name, type,
                        default_value == "\"\"" ? "" : fmt::format("`{}`", default_value), in_table(values_cell(key)),
                        in_table(key.meaning));
  }
  return text;
}

std::string foreign_table(const char* head, ForeignKind kind) {
  std::string text = head;
  for (const ForeignKey& key : foreign_keys()) {
    if (key.kind != kind) continue;
    const std::string accepted = key.harmless_value.empty() ? "" : fmt::format(" (accepted: `{}`)", key.harmless_value);
    text += fmt::format("| `{}` | {}{} |\n", key.name, in_table(key.text), accepted);
  }
  return text;
}

}  // namespace

std::string config_markdown() {
  std::string text = kIntroduction;
  text += key_tables();
  text += foreign_table(
      "\n## Keys of LLaMA-Factory and the HF Trainer without use here\n\n"
      "Accepted with a note. A `*` stands for any rest of the name.\n\n| key | why |\n|---|---|\n",
      ForeignKind::kHarmless);
  text += foreign_table("\nOther names of the same key, read as that key:\n\n| key | read as |\n|---|---|\n",
                        ForeignKind::kOldName);
  text += foreign_table(
      "\n## Not supported\n\nAn error, unless null, false, none, 0 or empty, or as the line says.\n\n| key | instead "
      "|\n|---|---|\n",
      ForeignKind::kUnsupported);
  text += foreign_table(
      "\n## Spellings of TRL, Axolotl and torchtune\n\nAn error that names qtune's key.\n\n| key | here |\n|---|---|\n",
      ForeignKind::kOtherSpelling);
  text += foreign_table(
      "\nNo key here is equal to these; the error says what does the same:\n\n| key | here |\n|---|---|\n",
      ForeignKind::kOtherMeaning);
  return text;
}

}  // namespace qtune
