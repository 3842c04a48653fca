#include "sweep_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "qtune/base/error.h"
#include "qtune/base/file.h"

namespace qtune {
namespace {

using Kind = YamlNode::Kind;

const std::vector<std::string> kKeys = {"base", "output_dir", "name", "seeds", "grid", "list", "devices", "eval"};
const std::vector<std::string> kEvalKeys = {"tasks", "data_dir", "limit", "style"};

bool is_config_key(const std::string& name) {
  TrainConfig config;
  const std::vector<ConfigKey> keys = config_keys(config);
  return std::any_of(keys.begin(), keys.end(), [&](const ConfigKey& key) {
    return key.name == name || key.name.starts_with(name + ".") || name.starts_with(key.name + ".");
  });
}

/// The keys that each run gets from the sweep, and what to write instead.
std::string fault_of_own_key(const std::string& key) {
  if (key == "seed") return "the sweep's runs get their seeds from it ---> use `seeds:`";
  if (key == "output_dir") return "each run has a folder of its own ---> use the sweep's `output_dir:`";
  const bool own = key == "overwrite_output_dir" || key == "resume_from_checkpoint" || key == "dry_run";
  return own ? "the sweep sets it for each run ---> remove it" : "";
}

class Reader {
 public:
  explicit Reader(std::filesystem::path file) : path_(std::move(file)), name_(path_.string()) {}

  SweepFile read(const YamlNode& root) {
    walk(root, [&](const YamlNode& key, const YamlNode& value) { read_key(key, value); });
    if (!file_.base) fail("base", "expected the file of a training's config, found none ---> this key is required");
    if (file_.output_dir.empty()) {
      fail("output_dir", "expected a folder for the sweep's runs and tables, found none ---> this key is required");
    }
    if (file_.grid.empty() && file_.list.empty() && file_.seeds.empty() && file_.faults.empty()) {
      fail("grid", "expected runs, found none ---> write `grid:`, `list:` or `seeds:`");
    }
    return std::move(file_);
  }

 private:
  std::string place(int line) const { return fmt::format("{}:{}", name_, line); }
  void fail(const std::string& where, const std::string& fault) {
    file_.faults.push_back(fmt::format("{}: {}: {}", name_, where, fault));
  }
  void fail(int line, const std::string& key, const std::string& fault) {
    file_.faults.push_back(fmt::format("{}: {}: {}", place(line), key, fault));
  }

  /// Calls `read` for each key of a map; keys given twice and keys that are no words are faults.
  template <class F>
  void walk(const YamlNode& map, F read) {
    std::vector<std::string> seen;
    for (size_t i = 0; i + 1 < map.children.size(); i += 2) {
      const YamlNode& key = map.children[i];
      if (key.kind != Kind::kText) {
        fail(key.line, "key", "expected a word, found a list, a map or nothing");
      } else if (std::find(seen.begin(), seen.end(), key.text) != seen.end()) {
        fail(key.line, key.text, "given twice ---> keep one of them");
      } else {
        seen.push_back(key.text);
        read(key, map.children[i + 1]);
      }
    }
  }

  void read_key(const YamlNode& key, const YamlNode& value) {
    if (key.text == "base") {
      // Beside the sweep's file, so that both can be used from anywhere.
      const std::string text = text_of(key, value);
      if (!text.empty()) file_.base = (path_.parent_path() / text).lexically_normal();
    } else if (key.text == "output_dir") {
      file_.output_dir = text_of(key, value);
    } else if (key.text == "name") {
      file_.name = text_of(key, value);
      file_.name_place = place(key.line);
    } else if (key.text == "seeds") {
      file_.seeds_place = place(key.line);
      file_.seeds = values_of("seed", key, value);
    } else if (key.text == "grid") {
      file_.grid_place = place(key.line);
      read_grid("", key, value);
    } else if (key.text == "list") {
      read_list(key, value);
    } else if (key.text == "devices") {
      file_.devices = texts_of(key, value);
    } else if (key.text == "eval") {
      read_eval(key, value);
    } else {
      fail_unknown(key, kKeys);
    }
  }

  void fail_unknown(const YamlNode& key, const std::vector<std::string>& known) {
    const std::string near = nearest_name(key.text, known);
    if (!near.empty()) return fail(key.line, key.text, fmt::format("unknown key; did you mean {}?", near));
    fail(key.line, key.text,
         is_config_key(key.text) && &known == &kKeys
             ? "a key of the runs, not of the sweep ---> write it in the base file, in `grid:` or in `list:`"
             : fmt::format("unknown key ---> expected one of {}", fmt::join(known, ", ")));
  }

  std::string text_of(const YamlNode& key, const YamlNode& value) {
    if (value.kind == Kind::kText && !value.text.empty()) return value.text;
    fail(key.line, key.text, "expected a text, found nothing, a list or a map");
    return "";
  }

  std::vector<std::string> texts_of(const YamlNode& key, const YamlNode& value) {
    std::vector<std::string> texts;
    if (value.kind == Kind::kText) return {value.text};
    for (const YamlNode& item : value.children) {
      if (value.kind == Kind::kList && item.kind == Kind::kText) texts.push_back(item.text);
    }
    if (value.kind == Kind::kList && texts.size() == value.children.size() && !texts.empty()) return texts;
    fail(key.line, key.text, "expected a list of words or numbers, found something else");
    return {};
  }

  SweepChange entries_of(const YamlNode& node, const std::string& key, int line) {
    ParsedEntries parsed = flatten_yaml(node, key, name_, line);
    file_.faults.insert(file_.faults.end(), parsed.faults.begin(), parsed.faults.end());
    return std::move(parsed.entries);
  }

  /// A list of values for one key; a value alone is a list of one.
  std::vector<SweepChange> values_of(const std::string& config_key, const YamlNode& key, const YamlNode& value) {
    if (value.kind == Kind::kText) return {entries_of(value, config_key, value.line)};
    std::vector<SweepChange> values;
    if (value.kind == Kind::kList) {
      for (const YamlNode& item : value.children) values.push_back(entries_of(item, config_key, item.line));
    }
    if (values.empty()) fail(key.line, config_key, "expected a list of values, found none");
    return values;
  }

  void read_grid(const std::string& prefix, const YamlNode& section, const YamlNode& grid) {
    if (grid.kind != Kind::kMap) {
      return fail(section.line, section.text, "expected `key: [values]` lines, found something else");
    }
    walk(grid, [&](const YamlNode& key, const YamlNode& value) {
      const std::string name = prefix + key.text;
      if (value.kind == Kind::kMap) return read_grid(name + ".", key, value);
      if (const std::string fault = fault_of_own_key(name); !fault.empty()) return fail(key.line, name, fault);
      const auto same = [&](const SweepAxis& axis) { return axis.key == name; };
      if (std::any_of(file_.grid.begin(), file_.grid.end(), same)) return fail(key.line, name, "given twice");
      file_.grid.push_back({name, values_of(name, key, value)});
    });
  }

  void read_list(const YamlNode& key, const YamlNode& list) {
    if (list.kind != Kind::kList) return fail(key.line, "list", "expected a list of runs, found something else");
    for (const YamlNode& item : list.children) {
      if (item.kind != Kind::kMap) {
        fail(item.line, "list", "expected a run's keys, as in `- {learning_rate: 1.0e-4}`, found something else");
        continue;
      }
      SweepListItem run{.place = place(item.line), .name = std::nullopt, .changes = entries_of(item, "", item.line)};
      std::erase_if(run.changes, [&](const ConfigEntry& entry) { return take_name(entry, run); });
      file_.list.push_back(std::move(run));
    }
  }

  /// Whether the entry is one of the sweep's own, not of the run's config.
  bool take_name(const ConfigEntry& entry, SweepListItem& run) {
    const std::string fault = fault_of_own_key(entry.key);
    if (!fault.empty()) file_.faults.push_back(fmt::format("{}: {}: {}", entry.place, entry.key, fault));
    if (entry.key != "name") return !fault.empty();
    if (entry.kind == ConfigEntry::Kind::kText) run.name = entry.values[0];
    if (!run.name) file_.faults.push_back(fmt::format("{}: name: expected a text, found something else", entry.place));
    return true;
  }

  void read_eval(const YamlNode& section, const YamlNode& eval) {
    if (eval.kind != Kind::kMap) return fail(section.line, "eval", "expected `tasks:` and `data_dir:` in it");
    SweepEval& e = file_.eval.emplace();
    walk(eval, [&](const YamlNode& key, const YamlNode& value) {
      if (key.text == "tasks") return void(e.tasks = texts_of(key, value));
      if (key.text == "data_dir") return void(e.data_dir = text_of(key, value));
      if (key.text == "limit") return void(e.limit = text_of(key, value));
      if (key.text == "style") return void(e.style = text_of(key, value));
      fail_unknown(key, kEvalKeys);
    });
    if (e.tasks.empty()) fail(section.line, "eval.tasks", "expected a list of tasks, found none");
    if (e.data_dir.empty()) fail(section.line, "eval.data_dir", "expected the folder with the tasks' data, found none");
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (e.limit && (!std::all_of(e.limit->begin(), e.limit->end(), is_digit) || e.limit == "0")) {
      fail(section.line, "eval.limit", fmt::format("expected a number of items a task, found '{}'", *e.limit));
    }
  }

  std::filesystem::path path_;
  std::string name_;
  SweepFile file_;
};

}  // namespace

SweepFile read_sweep_file(const std::filesystem::path& file) {
  std::error_code failed;
  if (!std::filesystem::is_regular_file(file, failed)) {
    throw ConfigError(fmt::format("{}: expected a sweep's file, found none ---> check the path", file.string()));
  }
  ParsedYaml yaml;
  try {
    yaml = parse_yaml(read_file(file), file.string());
  } catch (const Error& e) {
    throw ConfigError(e.what());
  }
  if (!yaml.faults.empty()) throw ConfigError(fmt::format("{}", fmt::join(yaml.faults, "\n")));
  return Reader(file).read(yaml.root);
}

}  // namespace qtune
