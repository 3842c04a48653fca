// Values that a template works on. Non-goal: a general object model; the inside is src/jinja/objects.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace qtune {

enum class JinjaKind : uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kFunction,  // one of the built-in ones
  kString,
  kList,
  kTuple,
  kDict,
  kRange,
  kDictView,
  kIterator,
  kNamespace,
  kLoop,
  kMethod,
  kMacro,
};

inline constexpr int32_t kNoJinjaSource = -1;

/// What a value points to; counted without atomics, so values stay within one thread.
class JinjaObject {
 public:
  virtual ~JinjaObject() = default;
  JinjaObject() = default;
  JinjaObject(const JinjaObject&) = delete;
  JinjaObject& operator=(const JinjaObject&) = delete;

  void retain() {
    if (num_owners_ != kImmortal) ++num_owners_;
  }
  void release() {
    if (num_owners_ != kImmortal && --num_owners_ == 0) delete this;
  }
  bool is_shared() const { return num_owners_ > 1; }

 protected:
  friend class JinjaConstant;
  static constexpr uint32_t kImmortal = 0xFFFFFFFF;
  uint32_t num_owners_ = 0;
};

/// One value of a template: small ones by value, all others shared and never changed. Not for use by several threads.
class JinjaValue {
 public:
  JinjaValue() = default;  // undefined
  JinjaValue(const JinjaValue& other) : kind_(other.kind_), markup_(other.markup_), data_(other.data_) { retain(); }
  JinjaValue(JinjaValue&& other) noexcept : kind_(other.kind_), markup_(other.markup_), data_(other.data_) {
    other.kind_ = JinjaKind::kUndefined;
    other.data_.object = nullptr;
  }
  JinjaValue& operator=(JinjaValue other) noexcept {
    std::swap(kind_, other.kind_);
    std::swap(markup_, other.markup_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~JinjaValue() { release(); }

  static JinjaValue none() { return JinjaValue(JinjaKind::kNone, int64_t{0}); }
  static JinjaValue boolean(bool value) { return JinjaValue(JinjaKind::kBool, value ? int64_t{1} : int64_t{0}); }
  static JinjaValue integer(int64_t value) { return JinjaValue(JinjaKind::kInt, value); }
  static JinjaValue real(double value);
  static JinjaValue text(std::string value);
  /// Not copied: `value` must outlive the rendering. With a source, its bytes can be found again in the output.
  static JinjaValue view(std::string_view value, int32_t source = kNoJinjaSource);
  static JinjaValue list(std::vector<JinjaValue> items);
  /// Keys must be different strings.
  static JinjaValue dict(std::vector<std::pair<JinjaValue, JinjaValue>> entries);

  JinjaKind kind() const { return kind_; }
  bool is_undefined() const { return kind_ == JinjaKind::kUndefined; }
  bool is_string() const { return kind_ == JinjaKind::kString; }
  /// Bool and int.
  bool is_integral() const { return kind_ == JinjaKind::kInt || kind_ == JinjaKind::kBool; }
  bool is_number() const { return is_integral() || kind_ == JinjaKind::kFloat; }

  int64_t as_int() const { return data_.integer; }
  double as_float() const { return data_.real; }
  JinjaObject* object() const { return data_.object; }
  /// Takes part in ownership of `object`.
  static JinjaValue of(JinjaKind kind, JinjaObject* object);
  static JinjaValue function(int id) { return JinjaValue(JinjaKind::kFunction, int64_t{id}); }

  /// Python's Markup (made by the filters safe and escape).
  bool is_markup() const { return markup_; }
  JinjaValue with_markup(bool markup) const {
    JinjaValue out = *this;
    out.markup_ = markup;
    return out;
  }

 private:
  JinjaValue(JinjaKind kind, int64_t integer) : kind_(kind) { data_.integer = integer; }
  bool has_object() const {
    return (kind_ >= JinjaKind::kString || kind_ == JinjaKind::kUndefined) && data_.object != nullptr;
  }
  void retain() {
    if (has_object()) data_.object->retain();
  }
  void release() {
    if (has_object()) data_.object->release();
  }

  JinjaKind kind_ = JinjaKind::kUndefined;
  bool markup_ = false;
  union Data {
    JinjaObject* object = nullptr;
    int64_t integer;
    double real;
  } data_;
};

}  // namespace qtune
