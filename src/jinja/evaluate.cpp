#include <fmt/format.h>

#include <algorithm>

#include "functions.h"
#include "interpreter.h"
#include "methods.h"
#include "operators.h"
#include "sequences.h"

namespace qtune {

JinjaValue JinjaInterpreter::evaluate(const JinjaExpr& e, JinjaFrame& frame) {
  charge(1);
  switch (e.kind) {
    case JinjaExprKind::kConstant:
      return e.constant.value();
    case JinjaExprKind::kName: {
      const JinjaValue& value = slot(e.reference, frame);
      if (value.is_undefined() && !value.object()) return make_undefined(fmt::format("'{}' is undefined", e.name));
      return value;
    }
    default:
      break;
  }
  const Depth depth(*this);
  line_ = e.line;
  return evaluate_compound(e, frame);
}

JinjaValue JinjaInterpreter::evaluate_compound(const JinjaExpr& e, JinjaFrame& frame) {
  switch (e.kind) {
    case JinjaExprKind::kTuple:
      return make_tuple(evaluate_items(e, frame));
    case JinjaExprKind::kList:
      return make_list(evaluate_items(e, frame));
    case JinjaExprKind::kDict:
      return evaluate_dict(e, frame);
    case JinjaExprKind::kNegative:
      return negative(*this, evaluate(*e.items[0], frame));
    case JinjaExprKind::kPositive:
      return positive(*this, evaluate(*e.items[0], frame));
    case JinjaExprKind::kNot:
      return JinjaValue::boolean(!truth(evaluate(*e.items[0], frame)));
    case JinjaExprKind::kBinary: {
      const JinjaValue left = evaluate(*e.items[0], frame);
      const JinjaValue right = evaluate(*e.items[1], frame);
      line_ = e.line;
      return binary(*this, e.op, left, right);
    }
    case JinjaExprKind::kAnd:
    case JinjaExprKind::kOr: {
      JinjaValue value;
      for (const auto& item : e.items) {
        value = evaluate(*item, frame);
        if (truth(value) == (e.kind == JinjaExprKind::kOr)) break;
      }
      return value;
    }
    case JinjaExprKind::kCompare:
      return evaluate_compare(e, frame);
    case JinjaExprKind::kConcat:
      return evaluate_concat(e, frame);
    case JinjaExprKind::kConditional:
      return evaluate_conditional(e, frame);
    case JinjaExprKind::kAttribute:
      return attribute_of(*this, evaluate(*e.items[0], frame), e.name, e.attribute_key.value());
    case JinjaExprKind::kItem: {
      const JinjaValue object = evaluate(*e.items[0], frame);
      return item_of(*this, object, evaluate(*e.items[1], frame));
    }
    case JinjaExprKind::kSlice:
      return evaluate_slice(e, frame);
    case JinjaExprKind::kFilter:
      return evaluate_filter(e, frame, nullptr);
    case JinjaExprKind::kTest:
      return JinjaValue::boolean(evaluate_test(e, frame));
    default:
      return evaluate_call(e, frame);
  }
}

std::vector<JinjaValue> JinjaInterpreter::evaluate_items(const JinjaExpr& e, JinjaFrame& frame) {
  std::vector<JinjaValue> items;
  items.reserve(e.items.size());
  for (const auto& item : e.items) items.push_back(evaluate(*item, frame));
  return items;
}

JinjaValue JinjaInterpreter::evaluate_dict(const JinjaExpr& e, JinjaFrame& frame) {
  std::vector<std::pair<JinjaValue, JinjaValue>> entries;
  for (size_t i = 0; i < e.items.size(); i += 2) {
    JinjaValue key = evaluate(*e.items[i], frame);
    entries.emplace_back(std::move(key), evaluate(*e.items[i + 1], frame));
  }
  return make_dict(std::move(entries));
}

JinjaValue JinjaInterpreter::evaluate_compare(const JinjaExpr& e, JinjaFrame& frame) {
  JinjaValue left = evaluate(*e.items[0], frame);
  for (size_t i = 0; i < e.ops.size(); ++i) {
    JinjaValue right = evaluate(*e.items[i + 1], frame);
    line_ = e.line;
    if (!compare(*this, e.ops[i], left, right)) return JinjaValue::boolean(false);
    left = std::move(right);
  }
  return JinjaValue::boolean(true);
}

JinjaValue JinjaInterpreter::evaluate_concat(const JinjaExpr& e, JinjaFrame& frame) {
  const std::vector<JinjaValue> parts = evaluate_items(e, frame);
  JinjaText out;
  for (const JinjaValue& part : parts) append_str(*this, out, part);
  return out.take();
}

JinjaValue JinjaInterpreter::evaluate_conditional(const JinjaExpr& e, JinjaFrame& frame) {
  if (truth(evaluate(*e.items[0], frame))) return evaluate(*e.items[1], frame);
  if (e.items[2]) return evaluate(*e.items[2], frame);
  return make_undefined("an inline if without else has no value");
}

JinjaValue JinjaInterpreter::evaluate_slice(const JinjaExpr& e, JinjaFrame& frame) {
  JinjaValue parts[4];
  for (size_t i = 0; i < 4; ++i) parts[i] = e.items[i] ? evaluate(*e.items[i], frame) : JinjaValue::none();
  return slice_of(*this, parts[0], parts[1], parts[2], parts[3]);
}

void JinjaInterpreter::add_arguments(const JinjaExpr& e, JinjaFrame& frame, JinjaArguments& out) {
  for (size_t i = 1; i < e.items.size(); ++i) out.values.push_back(evaluate(*e.items[i], frame));
  if (e.star) {
    for (JinjaValue& value : to_items(*this, evaluate(*e.star, frame))) out.values.push_back(std::move(value));
  }
  for (const auto& [name, value] : e.named) out.named.emplace_back(name, evaluate(*value, frame));
}

JinjaValue JinjaInterpreter::evaluate_filter(const JinjaExpr& e, JinjaFrame& frame, const JinjaValue* block_text) {
  if (!e.filter) fail(fmt::format("unknown filter {}", e.name));
  JinjaArguments arguments;
  arguments.values.reserve(e.items.size());
  if (block_text) {
    arguments.values.push_back(*block_text);
  } else {
    arguments.values.push_back(evaluate(*e.items[0], frame));
  }
  add_arguments(e, frame, arguments);
  line_ = e.line;
  return e.filter(*this, arguments);
}

/// Filters of a block's text: the innermost one has no value of its own.
JinjaValue JinjaInterpreter::filtered(const JinjaExpr& e, JinjaFrame& frame, JinjaValue text) {
  if (e.items[0]) text = filtered(*e.items[0], frame, std::move(text));
  return evaluate_filter(e, frame, &text);
}

bool JinjaInterpreter::evaluate_test(const JinjaExpr& e, JinjaFrame& frame) {
  if (!e.test) fail(fmt::format("unknown test {}", e.name));
  JinjaArguments arguments;
  arguments.values.reserve(e.items.size());
  arguments.values.push_back(evaluate(*e.items[0], frame));
  add_arguments(e, frame, arguments);
  line_ = e.line;
  return e.test(*this, arguments);
}

JinjaValue JinjaInterpreter::evaluate_call(const JinjaExpr& e, JinjaFrame& frame) {
  const JinjaValue callee = evaluate(*e.items[0], frame);
  JinjaArguments arguments;
  add_arguments(e, frame, arguments);
  line_ = e.line;
  return call(callee, arguments);
}

JinjaValue JinjaInterpreter::call(const JinjaValue& callee, JinjaArguments& arguments) {
  switch (callee.kind()) {
    case JinjaKind::kUndefined:
      fail_undefined(*this, callee);
    case JinjaKind::kFunction:
      return call_jinja_function(*this, static_cast<int>(callee.as_int()), arguments);
    case JinjaKind::kMethod:
      return call_method(*this, as<JinjaMethod>(callee), arguments);
    case JinjaKind::kMacro:
      return call_macro(as<JinjaMacro>(callee), arguments);
    case JinjaKind::kLoop:
      fail("only a recursive loop can be called");
    default:
      fail(fmt::format("a {} can't be called", type_name(callee)));
  }
}

JinjaValue JinjaInterpreter::call_macro(const JinjaMacro& macro, JinjaArguments& arguments) {
  const JinjaStatement& s = *macro.definition;
  const int line = line_;
  const Activation call(*this, s.num_slots, macro.closure.get());
  enter(s.loads, call.frame());
  bind_macro(s, arguments, call.frame());
  JinjaText out;
  execute(s.body, call.frame(), out);
  line_ = line;
  return out.take();
}

void JinjaInterpreter::bind_macro(const JinjaStatement& s, JinjaArguments& arguments, JinjaFrame& frame) {
  const size_t count = s.parameters.size();
  if (arguments.values.size() > count)
    fail(fmt::format("the macro {} takes at most {} arguments, found {}", s.text, count, arguments.values.size()));
  const auto parameter = [&](size_t i) -> JinjaValue& { return slot(s.parameters[i]->reference, frame); };
  std::vector<bool> given(count);
  for (size_t i = 0; i < arguments.values.size(); ++i) {
    parameter(i) = std::move(arguments.values[i]);
    given[i] = true;
  }
  if (s.caller_slot >= 0) frame.slots[static_cast<size_t>(s.caller_slot)] = make_undefined("no caller is defined");
  for (auto& [name, value] : arguments.named) {
    size_t at = 0;
    while (at < count && s.parameters[at]->name != name) ++at;
    if (at == count && name == "caller" && s.caller_slot >= 0) {
      frame.slots[static_cast<size_t>(s.caller_slot)] = std::move(value);
      continue;
    }
    if (at == count || given[at]) fail(fmt::format("the macro {} takes no argument {}", s.text, name));
    parameter(at) = std::move(value);
    given[at] = true;
  }
  const size_t first_default = count - s.values.size();
  for (size_t i = 0; i < count; ++i) {
    if (given[i]) continue;
    parameter(i) = i >= first_default
                       ? evaluate(*s.values[i - first_default], frame)
                       : make_undefined(fmt::format("the parameter {} was not given", s.parameters[i]->name));
  }
}

}  // namespace qtune
