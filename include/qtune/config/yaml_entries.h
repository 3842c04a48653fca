// YAML as a tree, and as a flat list of "dotted.key: value" entries, each with the place where it was written.
// Non-goals: anchors, aliases, tags and several documents, which no configuration needs; they are faults.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace qtune {

struct ConfigEntry {
  enum class Kind {
    kNull,
    kText,
    kList,     // of texts
    kComplex,  // a list that holds lists or maps; no key takes one
  };
  std::string key;    // "pruning.sample.keep"
  std::string place;  // "file.yaml:14" or "command line"
  Kind kind = Kind::kNull;
  std::vector<std::string> values;  // one for kText
};

struct ParsedEntries {
  std::vector<ConfigEntry> entries;
  std::vector<std::string> faults;
};

/// A value of a document and the line it starts in.
struct YamlNode {
  enum class Kind { kNull, kText, kList, kMap };
  Kind kind = Kind::kNull;
  std::string text;                // kText
  int line = 0;                    // 1-based
  std::vector<YamlNode> children;  // of a list; of a map: key, value, key, value, ...
};

struct ParsedYaml {
  YamlNode root;  // a map, or nothing in an empty file
  std::vector<std::string> faults;
};

/// A whole file; `name` stands in places. Faults: what is not YAML, and a document that is no map.
ParsedYaml parse_yaml(const std::string& text, const std::string& name);

/// The entries in `node`, with `key` in front of theirs; a node that is no map is one entry. Faults: keys given twice,
/// keys that are no words. `name` stands in places, `key_line` in that of a node that is no map.
ParsedEntries flatten_yaml(const YamlNode& node, const std::string& key, const std::string& name, int key_line);

/// The entries of a whole file: both of the above.
ParsedEntries parse_yaml_entries(const std::string& text, const std::string& name);

/// One "key=value" of the command line. A value that opens a bracket or a quote is read as YAML, any other as it
/// stands.
ParsedEntries parse_override(const std::string& text);

/// The value as a message shows it, shortened.
std::string shown_value(const ConfigEntry& entry);

}  // namespace qtune
