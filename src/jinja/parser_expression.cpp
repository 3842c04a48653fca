#include <fmt/format.h>

#include <algorithm>

#include "parser.h"

namespace qtune {

JinjaExprPointer JinjaParser::make_expr(JinjaExprKind kind, int line) {
  count_node();
  auto made = std::make_unique<JinjaExpr>();
  made->kind = kind;
  made->line = line;
  return made;
}

JinjaExprPointer JinjaParser::finish(JinjaExprPointer expr) {
  const auto take = [&](const JinjaExprPointer& part) {
    if (part) expr->depth = std::max(expr->depth, part->depth + 1);
  };
  for (const auto& item : expr->items) take(item);
  for (const auto& entry : expr->named) take(entry.second);
  take(expr->star);
  if (expr->depth > kMaxJinjaDepth)
    throw JinjaError(JinjaFault::kLimit, expr->line,
                     fmt::format("an expression of more than {} levels", kMaxJinjaDepth));
  return expr;
}

JinjaExprPointer JinjaParser::tuple_or_expression(Conditional conditional, const std::vector<std::string_view>& ends,
                                                  bool in_parentheses) {
  const int line = now().line;
  const auto at_end = [&] {
    const JinjaTokenKind kind = now().kind;
    return kind == JinjaTokenKind::kOutputEnd || kind == JinjaTokenKind::kTagEnd || is_operator(")") ||
           std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return is_name(end); });
  };
  if (at_end()) {
    if (!in_parentheses) fail("expected an expression, found none");
    return make_expr(JinjaExprKind::kTuple, line);
  }
  auto first = expression(conditional);
  if (!is_operator(",")) return first;
  auto tuple = make_expr(JinjaExprKind::kTuple, line);
  tuple->items.push_back(std::move(first));
  while (skip_operator(",") && !at_end()) tuple->items.push_back(expression(conditional));
  return finish(std::move(tuple));
}

JinjaExprPointer JinjaParser::expression(Conditional conditional) {
  const Nesting nesting(*this);
  return conditional == Conditional::kAllowed ? conditional_expr() : or_expr();
}

JinjaExprPointer JinjaParser::conditional_expr() {
  int line = now().line;
  auto value = or_expr();
  while (skip_name("if")) {
    auto made = make_expr(JinjaExprKind::kConditional, line);
    auto test = or_expr();
    JinjaExprPointer otherwise;
    if (skip_name("else")) {
      const Nesting nesting(*this);
      otherwise = conditional_expr();
    }
    made->items.push_back(std::move(test));
    made->items.push_back(std::move(value));
    made->items.push_back(std::move(otherwise));
    value = finish(std::move(made));
    line = now().line;
  }
  return value;
}

JinjaExprPointer JinjaParser::or_expr() {
  auto left = and_expr();
  if (!is_name("or")) return left;
  auto made = make_expr(JinjaExprKind::kOr, left->line);
  made->items.push_back(std::move(left));
  while (skip_name("or")) made->items.push_back(and_expr());
  return finish(std::move(made));
}

JinjaExprPointer JinjaParser::and_expr() {
  auto left = not_expr();
  if (!is_name("and")) return left;
  auto made = make_expr(JinjaExprKind::kAnd, left->line);
  made->items.push_back(std::move(left));
  while (skip_name("and")) made->items.push_back(not_expr());
  return finish(std::move(made));
}

JinjaExprPointer JinjaParser::not_expr() {
  if (!is_name("not")) return compare_expr();
  const Nesting nesting(*this);
  auto made = make_expr(JinjaExprKind::kNot, next().line);
  made->items.push_back(not_expr());
  return finish(std::move(made));
}

JinjaExprPointer JinjaParser::compare_expr() {
  static constexpr std::pair<std::string_view, JinjaOperator> kOperators[] = {
      {"==", JinjaOperator::kEqual},     {"!=", JinjaOperator::kNotEqual}, {"<", JinjaOperator::kLess},
      {"<=", JinjaOperator::kLessEqual}, {">", JinjaOperator::kGreater},   {">=", JinjaOperator::kGreaterEqual}};
  auto first = sum_expr();
  auto made = JinjaExprPointer();
  while (true) {
    const auto* const found = std::find_if(std::begin(kOperators), std::end(kOperators),
                                           [&](const auto& entry) { return is_operator(entry.first); });
    JinjaOperator op = JinjaOperator::kIn;
    const bool not_in = is_name("not") && ahead().kind == JinjaTokenKind::kName && ahead().text == "in";
    if (found != std::end(kOperators)) {
      op = found->second;
    } else if (not_in) {
      next();
      op = JinjaOperator::kNotIn;
    } else if (!is_name("in")) {
      break;
    }
    next();
    if (!made) {
      made = make_expr(JinjaExprKind::kCompare, first->line);
      made->items.push_back(std::move(first));
    }
    made->ops.push_back(op);
    made->items.push_back(sum_expr());
  }
  return made ? finish(std::move(made)) : std::move(first);
}

JinjaExprPointer JinjaParser::binary(JinjaOperator op, JinjaExprPointer left, JinjaExprPointer right, int line) {
  auto made = make_expr(JinjaExprKind::kBinary, line);
  made->op = op;
  made->items.push_back(std::move(left));
  made->items.push_back(std::move(right));
  return finish(std::move(made));
}

JinjaExprPointer JinjaParser::sum_expr() {
  auto left = concat_expr();
  while (is_operator("+") || is_operator("-")) {
    const int line = now().line;
    const JinjaOperator op = next().text == "+" ? JinjaOperator::kAdd : JinjaOperator::kSubtract;
    auto right = concat_expr();
    left = binary(op, std::move(left), std::move(right), line);
  }
  return left;
}

JinjaExprPointer JinjaParser::concat_expr() {
  auto first = product_expr();
  if (!is_operator("~")) return first;
  auto made = make_expr(JinjaExprKind::kConcat, first->line);
  made->items.push_back(std::move(first));
  while (skip_operator("~")) made->items.push_back(product_expr());
  return finish(std::move(made));
}

JinjaExprPointer JinjaParser::product_expr() {
  static constexpr std::pair<std::string_view, JinjaOperator> kOperators[] = {{"*", JinjaOperator::kMultiply},
                                                                              {"/", JinjaOperator::kDivide},
                                                                              {"//", JinjaOperator::kFloorDivide},
                                                                              {"%", JinjaOperator::kModulo}};
  auto left = power_expr();
  while (true) {
    const auto* const found = std::find_if(std::begin(kOperators), std::end(kOperators),
                                           [&](const auto& entry) { return is_operator(entry.first); });
    if (found == std::end(kOperators)) return left;
    const int line = next().line;
    auto right = power_expr();
    left = binary(found->second, std::move(left), std::move(right), line);
  }
}

JinjaExprPointer JinjaParser::power_expr() {
  auto left = unary_expr(true);
  while (is_operator("**")) {
    const int line = next().line;
    auto right = unary_expr(true);
    left = binary(JinjaOperator::kPower, std::move(left), std::move(right), line);
  }
  return left;
}

JinjaExprPointer JinjaParser::unary_expr(bool with_filter) {
  const Nesting nesting(*this);
  JinjaExprPointer made;
  if (is_operator("-") || is_operator("+")) {
    made = make_expr(is_operator("-") ? JinjaExprKind::kNegative : JinjaExprKind::kPositive, now().line);
    next();
    made->items.push_back(unary_expr(false));
  } else {
    made = primary();
  }
  made = postfix(std::move(made));
  return with_filter ? filters_and_tests(std::move(made)) : std::move(made);
}

JinjaExprPointer JinjaParser::name_expr() {
  const JinjaToken& token = next();
  const std::string& name = token.text;
  auto made = make_expr(JinjaExprKind::kConstant, token.line);
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    made->constant = JinjaConstant(JinjaValue::boolean(name == "true" || name == "True"));
  } else if (name == "none" || name == "None") {
    made->constant = JinjaConstant(JinjaValue::none());
  } else {
    made->kind = JinjaExprKind::kName;
    made->name = name;
  }
  return finish(std::move(made));
}

JinjaExprPointer JinjaParser::primary() {
  const JinjaToken& token = now();
  if (token.kind == JinjaTokenKind::kName) return name_expr();
  if (token.kind == JinjaTokenKind::kString) {
    auto made = make_expr(JinjaExprKind::kConstant, token.line);
    std::string text;
    while (now().kind == JinjaTokenKind::kString) text += next().text;
    made->constant = JinjaConstant(std::move(text));
    return finish(std::move(made));
  }
  if (token.kind == JinjaTokenKind::kInteger || token.kind == JinjaTokenKind::kFloat) {
    auto made = make_expr(JinjaExprKind::kConstant, token.line);
    made->constant = JinjaConstant(token.kind == JinjaTokenKind::kInteger ? JinjaValue::integer(token.integer)
                                                                          : JinjaValue::real(token.real));
    next();
    return finish(std::move(made));
  }
  if (skip_operator("(")) {
    auto made = tuple_or_expression(Conditional::kAllowed, {}, true);
    expect_operator(")");
    return finish(std::move(made));
  }
  if (is_operator("[")) return list_literal();
  if (is_operator("{")) return dict_literal();
  fail("expected an expression");
}

JinjaExprPointer JinjaParser::list_literal() {
  auto made = make_expr(JinjaExprKind::kList, next().line);
  while (!is_operator("]")) {
    if (!made->items.empty()) expect_operator(",");
    if (is_operator("]")) break;
    made->items.push_back(expression());
  }
  next();
  return finish(std::move(made));
}

JinjaExprPointer JinjaParser::dict_literal() {
  auto made = make_expr(JinjaExprKind::kDict, next().line);
  while (!is_operator("}")) {
    if (!made->items.empty()) expect_operator(",");
    if (is_operator("}")) break;
    made->items.push_back(expression());
    expect_operator(":");
    made->items.push_back(expression());
  }
  next();
  return finish(std::move(made));
}

JinjaExprPointer JinjaParser::postfix(JinjaExprPointer expr) {
  while (true) {
    if (is_operator(".")) {
      expr = attribute(std::move(expr));
    } else if (is_operator("[")) {
      expr = subscript(std::move(expr));
    } else if (is_operator("(")) {
      expr = call(std::move(expr));
    } else {
      return expr;
    }
  }
}

JinjaExprPointer JinjaParser::filters_and_tests(JinjaExprPointer expr) {
  while (true) {
    if (is_operator("|")) {
      expr = filter(std::move(expr));
    } else if (is_name("is")) {
      expr = test(std::move(expr));
    } else if (is_operator("(")) {
      expr = call(std::move(expr));
    } else {
      return expr;
    }
  }
}

JinjaExprPointer JinjaParser::attribute(JinjaExprPointer object) {
  const int line = next().line;
  auto made = make_expr(JinjaExprKind::kAttribute, line);
  if (now().kind == JinjaTokenKind::kInteger) {
    made->kind = JinjaExprKind::kItem;
    made->items.push_back(std::move(object));
    made->items.push_back(primary());
    return finish(std::move(made));
  }
  made->name = expect_any_name("an attribute's name or number");
  made->attribute_key = JinjaConstant(made->name);
  made->items.push_back(std::move(object));
  return finish(std::move(made));
}

JinjaExprPointer JinjaParser::subscript(JinjaExprPointer object) {
  const int line = next().line;
  auto made = make_expr(JinjaExprKind::kItem, line);
  made->items.push_back(std::move(object));
  if (is_operator("]")) fail("expected an index, found ]");
  if (!is_operator(":")) made->items.push_back(expression());
  if (is_operator(":")) {
    made->kind = JinjaExprKind::kSlice;
    made->items.resize(2);
    for (int part = 0; part < 2; ++part) {
      const bool present = skip_operator(":") && !is_operator(":") && !is_operator("]") && !is_operator(",");
      made->items.push_back(present ? expression() : nullptr);
    }
  }
  if (is_operator(",")) refuse(line, "an index of several parts");
  expect_operator("]");
  return finish(std::move(made));
}

}  // namespace qtune
