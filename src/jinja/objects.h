// The objects behind JinjaValue, and the text builder that carries provenance along.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qtune/jinja/template.h"
#include "qtune/jinja/value.h"

namespace qtune {

class JinjaInterpreter;

/// Owning pointer to an object.
template <class T>
class JinjaPointer {
 public:
  JinjaPointer() = default;
  explicit JinjaPointer(T* object) : object_(object) {
    if (object_) object_->retain();
  }
  JinjaPointer(const JinjaPointer& other) : JinjaPointer(other.object_) {}
  JinjaPointer(JinjaPointer&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  JinjaPointer& operator=(JinjaPointer other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~JinjaPointer() {
    if (object_) object_->release();
  }
  T* get() const { return object_; }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  T* object_ = nullptr;
};

/// An object that can hold others. Depth is bounded so that no recursion over values runs out of stack.
class JinjaContainer : public JinjaObject {
 public:
  int depth = 1;
};
inline constexpr int kMaxValueDepth = 200;

struct JinjaUndefinedObject final : JinjaObject {
  explicit JinjaUndefinedObject(std::string text) : message(std::move(text)) {}
  std::string message;
};

struct JinjaString final : JinjaObject {
  std::string_view text;
  std::vector<JinjaSegment> segments;

  JinjaString() = default;
  explicit JinjaString(std::string value) : owned_(std::move(value)) { text = owned_; }
  JinjaString(std::string value, std::vector<JinjaSegment> parts)
      : segments(std::move(parts)), owned_(std::move(value)) {
    text = owned_;
  }

 private:
  std::string owned_;
};

/// Lists and tuples.
struct JinjaList final : JinjaContainer {
  std::vector<JinjaValue> items;
};

struct JinjaDict final : JinjaContainer {
  std::vector<std::pair<JinjaValue, JinjaValue>> entries;  // keys differ
  const JinjaValue* find(std::string_view key) const;
};

struct JinjaRange final : JinjaObject {
  int64_t start = 0, stop = 0, step = 1, size = 0;
};

enum class JinjaViewKind { kKeys, kValues, kItems };

struct JinjaDictView final : JinjaContainer {
  JinjaViewKind view = JinjaViewKind::kKeys;
  JinjaPointer<JinjaDict> dict;
};

/// A one-way iterator (Python's generators and iterators).
class JinjaIterator : public JinjaContainer {
 public:
  /// False at the end.
  virtual bool next(JinjaInterpreter& in, JinjaValue& out) = 0;
};

struct JinjaNamespace final : JinjaObject {
  std::vector<std::pair<std::string, JinjaValue>> attributes;
};

struct JinjaLoop final : JinjaContainer {
  JinjaValue iterable;
  JinjaPointer<JinjaIterator> iterator;
  int64_t index0 = -1;
  std::optional<int64_t> length;
  std::optional<JinjaValue> after;  // looked at before its turn
  JinjaValue current, before;
  std::optional<std::vector<JinjaValue>> last_changed;
};

/// A method with its object.
struct JinjaMethod final : JinjaContainer {
  JinjaValue self;
  int id = 0;
};

/// Variables of one function call (the template itself, a macro).
struct JinjaFrame final : JinjaObject {
  std::vector<JinjaValue> slots;
  JinjaPointer<JinjaFrame> outer;
};

struct JinjaStatement;

struct JinjaMacro final : JinjaObject {
  const JinjaStatement* definition = nullptr;
  JinjaPointer<JinjaFrame> closure;
};

/// A value that lives as long as a parsed template and is shared by threads.
class JinjaConstant {
 public:
  JinjaConstant() = default;
  explicit JinjaConstant(std::string text);
  explicit JinjaConstant(JinjaValue number) : value_(std::move(number)) {}
  JinjaConstant(JinjaConstant&& other) noexcept : value_(std::move(other.value_)) {}
  JinjaConstant& operator=(JinjaConstant&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  ~JinjaConstant();
  const JinjaValue& value() const { return value_; }

 private:
  JinjaValue value_;
};

/// Text in the making, with the places its bytes came from.
class JinjaText {
 public:
  std::string text;
  std::vector<JinjaSegment> segments;

  void append(std::string_view plain) { text += plain; }
  void append(const JinjaString& string) { append(string, 0, string.text.size()); }
  /// Bytes [begin, end) of `string`.
  void append(const JinjaString& string, size_t begin, size_t end);
  JinjaValue take();

 private:
  void add_segment(const JinjaSegment& segment);
};

template <class T>
T& as(const JinjaValue& value) {
  return *static_cast<T*>(value.object());
}
inline std::string_view text_of(const JinjaValue& value) { return as<JinjaString>(value).text; }
inline const std::vector<JinjaValue>& items_of(const JinjaValue& value) { return as<JinjaList>(value).items; }

int depth_of(const JinjaValue& value);
JinjaValue make_text(std::string text);
inline JinjaValue make_text(std::string_view text) { return make_text(std::string(text)); }
inline JinjaValue make_text(const char* text) { return make_text(std::string(text)); }
/// Bytes [begin, end) of a string.
JinjaValue make_slice(const JinjaValue& string, size_t begin, size_t end);

const char* type_name(const JinjaValue& value);

}  // namespace qtune
