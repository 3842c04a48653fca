#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "arguments.h"
#include "filters.h"
#include "operators.h"
#include "qtune/jinja/python_text.h"
#include "sequences.h"

namespace qtune {
namespace {

/// Text of a number as Python reads it: without white space around and single underscores inside; nullopt when the
/// underscores are elsewhere.
std::optional<std::string> number_text(JinjaInterpreter& in, std::string_view text) {
  in.charge(static_cast<int64_t>(text.size() / 32));
  text.remove_suffix(space_suffix(text));
  text.remove_prefix(space_prefix(text));
  if (!is_ascii(text)) in.refuse("a number with digits beyond ASCII");
  const auto is_digit = [&](size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '9'; };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
    } else if (i == 0 || !is_digit(i - 1) || !is_digit(i + 1)) {
      return std::nullopt;
    }
  }
  return out;
}

std::optional<int64_t> parse_int(JinjaInterpreter& in, std::string_view value) {
  const auto text = number_text(in, value);
  if (!text || text->empty()) return std::nullopt;
  const bool has_plus = (*text)[0] == '+';
  const char *begin = text->data() + (has_plus ? 1 : 0), *end = text->data() + text->size();
  if (has_plus && begin != end && *begin == '-') return std::nullopt;
  int64_t number = 0;
  const auto [stop, error] = std::from_chars(begin, end, number);
  if (stop != end || begin == end) return std::nullopt;
  if (error == std::errc::result_out_of_range) in.refuse("an integer beyond 64 bits");
  return error == std::errc() ? std::optional(number) : std::nullopt;
}

std::optional<double> parse_float(JinjaInterpreter& in, std::string_view value) {
  auto text = number_text(in, value);
  if (!text || text->empty()) return std::nullopt;
  std::transform(text->begin(), text->end(), text->begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  const bool has_sign = (*text)[0] == '+' || (*text)[0] == '-';
  const bool negative = (*text)[0] == '-';
  const std::string body = text->substr(has_sign ? 1 : 0);
  if (body == "inf" || body == "infinity") return negative ? -HUGE_VAL : HUGE_VAL;
  if (body == "nan") return std::nan("");
  if (body.empty() || body.find_first_not_of("0123456789.e+-") != std::string::npos) return std::nullopt;
  if (body[0] == '+' || body[0] == '-') return std::nullopt;
  char* end = nullptr;
  const double number = std::strtod(body.c_str(), &end);
  if (end != body.c_str() + body.size()) return std::nullopt;
  return negative ? -number : number;
}

std::optional<double> float_of(JinjaInterpreter& in, const JinjaValue& value) {
  if (value.is_undefined()) fail_undefined(in, value);
  if (value.is_string()) return parse_float(in, text_of(value));
  if (value.is_number()) return to_double(value);
  return std::nullopt;
}

JinjaValue truncated(JinjaInterpreter& in, double value, const JinjaValue& otherwise) {
  if (!std::isfinite(value)) return otherwise;
  if (std::abs(value) >= 9.2e18) in.refuse("an integer beyond 64 bits");
  return JinjaValue::integer(static_cast<int64_t>(value));
}

JinjaValue to_int(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"value", "default", "base"};
  const JinjaBound given = bind_named(in, "int", arguments, kParameters, 1);
  const JinjaValue otherwise = given.has(1) ? given[1] : JinjaValue::integer(0);
  if (given.integer(in, 2, 10) != 10 && given[0].is_string()) in.refuse("int with a base other than 10");
  if (given[0].is_integral()) return JinjaValue::integer(given[0].as_int());
  if (given[0].is_string()) {
    if (const auto number = parse_int(in, text_of(given[0]))) return JinjaValue::integer(*number);
  }
  if (given[0].kind() == JinjaKind::kFloat && std::isinf(given[0].as_float()))
    in.fail("an infinite number has no integer");
  const auto number = float_of(in, given[0]);
  return number ? truncated(in, *number, otherwise) : otherwise;
}

JinjaValue to_float(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"value", "default"};
  const JinjaBound given = bind_named(in, "float", arguments, kParameters, 1);
  const auto number = float_of(in, given[0]);
  return number ? JinjaValue::real(*number) : given.has(1) ? given[1] : JinjaValue::real(0);
}

JinjaValue absolute(JinjaInterpreter& in, JinjaArguments& arguments) {
  const JinjaBound given = bind_positional(in, "abs", arguments, 1, 1);
  if (!given[0].is_number()) in.fail(fmt::format("abs of a {}", type_name(given[0])));
  if (given[0].kind() == JinjaKind::kFloat) return JinjaValue::real(std::abs(given[0].as_float()));
  return given[0].as_int() < 0 ? negative(in, given[0]) : positive(in, given[0]);
}

JinjaValue round(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"value", "precision", "method"};
  const JinjaBound given = bind_named(in, "round", arguments, kParameters, 1);
  const int64_t precision = given.integer(in, 1, 0);
  const std::string_view method = given.has(2) ? text_of(given.string(in, 2)) : "common";
  if (method != "common" && method != "ceil" && method != "floor") in.fail("round expects common, ceil or floor");
  if (given[0].is_undefined()) in.fail("round of an undefined value");
  if (!given[0].is_number()) in.fail(fmt::format("round of a {}", type_name(given[0])));
  if (precision < 0 || precision > 15) in.refuse("round with this precision");
  const double value = to_double(given[0]);
  if (method == "common") {
    if (given[0].is_integral()) return positive(in, given[0]);
    if (!std::isfinite(value)) return given[0];
    return JinjaValue::real(std::stod(fmt::format("{:.{}f}", value, precision)));
  }
  const double power = std::pow(10.0, static_cast<double>(precision));
  if (!std::isfinite(value)) in.fail("round of a number that is not finite");
  return JinjaValue::real((method == "ceil" ? std::ceil(value * power) : std::floor(value * power)) / power +
                          0.0);  // no -0.0
}

JinjaValue sum(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"iterable", "attribute", "start"};
  const JinjaBound given = bind_named(in, "sum", arguments, kParameters, 1);
  JinjaValue total = given.has(2) ? given[2] : JinjaValue::integer(0);
  if (total.is_string()) in.fail("sum of strings");
  for (const JinjaValue& item : to_items(in, given[0])) {
    const bool by_path = given.has(1) && given[1].kind() != JinjaKind::kNone;
    total = binary(in, JinjaOperator::kAdd, total, by_path ? path_of(in, item, given[1]) : item);
  }
  return total;
}

}  // namespace

const std::vector<JinjaFilterEntry>& number_filters() {
  static const std::vector<JinjaFilterEntry> filters = {
      {"abs", absolute}, {"float", to_float}, {"int", to_int}, {"round", round}, {"sum", sum},
  };
  return filters;
}

}  // namespace qtune
