#include "format.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "operators.h"
#include "sequences.h"

namespace qtune {
namespace {

JinjaValue repr_of(JinjaInterpreter& in, const JinjaValue& value) {
  JinjaText out;
  append_repr(in, out, value);
  return out.take();
}

/// One %-conversion.
struct Conversion {
  bool left = false, zero = false, plus = false, space = false, has_precision = false;
  int width = 0, precision = 0;
  char type = 's';
};

class PercentFormatter {
 public:
  PercentFormatter(JinjaInterpreter& in, const JinjaValue& format, const JinjaValue& values)
      : in_(in), format_(as<JinjaString>(format)), values_(values) {}

  JinjaValue run() {
    const std::string_view text = format_.text;
    in_.charge_bytes(text.size());
    while (at_ < text.size()) {
      const size_t mark = text.find('%', at_);
      out_.append(format_, at_, std::min(mark, text.size()));
      if (mark == std::string_view::npos) break;
      at_ = mark + 1;
      convert();
    }
    const bool is_tuple = values_.kind() == JinjaKind::kTuple;
    const bool used = is_tuple ? num_used_ == items_of(values_).size() : num_used_ == 1 || is_container();
    if (!used) in_.fail("not all values of a %-format are used");
    return out_.take();
  }

 private:
  bool is_container() const {
    return values_.kind() == JinjaKind::kDict || values_.kind() == JinjaKind::kList ||
           values_.kind() == JinjaKind::kRange || values_.kind() == JinjaKind::kUndefined;
  }

  const JinjaValue& next_value() {
    const size_t index = num_used_++;
    if (values_.kind() != JinjaKind::kTuple) {
      if (index > 0) in_.fail("not enough values for a %-format");
      return values_;
    }
    if (index >= items_of(values_).size()) in_.fail("not enough values for a %-format");
    return items_of(values_)[index];
  }

  char here() const { return at_ < format_.text.size() ? format_.text[at_] : '\0'; }

  int number() {
    int value = 0;
    while (here() >= '0' && here() <= '9') {
      value = value * 10 + (here() - '0');
      if (value > 100'000) in_.fail(JinjaFault::kLimit, "a width that is too large");
      ++at_;
    }
    return value;
  }

  void convert() {
    Conversion c;
    for (;; ++at_) {
      if (here() == '-') {
        c.left = true;
      } else if (here() == '0') {
        c.zero = true;
      } else if (here() == '+') {
        c.plus = true;
      } else if (here() == ' ') {
        c.space = true;
      } else {
        break;
      }
    }
    if (here() == '*' || here() == '(' || here() == '#') in_.refuse(fmt::format("%{} in a format", here()));
    c.width = number();
    if (here() == '.') {
      ++at_;
      c.has_precision = true;
      c.precision = number();
    }
    c.type = here();
    ++at_;
    if (c.type == '\0') in_.fail("a %-format that ends early");
    if (c.type == '%') {
      if (format_.text[at_ - 2] != '%') in_.refuse("%% with a width");
      return out_.append("%");
    }
    if (c.type == 's' || c.type == 'r') return text(c);
    if (c.type == 'd' || c.type == 'i' || c.type == 'u') return integer(c);
    if (c.type == 'f' || c.type == 'F') return real(c);
    in_.refuse(fmt::format("%{} in a format", c.type));
  }

  void text(const Conversion& c) {
    const JinjaValue& value = next_value();
    JinjaValue string = c.type == 'r' ? repr_of(in_, value) : to_str(in_, value);
    if (c.has_precision)
      string = slice_of(in_, string, JinjaValue::none(), JinjaValue::integer(c.precision), JinjaValue::none());
    const auto size = static_cast<int>(std::min<int64_t>(*length_of(in_, string), 1'000'000));
    const std::string padding(static_cast<size_t>(std::max(0, c.width - size)), ' ');
    in_.charge_bytes(padding.size());
    if (!c.left) out_.append(padding);
    append_str(in_, out_, string);
    if (c.left) out_.append(padding);
  }

  void put_number(const Conversion& c, bool is_negative, const std::string& digits) {
    const std::string sign = is_negative ? "-" : c.plus ? "+" : c.space ? " " : "";
    const size_t size = sign.size() + digits.size(), width = static_cast<size_t>(c.width);
    const std::string padding(width > size ? width - size : 0, c.zero && !c.left ? '0' : ' ');
    in_.charge_bytes(size + padding.size());
    out_.append(c.left ? sign + digits + padding : c.zero ? sign + padding + digits : padding + sign + digits);
  }

  void integer(const Conversion& c) {
    const JinjaValue& value = next_value();
    if (value.is_undefined()) fail_undefined(in_, value);
    if (!value.is_number()) in_.fail(fmt::format("%{} expects a number, found a {}", c.type, type_name(value)));
    if (c.has_precision) in_.refuse("a precision of %d");
    const double whole = std::trunc(to_double(value));
    if (value.kind() == JinjaKind::kFloat && !(std::abs(whole) < 9e18)) in_.refuse("an integer beyond 64 bits");
    const int64_t number = value.kind() == JinjaKind::kFloat ? static_cast<int64_t>(whole) : value.as_int();
    const std::string digits = fmt::format("{}", number);
    put_number(c, number < 0, number < 0 ? digits.substr(1) : digits);
  }

  void real(const Conversion& c) {
    const JinjaValue& value = next_value();
    if (value.is_undefined()) fail_undefined(in_, value);
    if (!value.is_number()) in_.fail(fmt::format("%{} expects a number, found a {}", c.type, type_name(value)));
    const double number = to_double(value);
    if (!std::isfinite(number)) in_.refuse("a number that is not finite in a format");
    const int precision = c.has_precision ? c.precision : 6;
    in_.charge_bytes(static_cast<size_t>(precision) + 400);
    put_number(c, std::signbit(number), fmt::format("{:.{}f}", std::abs(number), precision));
  }

  JinjaInterpreter& in_;
  const JinjaString& format_;
  const JinjaValue& values_;
  size_t at_ = 0, num_used_ = 0;
  JinjaText out_;
};

class BraceFormatter {
 public:
  BraceFormatter(JinjaInterpreter& in, const JinjaValue& format, const JinjaArguments& arguments)
      : in_(in), format_(as<JinjaString>(format)), arguments_(arguments) {}

  JinjaValue run() {
    const std::string_view text = format_.text;
    in_.charge_bytes(text.size());
    for (size_t at = 0; at < text.size();) {
      const size_t mark = text.find_first_of("{}", at);
      out_.append(format_, at, std::min(mark, text.size()));
      if (mark == std::string_view::npos) break;
      if (mark + 1 < text.size() && text[mark + 1] == text[mark]) {
        out_.append(format_, mark, mark + 1);
        at = mark + 2;
        continue;
      }
      if (text[mark] == '}') in_.fail("a single } in a format");
      const size_t close = text.find('}', mark);
      if (close == std::string_view::npos) in_.fail("a { without } in a format");
      field(text.substr(mark + 1, close - mark - 1));
      at = close + 1;
    }
    return out_.take();
  }

 private:
  void field(std::string_view text) {
    in_.charge(1);
    if (text.find_first_of(":.[{") != std::string_view::npos)
      in_.refuse(fmt::format("the format field {{{}}}", text.substr(0, 80)));
    char conversion = '\0';
    if (const size_t mark = text.find('!'); mark != std::string_view::npos) {
      if (mark + 2 != text.size() || (text[mark + 1] != 's' && text[mark + 1] != 'r'))
        in_.refuse(fmt::format("the format field {{{}}}", text.substr(0, 80)));
      conversion = text[mark + 1];
      text = text.substr(0, mark);
    }
    const JinjaValue& value = value_of(text);
    if (conversion == 'r') {
      append_repr(in_, out_, value);
    } else {
      if (value.is_markup()) in_.refuse("the result of safe or escape in a format");
      append_str(in_, out_, value);
    }
  }

  const JinjaValue& value_of(std::string_view name) {
    const bool is_number = !name.empty() && name.find_first_not_of("0123456789") == std::string_view::npos;
    if (!name.empty() && !is_number) {
      for (const auto& [key, value] : arguments_.named) {
        if (key == name) return value;
      }
      in_.fail(fmt::format("the format field {} has no value", name.substr(0, 80)));
    }
    size_t index = 0;
    if (is_number) {
      const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
      if (error != std::errc()) in_.fail("a format field without value");
      numbered_ = true;
    } else {
      index = next_++;
    }
    if (numbered_ && next_ > 0) in_.fail("numbered and unnumbered fields in one format");
    if (index >= arguments_.values.size()) in_.fail("a format field without value");
    return arguments_.values[index];
  }

  JinjaInterpreter& in_;
  const JinjaString& format_;
  const JinjaArguments& arguments_;
  size_t next_ = 0;
  bool numbered_ = false;
  JinjaText out_;
};

}  // namespace

JinjaValue percent_format(JinjaInterpreter& in, const JinjaValue& format, const JinjaValue& values) {
  return PercentFormatter(in, format, values).run();
}

JinjaValue brace_format(JinjaInterpreter& in, const JinjaValue& format, const JinjaArguments& arguments) {
  return BraceFormatter(in, format, arguments).run();
}

}  // namespace qtune
