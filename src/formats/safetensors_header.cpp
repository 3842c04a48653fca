#include "safetensors_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>
#include <unordered_set>

#include "qtune/base/error.h"
#include "quote_name.h"

namespace qtune {
namespace {

using Json = nlohmann::json;

/// Walks the header: {"__metadata__": {text: text}, NAME: {"dtype": text, "shape": [..], "data_offsets": [a, b]}, ..}.
class HeaderReader : public nlohmann::json_sax<Json> {
 public:
  HeaderReader(SafetensorsHeader& header, const std::string& where) : header_(header), where_(where) {}

  bool start_object(size_t) override {
    if (depth_ == 0 && !list_) return ++depth_, true;
    if (depth_ == 1 && !list_) {
      ++depth_;
      seen_fields_.clear();
      if (!in_metadata_) {
        header_.entries.emplace_back().name = name_;
        offsets_.clear();
      }
      return true;
    }
    return refuse("an object");
  }

  bool key(string_t& text) override {
    if (depth_ == 1) {
      name_ = text;
      in_metadata_ = text == "__metadata__";
      if (!seen_names_.insert(text).second) fail("is there twice");
      return true;
    }
    field_ = text;
    if (!seen_fields_.insert(text).second) fail(fmt::format("has {} twice", quote_name(field_)));
    if (!in_metadata_ && field_ != "dtype" && field_ != "shape" && field_ != "data_offsets") {
      fail(fmt::format("has an unknown field {}", quote_name(field_)));
    }
    return true;
  }

  bool end_object() override {
    if (depth_-- == 2 && !in_metadata_) finish_entry();
    return true;
  }

  bool string(string_t& text) override {
    if (depth_ != 2 || list_) return refuse("text");
    if (in_metadata_) {
      header_.metadata[field_] = text;
      return true;
    }
    if (field_ != "dtype") return refuse("text");
    const std::optional<Dtype> dtype = dtype_from_name(text);
    if (!dtype) {
      fail(fmt::format("expected a dtype of BOOL, U8, I8, I16, I32, I64, F16, BF16, F32, F64, found {}",
                       quote_name(text)));
    }
    header_.entries.back().dtype = *dtype;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (!list_) return refuse("a number");
    if (field_ == "shape") {
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) fail("has a dimension that is too large");
      header_.entries.back().shape.push_back(static_cast<int64_t>(value));
    } else {
      if (offsets_.size() == 2) fail("has more than two data_offsets");
      offsets_.push_back(value);
    }
    return true;
  }

  bool start_array(size_t) override {
    if (depth_ != 2 || list_ || in_metadata_ || field_ == "dtype") return refuse("a list");
    list_ = true;
    return true;
  }
  bool end_array() override {
    list_ = false;
    return true;
  }

  bool null() override { return refuse("null"); }
  bool boolean(bool) override { return refuse("true or false"); }
  bool number_integer(number_integer_t) override { return refuse("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return refuse("a fraction or a number too large"); }
  bool binary(binary_t&) override { return refuse("binary data"); }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
    throw CheckpointError(fmt::format(
        "{}: the header is not valid JSON at its byte {} ---> the file is damaged; copy or download it again", where_,
        position));
  }

 private:
  [[noreturn]] void fail(const std::string& fault) const {
    throw CheckpointError(fmt::format("{}: tensor {}: {} ---> the file is damaged; copy or download it again", where_,
                                      quote_name(name_), fault));
  }

  bool refuse(const char* found) const {
    if (depth_ == 0) {
      throw CheckpointError(fmt::format(
          "{}: expected a JSON object as the header, found {} ---> give a safetensors file", where_, found));
    }
    if (depth_ == 1) fail(fmt::format("expected an object, found {}", found));
    fail(fmt::format("{} cannot hold {}", quote_name(field_), found));
  }

  void finish_entry() {
    HeaderEntry& entry = header_.entries.back();
    if (seen_fields_.size() != 3) fail("expected the fields dtype, shape and data_offsets");
    if (offsets_.size() != 2) fail(fmt::format("expected two data_offsets, found {}", offsets_.size()));
    std::tie(entry.begin, entry.end) = std::tie(offsets_[0], offsets_[1]);
    const std::optional<int64_t> values = num_values(entry.shape);
    uint64_t num_bytes = 0;
    if (!values || __builtin_mul_overflow(static_cast<uint64_t>(*values), dtype_size(entry.dtype), &num_bytes)) {
      fail(fmt::format("the size of shape {} does not fit 64 bits", shape_text(entry.shape)));
    }
    if (entry.end < entry.begin || entry.end - entry.begin != num_bytes) {
      fail(fmt::format("shape {} in {} takes {} bytes, found data_offsets [{}, {}]", shape_text(entry.shape),
                       dtype_name(entry.dtype), num_bytes, entry.begin, entry.end));
    }
  }

  SafetensorsHeader& header_;
  const std::string& where_;
  int depth_ = 0;
  bool list_ = false, in_metadata_ = false;
  std::string name_, field_;
  std::vector<uint64_t> offsets_;
  std::unordered_set<std::string> seen_names_, seen_fields_;
};

void check_layout(const std::vector<HeaderEntry>& entries, const std::string& where) {
  uint64_t expected = 0;
  for (const HeaderEntry& entry : entries) {
    if (entry.begin != expected) {
      throw CheckpointError(fmt::format(
          "{}: tensor {}: expected its values at byte {} behind the header, found {} ({}) ---> the file "
          "is damaged; copy or download it again",
          where, quote_name(entry.name), expected, entry.begin, entry.begin < expected ? "overlap" : "hole"));
    }
    expected = entry.end;
  }
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view json, const std::string& where) {
  SafetensorsHeader header;
  HeaderReader reader(header, where);
  Json::sax_parse(json, &reader);
  std::stable_sort(header.entries.begin(), header.entries.end(), [](const HeaderEntry& a, const HeaderEntry& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  check_layout(header.entries, where);
  return header;
}

std::string make_safetensors_header(const SafetensorsHeader& header) {
  std::string text = "{";
  if (!header.metadata.empty()) text += "\"__metadata__\":" + Json(header.metadata).dump();
  for (const HeaderEntry& entry : header.entries) {
    if (text.size() > 1) text += ',';
    text += fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{},{}]}}", Json(entry.name).dump(),
                        dtype_name(entry.dtype), Json(entry.shape).dump(), entry.begin, entry.end);
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');  // values start at a multiple of 8 bytes
  return text;
}

}  // namespace qtune
