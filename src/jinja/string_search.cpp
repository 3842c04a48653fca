#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "arguments.h"
#include "methods.h"
#include "operators.h"
#include "qtune/jinja/python_text.h"
#include "sequences.h"

namespace qtune {
namespace {

/// The part of a text that the arguments start and end leave, in bytes; `valid` where start is not behind end.
struct Window {
  size_t begin = 0, end = 0;
  bool valid = true;
};

Window window_of(JinjaInterpreter& in, std::string_view text, const JinjaBound& given, size_t start_at) {
  in.charge(static_cast<int64_t>(text.size() / 32));
  const auto is_given = [&](size_t i) { return given.has(i) && given[i].kind() != JinjaKind::kNone; };
  if (!is_given(start_at) && !is_given(start_at + 1)) return {0, text.size(), true};
  const auto length = static_cast<int64_t>(num_characters(text));
  const auto bound = [&](size_t i, int64_t otherwise) {
    int64_t at = is_given(i) ? given.integer(in, i, 0) : otherwise;
    if (at < 0) at = std::max<int64_t>(0, at + length);
    return at;
  };
  const int64_t start = bound(start_at, 0), end = std::min(length, bound(start_at + 1, length));
  if (start > end) return {0, 0, false};
  return {byte_offset(text, static_cast<size_t>(start)), byte_offset(text, static_cast<size_t>(end)), true};
}

JinjaValue make_list_of(JinjaInterpreter& in, std::vector<JinjaValue> parts) { return in.make_list(std::move(parts)); }

class Splitter {
 public:
  Splitter(JinjaInterpreter& in, const JinjaValue& string) : in_(in), string_(string), text_(text_of(string)) {}

  void add(size_t begin, size_t end) {
    in_.charge_bytes(sizeof(JinjaString) + (end - begin));
    in_.charge(static_cast<int64_t>(as<JinjaString>(string_).segments.size()));
    parts_.push_back(make_slice(string_, begin, end));
  }

  JinjaValue by_spaces(int64_t most) {
    size_t at = space_prefix(text_);
    while (at < text_.size()) {
      if (most-- == 0) {
        add(at, text_.size());  // with the white space at its end, as Python has it
        break;
      }
      size_t end = at;
      while (end < text_.size() && space_prefix(text_.substr(end, utf8_size(text_, end))) == 0)
        end += utf8_size(text_, end);
      add(at, end);
      at = end + space_prefix(text_.substr(end));
    }
    return take();
  }

  JinjaValue by_spaces_from_the_end(int64_t most) {
    size_t end = text_.size() - space_suffix(text_);
    while (end > 0) {
      if (most-- == 0) {
        add(0, end);
        break;
      }
      size_t begin = end;
      while (begin > 0) {
        size_t last = begin - 1;
        while (last > 0 && (static_cast<unsigned char>(text_[last]) & 0xC0) == 0x80) --last;
        if (space_prefix(text_.substr(last, begin - last)) > 0) break;
        begin = last;
      }
      add(begin, end);
      end = begin - space_suffix(text_.substr(0, begin));
    }
    std::reverse(parts_.begin(), parts_.end());
    return take();
  }

  JinjaValue by(std::string_view separator, int64_t most) {
    size_t at = 0;
    while (most-- != 0) {
      const size_t found = find_text(text_, separator, at);
      if (found == std::string_view::npos) break;
      add(at, found);
      at = found + separator.size();
    }
    add(at, text_.size());
    return take();
  }

  JinjaValue by_from_the_end(std::string_view separator, int64_t most) {
    // all at once from the back: a search for each part would be quadratic
    const std::string back(text_.rbegin(), text_.rend()), separator_back(separator.rbegin(), separator.rend());
    size_t at = 0;
    while (most-- != 0) {
      const size_t found = find_text(back, separator_back, at);
      if (found == std::string_view::npos) break;
      add(text_.size() - found, text_.size() - at);
      at = found + separator.size();
    }
    add(0, text_.size() - at);
    std::reverse(parts_.begin(), parts_.end());
    return take();
  }

 private:
  JinjaValue take() { return make_list_of(in_, std::move(parts_)); }

  JinjaInterpreter& in_;
  const JinjaValue& string_;
  std::string_view text_;
  std::vector<JinjaValue> parts_;
};

template <bool kFromEnd>
JinjaValue split(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"sep", "maxsplit"};
  const JinjaBound given = bind_named(in, "split", arguments, kParameters, 0);
  const int64_t most = given.integer(in, 1, -1);
  in.charge_bytes(text_of(self).size());
  Splitter splitter(in, self);
  if (!given.has(0) || given[0].kind() == JinjaKind::kNone)
    return kFromEnd ? splitter.by_spaces_from_the_end(most) : splitter.by_spaces(most);
  const std::string_view separator = text_of(given.string(in, 0));
  if (separator.empty()) in.fail("split expects a separator that is not empty");
  return kFromEnd && most >= 0 ? splitter.by_from_the_end(separator, most)
         : kFromEnd            ? splitter.by_from_the_end(separator, -1)
                               : splitter.by(separator, most);
}

JinjaValue splitlines(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"keepends"};
  const JinjaBound given = bind_named(in, "splitlines", arguments, kParameters, 0);
  in.charge_bytes(text_of(self).size());
  Splitter splitter(in, self);
  std::vector<JinjaValue> parts;
  for (const TextLine& line : text_lines(text_of(self))) {
    in.charge_bytes(sizeof(JinjaString));
    in.charge(static_cast<int64_t>(as<JinjaString>(self).segments.size()));
    parts.push_back(make_slice(self, line.begin, given.flag(0) ? line.next : line.end));
  }
  return make_list_of(in, std::move(parts));
}

template <bool kFromEnd>
JinjaValue partition(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  const JinjaBound given = bind_positional(in, "partition", arguments, 1, 1);
  const std::string_view text = text_of(self), separator = text_of(given.string(in, 0));
  if (separator.empty()) in.fail("partition expects a separator that is not empty");
  in.charge_bytes(2 * text.size());
  const size_t at = kFromEnd ? rfind_text(text, separator) : find_text(text, separator);
  if (at == std::string_view::npos) {
    const JinjaValue none = make_text("");
    return in.make_tuple(kFromEnd ? std::vector{none, none, self} : std::vector{self, none, none});
  }
  const size_t end = at + separator.size();
  return in.make_tuple({make_slice(self, 0, at), make_slice(self, at, end), make_slice(self, end, text.size())});
}

template <bool kAtEnd>
JinjaValue has_affix(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  const JinjaBound given = bind_positional(in, "startswith, endswith", arguments, 1, 3);
  const Window window = window_of(in, text_of(self), given, 1);
  const std::string_view text = text_of(self).substr(window.begin, window.end - window.begin);
  const auto fits = [&](const JinjaValue& affix) {
    if (!affix.is_string()) in.fail("startswith and endswith expect a string or a tuple of strings");
    return window.valid && (kAtEnd ? text.ends_with(text_of(affix)) : text.starts_with(text_of(affix)));
  };
  if (given[0].kind() != JinjaKind::kTuple) return JinjaValue::boolean(fits(given[0]));
  return JinjaValue::boolean(std::any_of(items_of(given[0]).begin(), items_of(given[0]).end(), fits));
}

/// Character index of the first or last place, -1 when there is none.
int64_t place_of(JinjaInterpreter& in, const JinjaValue& self, const JinjaBound& given, bool from_end) {
  const std::string_view text = text_of(self), part = text_of(given.string(in, 0));
  const Window window = window_of(in, text, given, 1);
  if (!window.valid) return -1;
  in.charge_bytes(from_end ? 2 * text.size() : 0);
  const std::string_view view = text.substr(window.begin, window.end - window.begin);
  const size_t at = from_end ? rfind_text(view, part) : find_text(view, part);
  if (at == std::string_view::npos) return -1;
  return static_cast<int64_t>(num_characters(text.substr(0, window.begin + at)));
}

template <bool kFromEnd, bool kMust>
JinjaValue find(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  const JinjaBound given = bind_positional(in, "find, index", arguments, 1, 3);
  const int64_t place = place_of(in, self, given, kFromEnd);
  if (kMust && place < 0) in.fail("index: the string has no such part");
  return JinjaValue::integer(place);
}

JinjaValue count(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  const JinjaBound given = bind_positional(in, "count", arguments, 1, 3);
  const Window window = window_of(in, text_of(self), given, 1);
  const std::string_view text = text_of(self).substr(window.begin, window.end - window.begin);
  const std::string_view part = text_of(given.string(in, 0));
  if (!window.valid) return JinjaValue::integer(0);
  if (part.empty()) return JinjaValue::integer(static_cast<int64_t>(num_characters(text)) + 1);
  int64_t found = 0;
  for (size_t at = 0; (at = find_text(text, part, at)) != std::string_view::npos; at += part.size()) ++found;
  in.charge(found);
  return JinjaValue::integer(found);
}

template <bool kAtEnd>
JinjaValue remove_affix(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  const JinjaBound given = bind_positional(in, "removeprefix, removesuffix", arguments, 1, 1);
  const std::string_view text = text_of(self), affix = text_of(given.string(in, 0));
  in.charge_bytes(text.size());
  const bool fits = kAtEnd ? text.ends_with(affix) : text.starts_with(affix);
  const size_t cut = fits ? affix.size() : 0;
  return make_slice(self, kAtEnd ? 0 : cut, kAtEnd ? text.size() - cut : text.size());
}

}  // namespace

const std::vector<JinjaMethodEntry>& string_search_methods() {
  constexpr JinjaKind kStr = JinjaKind::kString;
  static const std::vector<JinjaMethodEntry> methods = {
      {kStr, "split", split<false>},
      {kStr, "rsplit", split<true>},
      {kStr, "splitlines", splitlines},
      {kStr, "partition", partition<false>},
      {kStr, "rpartition", partition<true>},
      {kStr, "startswith", has_affix<false>},
      {kStr, "endswith", has_affix<true>},
      {kStr, "find", find<false, false>},
      {kStr, "rfind", find<true, false>},
      {kStr, "index", find<false, true>},
      {kStr, "rindex", find<true, true>},
      {kStr, "count", count},
      {kStr, "removeprefix", remove_affix<false>},
      {kStr, "removesuffix", remove_affix<true>},
  };
  return methods;
}

}  // namespace qtune
