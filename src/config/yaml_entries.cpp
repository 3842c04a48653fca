#include "qtune/config/yaml_entries.h"

#include <fmt/format.h>
#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/null.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "text_form.h"

namespace qtune {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;
constexpr const char* kNoAnchors = "expected plain values, found an anchor or alias ---> write the value out";

// A tree of our own from yaml-cpp's events, without the aliases that make YAML::Node a graph, and possibly a cyclic or
// exponential one. Its depth is bounded by yaml-cpp's parser (500), its size by the text's.
class TreeBuilder : public YAML::EventHandler {
 public:
  YamlNode root;
  std::vector<int> anchor_lines;

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnAnchor(const YAML::Mark& mark, const std::string&) override { anchor_lines.push_back(mark.line + 1); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    anchor_lines.push_back(mark.line + 1);
    finish({YamlNode::Kind::kNull, "", mark.line + 1, {}});
  }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override {
    finish({YamlNode::Kind::kNull, "null", mark.line + 1, {}});
  }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t, const std::string& text) override {
    finish({YamlNode::Kind::kText, text, mark.line + 1, {}});
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    open_.push_back({YamlNode::Kind::kList, "", mark.line + 1, {}});
  }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    open_.push_back({YamlNode::Kind::kMap, "", mark.line + 1, {}});
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

 private:
  void close() {
    YamlNode node = std::move(open_.back());
    open_.pop_back();
    finish(std::move(node));
  }
  void finish(YamlNode node) {
    if (open_.empty()) {
      root = std::move(node);
    } else {
      open_.back().children.push_back(std::move(node));
    }
  }

  std::vector<YamlNode> open_;
};

// Turns a tree into entries.
class Flattener {
 public:
  /// `count_lines`: places are "name:line"; otherwise just "name".
  Flattener(std::string name, bool count_lines) : name_(std::move(name)), count_lines_(count_lines) {}

  ParsedEntries result;

  std::string place(int line) const { return count_lines_ ? fmt::format("{}:{}", name_, line) : name_; }
  void fault(int line, const std::string& text) { result.faults.push_back(fmt::format("{}: {}", place(line), text)); }

  void walk_map(const YamlNode& map, const std::string& prefix) {
    std::map<std::string, int> seen;
    for (size_t i = 0; i + 1 < map.children.size(); i += 2) {
      const YamlNode& key = map.children[i];
      if (key.kind != YamlNode::Kind::kText) {
        fault(key.line, "expected a word as key, found a list, a map or nothing");
        continue;
      }
      const auto [first, fresh] = seen.emplace(key.text, key.line);
      if (!fresh) {
        twice(key.line, prefix + key.text, first->second);
        continue;
      }
      walk_value(map.children[i + 1], prefix + key.text, key.line);
    }
  }

  void walk_value(const YamlNode& node, const std::string& key, int line) {
    ConfigEntry entry{.key = key, .place = place(line)};
    switch (node.kind) {
      case YamlNode::Kind::kMap:
        if (!node.children.empty()) return walk_map(node, key + ".");
        break;  // an empty section is nothing
      case YamlNode::Kind::kNull:
        break;
      case YamlNode::Kind::kText:
        entry.kind = ConfigEntry::Kind::kText;
        entry.values = {node.text};
        break;
      case YamlNode::Kind::kList:
        entry.kind = ConfigEntry::Kind::kList;
        for (const YamlNode& child : node.children) {
          if (child.kind != YamlNode::Kind::kText) entry.kind = ConfigEntry::Kind::kComplex;
          entry.values.push_back(child.text);
        }
        break;
    }
    // "a.b: 1" and "a: {b: 1}" are the same key.
    const auto [first, fresh] = lines_.emplace(key, line);
    if (!fresh) return twice(line, key, first->second);
    result.entries.push_back(std::move(entry));
  }

 private:
  void twice(int line, const std::string& key, int first_line) {
    fault(line, fmt::format("{}: given twice, first in line {} ---> keep one of them", key, first_line));
  }

  std::string name_;
  bool count_lines_;
  std::map<std::string, int> lines_;
};

// The document in `text`; an empty one is a node without a kind.
YamlNode parse_document(const std::string& text, Flattener& faults) {
  std::istringstream stream(text);
  TreeBuilder builder;
  try {
    YAML::Parser parser(stream);
    if (!parser.HandleNextDocument(builder)) return {};
    TreeBuilder second;
    if (parser.HandleNextDocument(second)) {
      faults.fault(second.root.line, "expected one YAML document, found a second ---> remove it");
    }
  } catch (const YAML::DeepRecursion& e) {
    faults.fault(e.mark.line + 1, "expected a few levels of nesting, found hundreds");
  } catch (const YAML::Exception& e) {
    faults.fault(e.mark.is_null() ? 1 : e.mark.line + 1, fmt::format("not valid YAML: {}", e.msg));
  }
  for (const int line : builder.anchor_lines) faults.fault(line, kNoAnchors);
  return std::move(builder.root);
}

// Fills faults.result when the bytes can be no configuration.
void check_bytes(const std::string& text, const std::string& name, Flattener& faults) {
  if (text.size() > kMaxFileBytes) {
    faults.result.faults = {
        fmt::format("{}: expected a configuration of at most {} bytes, found {} ---> is this another file?", name,
                    kMaxFileBytes, text.size())};
    return;
  }
  const bool utf16 = text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff");  // yaml-cpp reads it
  if (const size_t bad = first_byte_not_utf8(text); !utf16 && bad != std::string::npos) {
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(bad), '\n');
    faults.fault(static_cast<int>(line),
                 fmt::format("expected text in UTF-8, found byte 0x{:02x} ---> save the file as UTF-8",
                             static_cast<unsigned char>(text[bad])));
  }
}

}  // namespace

ParsedYaml parse_yaml(const std::string& text, const std::string& name) {
  Flattener flattener(name, /*count_lines=*/true);
  std::vector<std::string>& faults = flattener.result.faults;
  check_bytes(text, name, flattener);
  if (!faults.empty()) return {{}, std::move(faults)};
  YamlNode root = parse_document(text, flattener);
  if (!faults.empty()) return {{}, std::move(faults)};
  if (root.kind != YamlNode::Kind::kMap && root.kind != YamlNode::Kind::kNull) {
    flattener.fault(root.line, "expected `key: value` lines, found a list or a single value");
    return {{}, std::move(faults)};
  }
  return {std::move(root), {}};
}

ParsedEntries flatten_yaml(const YamlNode& node, const std::string& key, const std::string& name, int key_line) {
  Flattener flattener(name, /*count_lines=*/true);
  if (key.empty()) {
    flattener.walk_map(node, "");
  } else {
    flattener.walk_value(node, key, key_line);
  }
  return std::move(flattener.result);
}

ParsedEntries parse_yaml_entries(const std::string& text, const std::string& name) {
  ParsedYaml parsed = parse_yaml(text, name);
  if (!parsed.faults.empty()) return {{}, std::move(parsed.faults)};
  return flatten_yaml(parsed.root, "", name, 1);
}

ParsedEntries parse_override(const std::string& text) {
  Flattener flattener("command line", /*count_lines=*/false);
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return {{}, {fmt::format("command line: expected key=value, found '{}'", text)}};
  }
  const std::string key = text.substr(0, equals), value = text.substr(equals + 1);
  if (!value.empty() && std::string_view("[{\"'").find(value[0]) != std::string_view::npos) {
    const YamlNode node = parse_document(value, flattener);
    if (flattener.result.faults.empty()) flattener.walk_value(node, key, 1);
  } else if (YAML::IsNullString(value)) {
    flattener.walk_value({YamlNode::Kind::kNull, "null", 1, {}}, key, 1);
  } else {
    flattener.walk_value({YamlNode::Kind::kText, value, 1, {}}, key, 1);
  }
  for (std::string& fault : flattener.result.faults) fault += fmt::format(" (in '{}')", text);
  return std::move(flattener.result);
}

std::string shown_value(const ConfigEntry& entry) {
  constexpr size_t kMaxShown = 60;
  std::string shown;
  switch (entry.kind) {
    case ConfigEntry::Kind::kNull:
      return "nothing (null)";
    case ConfigEntry::Kind::kComplex:
      return "a list of lists or maps";
    case ConfigEntry::Kind::kText:
      shown = entry.values[0];
      break;
    case ConfigEntry::Kind::kList:
      shown = fmt::format("[{}]", fmt::join(entry.values, ", "));
      break;
  }
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < ' ') c = ' ';  // an error is one line
  }
  if (shown.size() > kMaxShown) shown = shown.substr(0, kMaxShown) + "...";
  return "'" + shown + "'";
}

}  // namespace qtune
