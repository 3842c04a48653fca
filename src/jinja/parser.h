// Template text -> JinjaProgram, by jinja2's grammar.
#pragma once

#include <string>
#include <vector>

#include "ast.h"
#include "lexer.h"

namespace qtune {

inline constexpr int kMaxJinjaNesting = 150;
inline constexpr int kMaxJinjaDepth = 300;
inline constexpr int kMaxJinjaNodes = 200'000;

class JinjaParser {
 public:
  explicit JinjaParser(std::vector<JinjaToken> tokens) : tokens_(std::move(tokens)) {}

  /// Throws: JinjaError (kSyntax, kUnsupported, kLimit).
  JinjaProgram run();

 private:
  struct Nesting;
  enum class Conditional { kAllowed, kLeftOut };

  // tokens
  const JinjaToken& now() const { return tokens_[at_]; }
  const JinjaToken& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const JinjaToken& next();
  bool is_operator(std::string_view op) const;
  bool is_name(std::string_view name) const;
  bool skip_operator(std::string_view op);
  bool skip_name(std::string_view name);
  void expect_operator(std::string_view op);
  void expect_name(std::string_view name);
  std::string expect_any_name(const char* what);
  [[noreturn]] void fail(const std::string& message) const;
  [[noreturn]] void refuse(int line, const std::string& what) const;
  void count_node();

  // statements (parser.cpp)
  JinjaBody body_until(const std::vector<std::string_view>& ends);
  JinjaBody block(const std::vector<std::string_view>& ends);
  std::unique_ptr<JinjaStatement> statement();
  std::unique_ptr<JinjaStatement> make_statement(JinjaStatementKind kind);
  std::unique_ptr<JinjaStatement> if_statement();
  std::unique_ptr<JinjaStatement> for_statement();
  std::unique_ptr<JinjaStatement> set_statement();
  std::unique_ptr<JinjaStatement> macro_statement();
  std::unique_ptr<JinjaStatement> call_statement();
  std::unique_ptr<JinjaStatement> generation_statement();
  std::unique_ptr<JinjaStatement> filter_statement();
  std::unique_ptr<JinjaStatement> with_statement();
  std::unique_ptr<JinjaStatement> jump_statement();
  void signature(JinjaStatement& statement);
  JinjaExprPointer target(std::string_view end, bool with_namespace);
  JinjaExprPointer single_target(bool with_namespace);
  JinjaBody function_body(std::string_view end);

  // expressions (parser_expression.cpp, parser_call.cpp)
  JinjaExprPointer make_expr(JinjaExprKind kind, int line);
  /// Every expression with parts passes through here: bounds the tree's depth.
  JinjaExprPointer finish(JinjaExprPointer expr);
  JinjaExprPointer tuple_or_expression(Conditional conditional, const std::vector<std::string_view>& ends,
                                       bool in_parentheses);
  JinjaExprPointer expression(Conditional conditional = Conditional::kAllowed);
  JinjaExprPointer conditional_expr();
  JinjaExprPointer or_expr();
  JinjaExprPointer and_expr();
  JinjaExprPointer not_expr();
  JinjaExprPointer compare_expr();
  JinjaExprPointer sum_expr();
  JinjaExprPointer concat_expr();
  JinjaExprPointer product_expr();
  JinjaExprPointer power_expr();
  JinjaExprPointer unary_expr(bool with_filter);
  JinjaExprPointer primary();
  JinjaExprPointer name_expr();
  JinjaExprPointer list_literal();
  JinjaExprPointer dict_literal();
  JinjaExprPointer postfix(JinjaExprPointer expr);
  JinjaExprPointer filters_and_tests(JinjaExprPointer expr);
  JinjaExprPointer attribute(JinjaExprPointer object);
  JinjaExprPointer subscript(JinjaExprPointer object);
  JinjaExprPointer call(JinjaExprPointer callee);
  JinjaExprPointer filter(JinjaExprPointer value);
  JinjaExprPointer test(JinjaExprPointer value);
  void arguments(JinjaExpr& expr);
  JinjaExprPointer binary(JinjaOperator op, JinjaExprPointer left, JinjaExprPointer right, int line);

  std::vector<JinjaToken> tokens_;
  size_t at_ = 0;
  int nesting_ = 0;
  int num_nodes_ = 0;
  int loop_depth_ = 0;  // for break and continue
  bool in_generation_ = false;
  JinjaProgram program_;
};

/// Counts how deep the parser is; too deep is an error, not a stack overflow.
struct JinjaParser::Nesting {
  explicit Nesting(JinjaParser& parser) : parser_(parser) {
    if (++parser_.nesting_ > kMaxJinjaNesting) {
      --parser_.nesting_;
      throw JinjaError(JinjaFault::kLimit, parser_.now().line,
                       "more than " + std::to_string(kMaxJinjaNesting) + " levels of nesting");
    }
  }
  ~Nesting() { --parser_.nesting_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  JinjaParser& parser_;
};

}  // namespace qtune
