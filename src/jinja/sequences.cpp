#include "sequences.h"

#include <fmt/format.h>

#include <algorithm>

#include "operators.h"
#include "qtune/jinja/python_text.h"

namespace qtune {
namespace {

class ListIterator final : public JinjaIterator {
 public:
  explicit ListIterator(JinjaValue list) : list_(std::move(list)) {}
  bool next(JinjaInterpreter&, JinjaValue& out) override {
    const auto& items = items_of(list_);
    if (at_ >= items.size()) return false;
    out = items[at_++];
    return true;
  }

 private:
  JinjaValue list_;
  size_t at_ = 0;
};

class StringIterator final : public JinjaIterator {
 public:
  explicit StringIterator(JinjaValue string) : string_(std::move(string)) {}
  bool next(JinjaInterpreter& in, JinjaValue& out) override {
    const std::string_view text = text_of(string_);
    if (at_ >= text.size()) return false;
    in.charge(1 + static_cast<int64_t>(as<JinjaString>(string_).segments.size()));
    const size_t end = at_ + utf8_size(text, at_);
    out = make_slice(string_, at_, end);
    at_ = end;
    return true;
  }

 private:
  JinjaValue string_;
  size_t at_ = 0;
};

class RangeIterator final : public JinjaIterator {
 public:
  explicit RangeIterator(JinjaValue range) : range_(std::move(range)) {}
  bool next(JinjaInterpreter&, JinjaValue& out) override {
    const JinjaRange& range = as<JinjaRange>(range_);
    if (at_ >= range.size) return false;
    out = JinjaValue::integer(range_item(range, at_++));
    return true;
  }

 private:
  JinjaValue range_;
  int64_t at_ = 0;
};

class DictIterator final : public JinjaIterator {
 public:
  DictIterator(JinjaPointer<JinjaDict> dict, JinjaViewKind view) : dict_(std::move(dict)), view_(view) {}
  bool next(JinjaInterpreter& in, JinjaValue& out) override {
    if (at_ >= dict_->entries.size()) return false;
    const auto& [key, value] = dict_->entries[at_++];
    if (view_ == JinjaViewKind::kItems) {
      out = in.make_tuple({key, value});
    } else {
      out = view_ == JinjaViewKind::kKeys ? key : value;
    }
    return true;
  }

 private:
  JinjaPointer<JinjaDict> dict_;
  JinjaViewKind view_;
  size_t at_ = 0;
};

class EmptyIterator final : public JinjaIterator {
 public:
  bool next(JinjaInterpreter&, JinjaValue&) override { return false; }
};

class FunctionIterator final : public JinjaIterator {
 public:
  FunctionIterator(JinjaValue over, std::function<bool(JinjaValue&)> next)
      : over_(std::move(over)), next_(std::move(next)) {}
  bool next(JinjaInterpreter& in, JinjaValue& out) override {
    in.charge(1);
    if (running_) in.fail("a generator that asks itself");
    running_ = true;
    const bool found = next_(out);
    running_ = false;
    return found;
  }

 private:
  JinjaValue over_;
  std::function<bool(JinjaValue&)> next_;
  bool running_ = false;
};

}  // namespace

bool is_iterable(const JinjaValue& value) {
  switch (value.kind()) {
    case JinjaKind::kUndefined:
    case JinjaKind::kString:
    case JinjaKind::kList:
    case JinjaKind::kTuple:
    case JinjaKind::kDict:
    case JinjaKind::kRange:
    case JinjaKind::kDictView:
    case JinjaKind::kIterator:
    case JinjaKind::kLoop:
      return true;
    default:
      return false;
  }
}

JinjaPointer<JinjaIterator> iterate(JinjaInterpreter& in, const JinjaValue& value) {
  in.charge(1);
  switch (value.kind()) {
    case JinjaKind::kUndefined:
      return JinjaPointer<JinjaIterator>(new EmptyIterator);
    case JinjaKind::kString:
      return JinjaPointer<JinjaIterator>(new StringIterator(value));
    case JinjaKind::kList:
    case JinjaKind::kTuple:
      return JinjaPointer<JinjaIterator>(new ListIterator(value));
    case JinjaKind::kDict:
      return JinjaPointer<JinjaIterator>(
          new DictIterator(JinjaPointer<JinjaDict>(&as<JinjaDict>(value)), JinjaViewKind::kKeys));
    case JinjaKind::kDictView:
      return JinjaPointer<JinjaIterator>(
          new DictIterator(as<JinjaDictView>(value).dict, as<JinjaDictView>(value).view));
    case JinjaKind::kRange:
      return JinjaPointer<JinjaIterator>(new RangeIterator(value));
    case JinjaKind::kIterator:
      return JinjaPointer<JinjaIterator>(&as<JinjaIterator>(value));
    case JinjaKind::kLoop:
      in.refuse("iterating over loop itself");
    default:
      in.fail(fmt::format("a {} can't be iterated over", type_name(value)));
  }
}

std::vector<JinjaValue> to_items(JinjaInterpreter& in, const JinjaValue& value) {
  if (value.kind() == JinjaKind::kList || value.kind() == JinjaKind::kTuple) {
    in.charge_bytes(items_of(value).size() * sizeof(JinjaValue));
    return items_of(value);
  }
  std::vector<JinjaValue> out;
  const auto iterator = iterate(in, value);
  JinjaValue item;
  while (iterator->next(in, item)) {
    in.charge_bytes(sizeof(JinjaValue));
    out.push_back(std::move(item));
  }
  return out;
}

std::optional<int64_t> length_of(JinjaInterpreter& in, const JinjaValue& value) {
  switch (value.kind()) {
    case JinjaKind::kUndefined:
      return 0;
    case JinjaKind::kString:
      in.charge(static_cast<int64_t>(text_of(value).size() / 32));
      return static_cast<int64_t>(num_characters(text_of(value)));
    case JinjaKind::kList:
    case JinjaKind::kTuple:
      return static_cast<int64_t>(items_of(value).size());
    case JinjaKind::kDict:
      return static_cast<int64_t>(as<JinjaDict>(value).entries.size());
    case JinjaKind::kRange:
      return as<JinjaRange>(value).size;
    case JinjaKind::kDictView:
      return static_cast<int64_t>(as<JinjaDictView>(value).dict->entries.size());
    case JinjaKind::kLoop:
      return loop_length(in, as<JinjaLoop>(value));
    default:
      return std::nullopt;
  }
}

JinjaValue make_iterator(JinjaInterpreter& in, const JinjaValue& over, std::function<bool(JinjaValue&)> next) {
  auto* made = new FunctionIterator(over, std::move(next));
  JinjaValue out = JinjaValue::of(JinjaKind::kIterator, made);
  in.charge_bytes(sizeof(FunctionIterator));
  made->depth = in.checked_depth(over) + 3;  // its items may be generators again
  return out;
}

JinjaValue reversed(JinjaInterpreter& in, const JinjaValue& value) {
  switch (value.kind()) {
    case JinjaKind::kIterator:
    case JinjaKind::kLoop:
    case JinjaKind::kNamespace:
      in.fail(fmt::format("a {} can't be reversed", type_name(value)));
    default:
      break;
  }
  auto items = std::make_shared<std::vector<JinjaValue>>(to_items(in, value));
  return make_iterator(in, value, [items](JinjaValue& out) {
    if (items->empty()) return false;
    out = std::move(items->back());
    items->pop_back();
    return true;
  });
}

int64_t loop_length(JinjaInterpreter& in, JinjaLoop& loop) {
  if (loop.length) return *loop.length;
  loop.length = loop.iterable.kind() == JinjaKind::kIterator ? std::nullopt : length_of(in, loop.iterable);
  if (loop.length) return *loop.length;
  std::vector<JinjaValue> rest;
  JinjaValue item;
  while (loop.iterator->next(in, item)) {
    in.charge_bytes(sizeof(JinjaValue));
    rest.push_back(std::move(item));
  }
  const auto size = static_cast<int64_t>(rest.size());
  loop.iterator = JinjaPointer<JinjaIterator>(new ListIterator(in.make_list(std::move(rest))));
  loop.length = size + loop.index0 + 1 + (loop.after ? 1 : 0);
  return *loop.length;
}

bool loop_next(JinjaInterpreter& in, JinjaLoop& loop) {
  JinjaValue item;
  if (loop.after) {
    item = std::move(*loop.after);
    loop.after.reset();
  } else if (!loop.iterator->next(in, item)) {
    return false;
  }
  ++loop.index0;
  loop.before = std::move(loop.current);
  loop.current = std::move(item);
  return true;
}

int64_t range_item(const JinjaRange& range, int64_t index) { return range.start + index * range.step; }

JinjaValue make_range(JinjaInterpreter& in, int64_t start, int64_t stop, int64_t step) {
  constexpr int64_t kMaxRange = 100'000;  // that of jinja2's sandbox
  if (step == 0) in.fail("range() expects a step that is not 0");
  auto* range = new JinjaRange;
  JinjaValue out = JinjaValue::of(JinjaKind::kRange, range);
  const __int128 span = step > 0 ? static_cast<__int128>(stop) - start : static_cast<__int128>(start) - stop;
  const __int128 width = step > 0 ? static_cast<__int128>(step) : -static_cast<__int128>(step);
  const __int128 size = span <= 0 ? 0 : (span + width - 1) / width;
  if (size > kMaxRange) in.fail(JinjaFault::kLimit, fmt::format("a range of more than {} numbers", kMaxRange));
  range->start = start;
  range->stop = stop;
  range->step = step;
  range->size = static_cast<int64_t>(size);
  return out;
}

}  // namespace qtune
