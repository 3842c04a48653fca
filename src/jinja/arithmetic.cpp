#include <fmt/format.h>

#include <cmath>

#include "format.h"
#include "methods.h"
#include "operators.h"

namespace qtune {
namespace {

[[noreturn]] void refuse_big(JinjaInterpreter& in) { in.refuse("an integer beyond 64 bits"); }

const char* symbol(JinjaOperator op) {
  switch (op) {
    case JinjaOperator::kAdd:
      return "+";
    case JinjaOperator::kSubtract:
      return "-";
    case JinjaOperator::kMultiply:
      return "*";
    case JinjaOperator::kDivide:
      return "/";
    case JinjaOperator::kFloorDivide:
      return "//";
    case JinjaOperator::kModulo:
      return "%";
    default:
      return "**";
  }
}

void check_divisor(JinjaInterpreter& in, bool is_zero) {
  if (is_zero) in.fail("division by zero");
}

int64_t integer_power(JinjaInterpreter& in, int64_t base, int64_t exponent) {
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) refuse_big(in);
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) refuse_big(in);
  }
  return result;
}

JinjaValue of_integers(JinjaInterpreter& in, JinjaOperator op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case JinjaOperator::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case JinjaOperator::kSubtract:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case JinjaOperator::kMultiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case JinjaOperator::kDivide:
      check_divisor(in, b == 0);
      return JinjaValue::real(static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b)));
    case JinjaOperator::kFloorDivide:
    case JinjaOperator::kModulo: {
      check_divisor(in, b == 0);
      if (b == -1) {  // INT64_MIN / -1 has no result
        if (op == JinjaOperator::kModulo) return JinjaValue::integer(0);
        overflow = __builtin_sub_overflow(int64_t{0}, a, &result);
        break;
      }
      const int64_t rest = a % b;
      const bool down = rest != 0 && (rest < 0) != (b < 0);
      result = op == JinjaOperator::kModulo ? (down ? rest + b : rest) : a / b - (down ? 1 : 0);
      break;
    }
    default:
      if (b < 0) {
        check_divisor(in, a == 0);
        return JinjaValue::real(std::pow(static_cast<double>(a), static_cast<double>(b)));
      }
      result = integer_power(in, a, b);
  }
  if (overflow) refuse_big(in);
  return JinjaValue::integer(result);
}

/// Python's float // and %.
std::pair<double, double> divide_floor(double a, double b) {
  double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest != 0) {
    if ((b < 0) != (rest < 0)) {
      rest += b;
      quotient -= 1;
    }
  } else {
    rest = std::copysign(0.0, b);
  }
  if (quotient == 0) return {std::copysign(0.0, a / b), rest};
  double whole = std::floor(quotient);
  if (quotient - whole > 0.5) whole += 1;
  return {whole, rest};
}

JinjaValue power_of_floats(JinjaInterpreter& in, double a, double b) {
  if (a == 0 && b < 0) in.fail("0.0 to a negative power");
  if (a < 0 && std::isfinite(a) && std::isfinite(b) && b != std::floor(b)) in.refuse("a complex number");
  const double result = std::pow(a, b);
  if (std::isinf(result) && std::isfinite(a) && std::isfinite(b)) in.fail("the result of ** is out of range");
  return JinjaValue::real(result);
}

JinjaValue of_floats(JinjaInterpreter& in, JinjaOperator op, double a, double b) {
  switch (op) {
    case JinjaOperator::kAdd:
      return JinjaValue::real(a + b);
    case JinjaOperator::kSubtract:
      return JinjaValue::real(a - b);
    case JinjaOperator::kMultiply:
      return JinjaValue::real(a * b);
    case JinjaOperator::kDivide:
      check_divisor(in, b == 0);
      return JinjaValue::real(a / b);
    case JinjaOperator::kFloorDivide:
      check_divisor(in, b == 0);
      return JinjaValue::real(divide_floor(a, b).first);
    case JinjaOperator::kModulo:
      check_divisor(in, b == 0);
      return JinjaValue::real(divide_floor(a, b).second);
    default:
      return power_of_floats(in, a, b);
  }
}

bool is_sequence(const JinjaValue& value) {
  return value.is_string() || value.kind() == JinjaKind::kList || value.kind() == JinjaKind::kTuple;
}

JinjaValue repeated(JinjaInterpreter& in, const JinjaValue& sequence, int64_t count) {
  count = std::max<int64_t>(count, 0);
  const size_t size = sequence.is_string() ? text_of(sequence).size() : items_of(sequence).size() * sizeof(JinjaValue);
  const size_t parts = sequence.is_string() ? as<JinjaString>(sequence).segments.size() * sizeof(JinjaSegment) : 0;
  size_t total = 0;
  if (__builtin_mul_overflow(size + parts, static_cast<size_t>(count), &total))
    in.fail(JinjaFault::kLimit, "a repetition that is too long");
  in.charge_bytes(total);
  if (sequence.is_string()) {
    JinjaText out;
    out.text.reserve(size * static_cast<size_t>(count));
    if (size > 0) {
      for (int64_t i = 0; i < count; ++i) out.append(as<JinjaString>(sequence));
    }
    return out.take();
  }
  std::vector<JinjaValue> items;
  items.reserve(total / sizeof(JinjaValue));
  if (size > 0) {
    for (int64_t i = 0; i < count; ++i) items.insert(items.end(), items_of(sequence).begin(), items_of(sequence).end());
  }
  return sequence.kind() == JinjaKind::kList ? in.make_list(std::move(items)) : in.make_tuple(std::move(items));
}

JinjaValue joined(JinjaInterpreter& in, const JinjaValue& a, const JinjaValue& b) {
  if (a.is_string()) {
    const JinjaString &left = as<JinjaString>(a), &right = as<JinjaString>(b);
    in.charge_bytes(left.text.size() + right.text.size());
    JinjaText out;
    out.text.reserve(left.text.size() + right.text.size());
    out.append(left);
    out.append(right);
    return out.take();
  }
  std::vector<JinjaValue> items = items_of(a);
  items.insert(items.end(), items_of(b).begin(), items_of(b).end());
  return a.kind() == JinjaKind::kList ? in.make_list(std::move(items)) : in.make_tuple(std::move(items));
}

}  // namespace

JinjaValue binary(JinjaInterpreter& in, JinjaOperator op, const JinjaValue& a, const JinjaValue& b) {
  if (a.is_integral() && b.is_integral()) return of_integers(in, op, a.as_int(), b.as_int());
  if (a.is_number() && b.is_number()) return of_floats(in, op, to_double(a), to_double(b));
  if (op == JinjaOperator::kAdd && a.is_string() && b.is_string() && (a.is_markup() || b.is_markup()))
    return joined(in, escaped_markup(in, a), escaped_markup(in, b)).with_markup(true);
  if (a.is_markup() || b.is_markup()) in.refuse(fmt::format("{} on the result of safe or escape", symbol(op)));
  if (op == JinjaOperator::kModulo && a.is_string()) return percent_format(in, a, b);
  if (a.is_undefined()) fail_undefined(in, a);
  if (b.is_undefined()) fail_undefined(in, b);
  if (op == JinjaOperator::kAdd && is_sequence(a) && a.kind() == b.kind()) return joined(in, a, b);
  if (op == JinjaOperator::kMultiply && is_sequence(a) && b.is_integral()) return repeated(in, a, b.as_int());
  if (op == JinjaOperator::kMultiply && is_sequence(b) && a.is_integral()) return repeated(in, b, a.as_int());
  if (a.kind() == JinjaKind::kDictView || b.kind() == JinjaKind::kDictView) in.refuse("set operations on dict views");
  in.fail(fmt::format("{} {} {} has no meaning", type_name(a), symbol(op), type_name(b)));
}

JinjaValue negative(JinjaInterpreter& in, const JinjaValue& value) {
  if (value.kind() == JinjaKind::kFloat) return JinjaValue::real(-value.as_float());
  if (value.is_undefined()) fail_undefined(in, value);
  if (!value.is_integral()) in.fail(fmt::format("-{} has no meaning", type_name(value)));
  return of_integers(in, JinjaOperator::kSubtract, 0, value.as_int());
}

JinjaValue positive(JinjaInterpreter& in, const JinjaValue& value) {
  if (value.kind() == JinjaKind::kFloat) return value;
  if (value.is_undefined()) fail_undefined(in, value);
  if (!value.is_integral()) in.fail(fmt::format("+{} has no meaning", type_name(value)));
  return JinjaValue::integer(value.as_int());
}

}  // namespace qtune
