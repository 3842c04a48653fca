#include "parser.h"

#include <fmt/format.h>

#include <algorithm>

namespace qtune {

namespace {

constexpr std::string_view kJinjaTags[] = {"block", "extends", "include", "from", "import", "autoescape"};

const char* describe(JinjaTokenKind kind) {
  switch (kind) {
    case JinjaTokenKind::kText:
      return "text";
    case JinjaTokenKind::kOutputBegin:
      return "{{";
    case JinjaTokenKind::kOutputEnd:
      return "}}";
    case JinjaTokenKind::kTagBegin:
      return "{%";
    case JinjaTokenKind::kTagEnd:
      return "%}";
    case JinjaTokenKind::kString:
      return "a string";
    case JinjaTokenKind::kInteger:
    case JinjaTokenKind::kFloat:
      return "a number";
    default:
      return "the end of the template";
  }
}

std::string describe(const JinjaToken& token) {
  const bool has_text = token.kind == JinjaTokenKind::kName || token.kind == JinjaTokenKind::kOperator;
  return has_text ? token.text : describe(token.kind);
}

}  // namespace

JinjaProgram JinjaParser::run() {
  program_.body = body_until({});
  return std::move(program_);
}

const JinjaToken& JinjaParser::next() {
  const JinjaToken& token = tokens_[at_];
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool JinjaParser::is_operator(std::string_view op) const {
  return now().kind == JinjaTokenKind::kOperator && now().text == op;
}

bool JinjaParser::is_name(std::string_view name) const {
  return now().kind == JinjaTokenKind::kName && now().text == name;
}

bool JinjaParser::skip_operator(std::string_view op) {
  const bool found = is_operator(op);
  if (found) next();
  return found;
}

bool JinjaParser::skip_name(std::string_view name) {
  const bool found = is_name(name);
  if (found) next();
  return found;
}

void JinjaParser::expect_operator(std::string_view op) {
  if (!skip_operator(op)) fail(fmt::format("expected {}, found {}", op, describe(now())));
}

void JinjaParser::expect_name(std::string_view name) {
  if (!skip_name(name)) fail(fmt::format("expected {}, found {}", name, describe(now())));
}

std::string JinjaParser::expect_any_name(const char* what) {
  if (now().kind != JinjaTokenKind::kName) fail(fmt::format("expected {}, found {}", what, describe(now())));
  return next().text;
}

void JinjaParser::fail(const std::string& message) const { throw JinjaError(JinjaFault::kSyntax, now().line, message); }

void JinjaParser::refuse(int line, const std::string& what) const {
  throw JinjaError(JinjaFault::kUnsupported, line, what + " is not supported");
}

void JinjaParser::count_node() {
  if (++num_nodes_ > kMaxJinjaNodes)
    throw JinjaError(JinjaFault::kLimit, now().line, fmt::format("a template of more than {} nodes", kMaxJinjaNodes));
}

std::unique_ptr<JinjaStatement> JinjaParser::make_statement(JinjaStatementKind kind) {
  count_node();
  auto made = std::make_unique<JinjaStatement>();
  made->kind = kind;
  made->line = now().line;
  return made;
}

JinjaBody JinjaParser::body_until(const std::vector<std::string_view>& ends) {
  const Nesting nesting(*this);
  JinjaBody body;
  while (now().kind != JinjaTokenKind::kEnd) {
    if (now().kind == JinjaTokenKind::kText) {
      auto text = make_statement(JinjaStatementKind::kText);
      text->text = next().text;
      body.push_back(std::move(text));
    } else if (now().kind == JinjaTokenKind::kOutputBegin) {
      auto output = make_statement(JinjaStatementKind::kOutput);
      next();
      output->expr = tuple_or_expression(Conditional::kAllowed, {}, false);
      if (now().kind != JinjaTokenKind::kOutputEnd) fail(fmt::format("expected }}}}, found {}", describe(now())));
      next();
      body.push_back(std::move(output));
    } else {
      next();  // {%
      if (std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return is_name(end); })) return body;
      if (now().kind != JinjaTokenKind::kName) fail(fmt::format("expected a tag's name, found {}", describe(now())));
      body.push_back(statement());
      if (now().kind != JinjaTokenKind::kTagEnd) fail(fmt::format("expected %}}, found {}", describe(now())));
      next();
    }
  }
  if (!ends.empty()) fail(fmt::format("expected {}, found the end of the template", ends.back()));
  return body;
}

/// The body of a tag, from its "%}" to one of `ends`, which is the current token then.
JinjaBody JinjaParser::block(const std::vector<std::string_view>& ends) {
  skip_operator(":");
  if (now().kind != JinjaTokenKind::kTagEnd) fail(fmt::format("expected %}}, found {}", describe(now())));
  next();
  return body_until(ends);
}

std::unique_ptr<JinjaStatement> JinjaParser::statement() {
  const std::string& tag = now().text;
  if (tag == "if") return if_statement();
  if (tag == "for") return for_statement();
  if (tag == "set") return set_statement();
  if (tag == "macro") return macro_statement();
  if (tag == "call") return call_statement();
  if (tag == "generation") return generation_statement();
  if (tag == "filter") return filter_statement();
  if (tag == "with") return with_statement();
  if (tag == "break" || tag == "continue") return jump_statement();
  if (tag == "print") refuse(now().line, "the tag print");
  if (std::find(std::begin(kJinjaTags), std::end(kJinjaTags), tag) != std::end(kJinjaTags))
    refuse(now().line, fmt::format("the tag {}", tag));
  fail(fmt::format("unknown tag {}", tag));
}

std::unique_ptr<JinjaStatement> JinjaParser::if_statement() {
  auto made = make_statement(JinjaStatementKind::kIf);
  next();
  while (true) {
    auto test = tuple_or_expression(Conditional::kLeftOut, {}, false);
    auto body = block({"elif", "else", "endif"});
    made->branches.emplace_back(std::move(test), std::move(body));
    const std::string end = next().text;
    if (end == "elif") continue;
    if (end == "else") {
      made->otherwise = block({"endif"});
      next();
    }
    return made;
  }
}

std::unique_ptr<JinjaStatement> JinjaParser::for_statement() {
  auto made = make_statement(JinjaStatementKind::kFor);
  next();
  const size_t target_at = at_;
  made->target = target("in", false);
  expect_name("in");
  made->expr = tuple_or_expression(Conditional::kLeftOut, {"recursive"}, false);
  if (skip_name("if")) {
    made->condition = expression();
    const size_t back = std::exchange(at_, target_at);  // the filter has the same names in a frame of its own
    made->filter_target = target("in", false);
    at_ = back;
  }
  if (is_name("recursive")) refuse(now().line, "a recursive loop");
  ++loop_depth_;
  made->body = block({"else", "endfor"});
  --loop_depth_;
  if (next().text == "else") {
    made->otherwise = block({"endfor"});
    next();
  }
  return made;
}

JinjaExprPointer JinjaParser::single_target(bool with_namespace) {
  const Nesting nesting(*this);
  if (skip_operator("(")) {
    auto inner = target(")", with_namespace);
    expect_operator(")");
    return inner;
  }
  const int line = now().line;
  std::string name = expect_any_name("a variable");
  if (with_namespace && skip_operator(".")) {
    auto made = make_expr(JinjaExprKind::kNamespaceTarget, line);
    made->name = std::move(name);
    made->attribute = expect_any_name("an attribute");
    return made;
  }
  static constexpr std::string_view kConstants[] = {"true", "false", "none", "True", "False", "None"};
  if (std::find(std::begin(kConstants), std::end(kConstants), name) != std::end(kConstants))
    fail(fmt::format("can't assign to {}", name));
  auto made = make_expr(JinjaExprKind::kName, line);
  made->name = std::move(name);
  return made;
}

/// What is assigned to, up to the name or operator `end`: one variable, or several with commas.
JinjaExprPointer JinjaParser::target(std::string_view end, bool with_namespace) {
  const int line = now().line;
  const auto at_end = [&] { return is_name(end) || is_operator(end) || now().kind == JinjaTokenKind::kTagEnd; };
  auto first = single_target(with_namespace);
  if (!is_operator(",")) return first;
  auto tuple = make_expr(JinjaExprKind::kTuple, line);
  tuple->items.push_back(std::move(first));
  while (skip_operator(",") && !at_end()) tuple->items.push_back(single_target(with_namespace));
  return tuple;
}

std::unique_ptr<JinjaStatement> JinjaParser::set_statement() {
  auto made = make_statement(JinjaStatementKind::kSet);
  next();
  made->target = target("=", true);
  if (skip_operator("=")) {
    made->expr = tuple_or_expression(Conditional::kAllowed, {}, false);
    return made;
  }
  made->kind = JinjaStatementKind::kSetBlock;
  while (is_operator("|")) made->expr = filter(std::move(made->expr));
  made->body = function_body("endset");
  return made;
}

/// A body that ends with `end` and that break and continue can't leave.
JinjaBody JinjaParser::function_body(std::string_view end) {
  const int depth = loop_depth_;
  if (end != "endset" && end != "endfilter" && end != "endwith") loop_depth_ = 0;
  JinjaBody body = block({end});
  next();
  loop_depth_ = depth;
  return body;
}

void JinjaParser::signature(JinjaStatement& statement) {
  expect_operator("(");
  while (!is_operator(")")) {
    if (!statement.parameters.empty()) expect_operator(",");
    statement.parameters.push_back(single_target(false));
    if (statement.parameters.back()->kind != JinjaExprKind::kName) fail("expected a parameter's name");
    if (skip_operator("=")) {
      statement.values.push_back(expression());
    } else if (!statement.values.empty()) {
      fail("a parameter without default behind one with default");
    }
  }
  next();
}

std::unique_ptr<JinjaStatement> JinjaParser::macro_statement() {
  auto made = make_statement(JinjaStatementKind::kMacro);
  next();
  made->target = make_expr(JinjaExprKind::kName, now().line);
  made->target->name = made->text = expect_any_name("the macro's name");
  signature(*made);
  made->body = function_body("endmacro");
  return made;
}

std::unique_ptr<JinjaStatement> JinjaParser::call_statement() {
  auto made = make_statement(JinjaStatementKind::kCallBlock);
  next();
  if (is_operator("(")) signature(*made);
  made->expr = expression();
  if (made->expr->kind != JinjaExprKind::kCall) fail("expected a call behind the tag call");
  made->body = function_body("endcall");
  return made;
}

std::unique_ptr<JinjaStatement> JinjaParser::generation_statement() {
  if (in_generation_) refuse(now().line, "a generation block inside of another");
  auto made = make_statement(JinjaStatementKind::kGeneration);
  next();
  in_generation_ = true;
  made->body = function_body("endgeneration");
  in_generation_ = false;
  program_.has_generation = true;
  return made;
}

std::unique_ptr<JinjaStatement> JinjaParser::filter_statement() {
  auto made = make_statement(JinjaStatementKind::kFilterBlock);
  next();
  do {
    made->expr = filter(std::move(made->expr));
  } while (is_operator("|"));
  made->body = function_body("endfilter");
  return made;
}

std::unique_ptr<JinjaStatement> JinjaParser::with_statement() {
  auto made = make_statement(JinjaStatementKind::kWith);
  next();
  while (now().kind != JinjaTokenKind::kTagEnd) {
    if (!made->parameters.empty()) expect_operator(",");
    made->parameters.push_back(single_target(false));
    expect_operator("=");
    made->values.push_back(expression());
  }
  made->body = function_body("endwith");
  return made;
}

std::unique_ptr<JinjaStatement> JinjaParser::jump_statement() {
  const bool is_break = now().text == "break";
  if (loop_depth_ == 0) fail(fmt::format("{} outside of a loop", now().text));
  auto made = make_statement(is_break ? JinjaStatementKind::kBreak : JinjaStatementKind::kContinue);
  next();
  return made;
}

}  // namespace qtune
