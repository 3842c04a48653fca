#include "qtune/config/load_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "check_config.h"
#include "foreign_keys.h"
#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/log.h"
#include "read_value.h"
#include "text_form.h"

namespace qtune {
namespace {

using Kind = ConfigEntry::Kind;

constexpr size_t kMaxFaults = 100;  // shown; a file with more is not a configuration

ParsedEntries read_config_file(const std::filesystem::path& file) {
  std::error_code failed;
  if (!std::filesystem::is_regular_file(file, failed)) {
    const char* found = std::filesystem::exists(file, failed) ? "something else" : "nothing";
    return {{}, {fmt::format("{}: expected a configuration file, found {} ---> check the path", file.string(), found)}};
  }
  try {
    return parse_yaml_entries(read_file(file), file.string());
  } catch (const ConfigError&) {
    throw;
  } catch (const Error& e) {
    throw ConfigError(e.what());
  }
}

// Switched off: null, false, no, off, none, 0, an empty text or list.
bool is_off(const ConfigEntry& entry) {
  if (entry.kind == Kind::kNull) return true;
  if (entry.kind == Kind::kList) return entry.values.empty();
  if (entry.kind == Kind::kComplex) return false;
  const std::string& text = entry.values[0];
  return text.empty() || text == "none" || parse_truth(text) == false || parse_number(text) == 0.0;
}

// Whether a key that is not supported has a value that asks for nothing special.
bool asks_for_nothing(const ConfigEntry& entry, const ForeignKey& foreign) {
  if (entry.kind == Kind::kNull) return true;
  if (foreign.harmless_value.empty()) return is_off(entry);
  return entry.kind == Kind::kText &&
         (", " + foreign.harmless_value + ",").find(", " + entry.values[0] + ",") != std::string::npos;
}

// transformers reads a number of steps below 1 as a share of the run, whose length is not known here.
bool is_share_of_steps(const ConfigEntry& entry) {
  const bool counts_steps = entry.key == "eval_steps" || entry.key == "save_steps" || entry.key == "logging_steps";
  if (!counts_steps || entry.kind != Kind::kText) return false;
  const std::optional<double> value = parse_number(entry.values[0]);
  return value && *value > 0 && *value < 1;
}

// Reads entries into a config, key by key.
class Loader {
 public:
  Loader() : keys_(config_keys(loaded_.config)) {
    for (const ConfigKey& key : keys_) loaded_.origins[key.name] = "default";
  }

  void fail(std::string fault) { faults_.push_back(std::move(fault)); }
  void fail_all(const std::vector<std::string>& faults) { faults_.insert(faults_.end(), faults.begin(), faults.end()); }

  void read(ConfigEntry entry) {
    use_share_of_steps(entry);
    if (const ConfigKey* key = find_key(entry.key)) return read_own(entry, *key);
    if (is_section(entry.key)) return read_section(entry);
    if (const ForeignKey* foreign = find_foreign_key(entry.key)) return read_foreign(entry, *foreign);
    fail_unknown(entry);
  }

  /// Throws what was found so far.
  void throw_faults() const {
    if (faults_.empty()) return;
    const size_t num_shown = std::min(faults_.size(), kMaxFaults);
    std::string text = fmt::format("{}", fmt::join(faults_.begin(), faults_.begin() + num_shown, "\n"));
    if (num_shown < faults_.size()) text += fmt::format("\n... and {} more faults", faults_.size() - num_shown);
    throw ConfigError(text);
  }

  LoadedConfig finish() {
    std::optional<std::string>& resume = loaded_.config.resume_from_checkpoint;
    if (const auto truth = resume ? parse_truth(*resume) : std::nullopt) resume = *truth ? "true" : "false";
    fail_all(check_config({loaded_, faulty_keys_}));
    throw_faults();
    const std::vector<std::string> notes = config_notes(loaded_);
    loaded_.notes.insert(loaded_.notes.end(), notes.begin(), notes.end());
    return std::move(loaded_);
  }

 private:
  const ConfigKey* find_key(const std::string& name) const {
    const auto found = std::find_if(keys_.begin(), keys_.end(), [&](const ConfigKey& key) { return key.name == name; });
    return found == keys_.end() ? nullptr : &*found;
  }

  bool is_section(const std::string& name) const {
    return std::any_of(keys_.begin(), keys_.end(),
                       [&](const ConfigKey& key) { return key.name.starts_with(name + "."); });
  }

  void read_section(const ConfigEntry& entry) {
    if (entry.kind == Kind::kNull) return;  // an empty section is one that is not there
    // The HF Trainer takes a section as one text of JSON too.
    if (entry.kind != Kind::kText || !entry.values[0].starts_with("{")) {
      for (const ConfigKey& key : keys_) {
        if (key.name.starts_with(entry.key + ".")) faulty_keys_.insert(key.name);
      }
      return fail(fmt::format("{}: {}: expected a section with keys of its own, found {}", entry.place, entry.key,
                              shown_value(entry)));
    }
    ParsedEntries inside = parse_override(entry.key + "=" + entry.values[0]);
    for (const std::string& fault : inside.faults) fail(entry.place + fault.substr(fault.find(':')));
    for (ConfigEntry& part : inside.entries) {
      part.place = entry.place;
      if (part.key != entry.key) read(std::move(part));
    }
  }

  // transformers 5 takes a warmup_steps below 1 as a share of all steps.
  void use_share_of_steps(ConfigEntry& entry) {
    if (entry.key != "warmup_steps" || entry.kind != Kind::kText) return;
    const std::optional<double> share = parse_number(entry.values[0]);
    if (!share || *share <= 0 || *share >= 1) return;
    note(entry, "below 1, read as warmup_ratio");
    entry.key = "warmup_ratio";
  }

  void read_own(const ConfigEntry& entry, const ConfigKey& key) {
    loaded_.origins[key.name] = entry.place;
    const std::string expected = read_value(entry, key);
    if (expected.empty()) return;
    faulty_keys_.insert(key.name);
    fail(fmt::format(
        "{}: {}: expected {}, found {}{}", entry.place, entry.key, expected, shown_value(entry),
        is_share_of_steps(entry) ? " ---> write a number of steps; a share of the run is not read here" : ""));
  }

  void read_foreign(const ConfigEntry& entry, const ForeignKey& foreign) {
    switch (foreign.kind) {
      case ForeignKind::kOldName:
        note(entry, "read as " + foreign.text);
        if (loaded_.origins.at(foreign.text) != "default") {
          return fail(fmt::format("{}: {}: given beside {} ({}) ---> keep one of them", entry.place, entry.key,
                                  foreign.text, loaded_.origins.at(foreign.text)));
        }
        return read_own({foreign.text, entry.place, entry.kind, entry.values}, *find_key(foreign.text));
      case ForeignKind::kHarmless:
        return note(entry, "accepted, no effect: " + foreign.text);
      case ForeignKind::kUnsupported:
        if (asks_for_nothing(entry, foreign)) return;
        return fail(fmt::format("{}: {}: not supported, found {} ---> {}", entry.place, entry.key, shown_value(entry),
                                foreign.text));
      case ForeignKind::kOtherSpelling:
        return fail(fmt::format("{}: {}: another program's key ---> use {}", entry.place, entry.key, foreign.text));
      case ForeignKind::kOtherMeaning:
        return fail(fmt::format("{}: {}: another program's key ---> {}", entry.place, entry.key, foreign.text));
    }
  }

  void fail_unknown(const ConfigEntry& entry) {
    if (faults_.size() >= kMaxFaults) return fail("");  // counted, not shown: no search for a near name
    std::vector<std::string> known;
    for (const ConfigKey& key : keys_) known.push_back(key.name);
    for (const ForeignKey& key : foreign_keys()) {
      if (key.kind == ForeignKind::kHarmless && !key.name.ends_with('*')) known.push_back(key.name);
    }
    std::string near = entry.key.size() <= 100 ? nearest_name(entry.key, known) : "";
    // The right word in the wrong section.
    const std::string last_word = "." + entry.key.substr(entry.key.rfind('.') + 1);
    for (const ConfigKey& key : keys_) {
      if (near.empty() && ("." + key.name).ends_with(last_word)) near = key.name;
    }
    // Most likely that key is meant: what it lacks is no news.
    if (find_key(near) != nullptr) faulty_keys_.insert(near);
    fail(fmt::format("{}: {}: unknown key{}", entry.place, shown_key(entry.key),
                     near.empty() ? " ---> `qtune config` lists the keys" : fmt::format("; did you mean {}?", near)));
  }

  static std::string shown_key(std::string key) {
    for (char& c : key) {
      if (static_cast<unsigned char>(c) < ' ') c = ' ';
    }
    return key.size() > 100 ? key.substr(0, 100) + "..." : key;
  }

  void note(const ConfigEntry& entry, const std::string& text) {
    loaded_.notes.push_back(fmt::format("{}: {}: {}", entry.place, entry.key, text));
  }

  LoadedConfig loaded_;
  std::vector<ConfigKey> keys_;  // point into loaded_.config
  std::set<std::string> faulty_keys_;
  std::vector<std::string> faults_;
};

// Entries of the command line take the place of the file's and of earlier ones.
void override_entry(std::vector<ConfigEntry>& entries, ConfigEntry entry) {
  const ForeignKey* foreign = find_foreign_key(entry.key);
  if (foreign != nullptr && foreign->kind == ForeignKind::kOldName) entry.key = foreign->text;
  const bool whole_section = entry.kind == Kind::kNull;
  std::erase_if(entries, [&](const ConfigEntry& old) {
    return old.key == entry.key || (whole_section && old.key.starts_with(entry.key + "."));
  });
  entries.push_back(std::move(entry));
}

LoadedConfig load(const std::optional<std::filesystem::path>& file, ParsedEntries changes) {
  Loader loader;
  ParsedEntries parsed;
  if (file) parsed = read_config_file(*file);
  loader.fail_all(parsed.faults);
  if (parsed.entries.empty()) loader.throw_faults();  // not readable at all: what it lacks is no news
  loader.fail_all(changes.faults);
  for (ConfigEntry& entry : changes.entries) override_entry(parsed.entries, std::move(entry));
  for (ConfigEntry& entry : parsed.entries) loader.read(std::move(entry));
  return loader.finish();
}

}  // namespace

LoadedConfig load_train_config(const std::optional<std::filesystem::path>& file,
                               const std::vector<std::string>& overrides) {
  ParsedEntries changes;
  for (const std::string& text : overrides) {
    ParsedEntries given = parse_override(text);
    changes.faults.insert(changes.faults.end(), given.faults.begin(), given.faults.end());
    for (ConfigEntry& entry : given.entries) changes.entries.push_back(std::move(entry));
  }
  return load(file, std::move(changes));
}

LoadedConfig load_changed_config(const std::optional<std::filesystem::path>& file,
                                 const std::vector<ConfigEntry>& changes) {
  return load(file, {changes, {}});
}

void log_notes(const LoadedConfig& loaded) {
  for (const std::string& note : loaded.notes) spdlog::info("note: {}", note);
}

}  // namespace qtune
