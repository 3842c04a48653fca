#include "fuzz/mutate.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "qtune/formats/dtype.h"

namespace qtune::fuzz {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostDepth = 200;
constexpr uint64_t kMostValueBytes = 1 << 16;

size_t depth_of(const std::string& text) {
  size_t depth = 0, most = 0;
  for (const char c : text) {
    if (c == '[' || c == '{') most = std::max(most, ++depth);
    if ((c == ']' || c == '}') && depth > 0) --depth;
  }
  return most;
}

void collect(Json& value, std::vector<Json*>& nodes) {
  nodes.push_back(&value);
  if (!value.is_structured()) return;
  for (Json& inner : value) collect(inner, nodes);
}

std::string printed(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

class JsonMutator {
 public:
  JsonMutator(Json& root, CounterRng& rng, const MutateBytes& mutate_bytes)
      : root_(root), rng_(rng), mutate_bytes_(mutate_bytes) {}

  void change() {
    nodes_.clear();
    collect(root_, nodes_);
    Json& node = any_node();
    switch (rng_.next_below(8)) {
      case 0:
        node = edge_value();
        return;
      case 1:
        node = Json(any_node());
        return;
      case 2:
        return take_out(node);
      case 3:
        return add(node);
      case 4:
        return rename(node);
      case 5:
        for (uint64_t n = 1 + rng_.next_below(30); n > 0; --n) node = Json::array({std::move(node)});
        return;
      default:
        return nudge(node);
    }
  }

 private:
  Json& any_node() { return *nodes_[rng_.next_below(nodes_.size())]; }

  Json edge_value() {
    static const std::vector<Json> values = {nullptr,
                                             true,
                                             false,
                                             0,
                                             1,
                                             -1,
                                             255,
                                             65536,
                                             999'999,
                                             std::numeric_limits<int32_t>::max(),
                                             int64_t{1} << 31,
                                             int64_t{1} << 32,
                                             (int64_t{1} << 53) + 1,
                                             std::numeric_limits<int64_t>::max(),
                                             std::numeric_limits<int64_t>::min(),
                                             std::numeric_limits<uint64_t>::max(),
                                             0.5,
                                             -0.0,
                                             1e308,
                                             5e-324,
                                             "",
                                             "\n",
                                             " ",
                                             "\xE2\x96\x81",
                                             std::string(1, '\0'),
                                             std::string(300, 'a'),
                                             Json::array(),
                                             Json::object()};
    return values[rng_.next_below(values.size())];
  }

  void take_out(Json& node) {
    if (!node.is_structured() || node.empty()) {
      node = nullptr;
    } else {
      node.erase(std::next(node.begin(), static_cast<std::ptrdiff_t>(rng_.next_below(node.size()))));
    }
  }

  std::string any_key() {
    const Json& node = any_node();
    if (!node.is_object() || node.empty()) return mutate_bytes_("key");
    return std::next(node.begin(), static_cast<std::ptrdiff_t>(rng_.next_below(node.size()))).key();
  }

  void add(Json& node) {
    const Json value = any_node();
    if (node.is_object()) {
      node[any_key()] = value;
    } else if (node.is_array()) {
      const size_t size = printed(value).size();
      for (uint64_t n = 1 + rng_.next_below(size < 100 ? 32 : 2); n > 0; --n) node.push_back(value);
    } else {
      node = Json::array({node, value});
    }
  }

  void rename(Json& node) {
    if (!node.is_object() || node.empty()) return nudge(node);
    const auto at = std::next(node.begin(), static_cast<std::ptrdiff_t>(rng_.next_below(node.size())));
    const std::string key = at.key();
    Json value = std::move(at.value());
    node.erase(key);
    node[rng_.next_below(2) == 0 ? mutate_bytes_(key) : any_key()] = std::move(value);
  }

  void nudge(Json& node) {
    if (node.is_string()) {
      node = mutate_bytes_(node.get<std::string>());
    } else if (node.is_boolean()) {
      node = !node.get<bool>();
    } else if (node.is_number_integer()) {
      const auto value = node.get<uint64_t>();
      const uint64_t changed[] = {value + 1, value - 1, value * 2, value ^ (uint64_t{1} << rng_.next_below(64)),
                                  0 - value};
      const uint64_t chosen = changed[rng_.next_below(std::size(changed))];
      node = rng_.next_below(4) == 0 ? Json(static_cast<int64_t>(chosen)) : Json(chosen);
    } else if (node.is_number_float()) {
      node = node.get<double>() * (rng_.next_below(2) == 0 ? -1e10 : 0.1);
    } else if (node.is_structured()) {
      take_out(node);
    } else {
      node = edge_value();
    }
  }

  Json& root_;
  CounterRng& rng_;
  const MutateBytes& mutate_bytes_;
  std::vector<Json*> nodes_;
};

/// Sets the data_offsets of all tensors end to end, as far as dtypes and shapes say a size. Returns where they end.
uint64_t lay_out(Json& header) {
  uint64_t end = 0;
  if (!header.is_object()) return end;
  for (auto& [name, entry] : header.items()) {
    if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape")) continue;
    const Json &dtype = entry["dtype"], &shape = entry["shape"];
    const auto known = dtype.is_string() ? dtype_from_name(dtype.get<std::string>()) : std::nullopt;
    if (!known || !shape.is_array()) continue;
    std::vector<int64_t> sizes;
    for (const Json& size : shape) sizes.push_back(size.is_number_integer() ? size.get<int64_t>() : 1);
    const int64_t values = num_values(sizes).value_or(0);
    const uint64_t bytes = values < (int64_t{1} << 40) ? static_cast<uint64_t>(values) * dtype_size(*known) : 0;
    entry["data_offsets"] = {end, end + bytes};
    end += bytes;
  }
  return end;
}

}  // namespace

std::optional<std::string> mutate_json(const std::string& text, CounterRng& rng, const MutateBytes& mutate_bytes) {
  if (depth_of(text) > kMostDepth) return std::nullopt;
  Json root = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded()) return std::nullopt;
  JsonMutator mutator(root, rng, mutate_bytes);
  for (uint64_t changes = 1 + rng.next_below(4); changes > 0; --changes) mutator.change();
  return printed(root);
}

std::optional<std::string> mutate_safetensors(const std::string& bytes, CounterRng& rng,
                                              const MutateBytes& mutate_bytes) {
  uint64_t length = 0;
  if (bytes.size() < sizeof length) return std::nullopt;
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > bytes.size() - sizeof length) length = bytes.size() - sizeof length;
  std::string header = bytes.substr(sizeof length, length), values = bytes.substr(sizeof length + length);
  if (std::optional<std::string> changed = mutate_json(header, rng, mutate_bytes)) {
    header = std::move(*changed);
  } else {
    header = mutate_bytes(header);
  }
  if (rng.next_below(2) == 0 && depth_of(header) <= kMostDepth) {
    Json parsed = Json::parse(header, nullptr, /*allow_exceptions=*/false);
    const uint64_t end = lay_out(parsed);
    if (!parsed.is_discarded()) header = printed(parsed);
    if (end <= kMostValueBytes) values.resize(end, '\x3f');
  }
  length = header.size();
  std::string out(sizeof length, '\0');
  std::memcpy(out.data(), &length, sizeof length);
  return out + header + values;
}

std::string mutate(Form form, const std::string& bytes, CounterRng& rng, const MutateBytes& mutate_bytes) {
  std::optional<std::string> changed;
  if (form == Form::kBytes || rng.next_below(8) == 0) return mutate_bytes(bytes);
  changed = form == Form::kJson ? mutate_json(bytes, rng, mutate_bytes) : mutate_safetensors(bytes, rng, mutate_bytes);
  return changed ? *changed : mutate_bytes(bytes);
}

}  // namespace qtune::fuzz
