#include <fmt/format.h>

#include "filters.h"
#include "methods.h"
#include "parser.h"

namespace qtune {

void JinjaParser::arguments(JinjaExpr& expr) {
  expect_operator("(");
  bool first = true;
  while (!is_operator(")")) {
    if (!first) expect_operator(",");
    if (is_operator(")")) break;
    first = false;
    if (skip_operator("*")) {
      if (expr.star) fail("a call with several lists of arguments");
      expr.star = expression();
    } else if (is_operator("**")) {
      refuse(now().line, "** in a call");
    } else if (now().kind == JinjaTokenKind::kName && ahead().kind == JinjaTokenKind::kOperator &&
               ahead().text == "=") {
      std::string name = next().text;
      next();
      for (const auto& entry : expr.named) {
        if (entry.first == name) fail(fmt::format("the argument {} is given twice", name));
      }
      expr.named.emplace_back(std::move(name), expression());
    } else {
      if (expr.star || !expr.named.empty()) fail("an argument without name behind named ones");
      expr.items.push_back(expression());
    }
  }
  next();
}

JinjaExprPointer JinjaParser::call(JinjaExprPointer callee) {
  if (callee->kind == JinjaExprKind::kAttribute && is_refused_method(callee->name))
    refuse(callee->line, fmt::format("the method {}", callee->name));
  auto made = make_expr(JinjaExprKind::kCall, now().line);
  made->items.push_back(std::move(callee));
  arguments(*made);
  return finish(std::move(made));
}

JinjaExprPointer JinjaParser::filter(JinjaExprPointer value) {
  if (is_operator("|")) next();
  const int line = now().line;
  auto made = make_expr(JinjaExprKind::kFilter, line);
  made->name = expect_any_name("a filter's name");
  while (skip_operator(".")) made->name += "." + expect_any_name("a filter's name");
  made->filter = find_jinja_filter(made->name);
  if (!made->filter && is_known_to_jinja2(made->name, JinjaNameKind::kFilter))
    refuse(line, fmt::format("the filter {}", made->name));
  made->items.push_back(std::move(value));
  if (is_operator("(")) arguments(*made);
  return finish(std::move(made));
}

JinjaExprPointer JinjaParser::test(JinjaExprPointer value) {
  const int line = next().line;
  const bool negated = skip_name("not");
  auto made = make_expr(JinjaExprKind::kTest, line);
  made->name = expect_any_name("a test's name");
  while (skip_operator(".")) made->name += "." + expect_any_name("a test's name");
  made->test = find_jinja_test(made->name);
  if (!made->test && is_known_to_jinja2(made->name, JinjaNameKind::kTest))
    refuse(line, fmt::format("the test {}", made->name));
  made->items.push_back(std::move(value));
  const JinjaTokenKind kind = now().kind;
  const bool has_operand = kind == JinjaTokenKind::kName || kind == JinjaTokenKind::kString ||
                           kind == JinjaTokenKind::kInteger || kind == JinjaTokenKind::kFloat || is_operator("[") ||
                           is_operator("{");
  if (is_operator("(")) {
    arguments(*made);
  } else if (has_operand && !is_name("else") && !is_name("or") && !is_name("and")) {
    if (is_name("is")) fail("tests can't be chained with is");
    made->items.push_back(postfix(primary()));
  }
  made = finish(std::move(made));
  if (!negated) return made;
  auto inverse = make_expr(JinjaExprKind::kNot, line);
  inverse->items.push_back(std::move(made));
  return finish(std::move(inverse));
}

}  // namespace qtune
