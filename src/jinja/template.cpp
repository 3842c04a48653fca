#include "qtune/jinja/template.h"

#include "interpreter.h"
#include "lexer.h"
#include "parser.h"
#include "scopes.h"

namespace qtune {
namespace {

class ParsedTemplate final : public JinjaTemplate {
 public:
  explicit ParsedTemplate(JinjaProgram program) : program_(std::move(program)) {}

  JinjaOutput render(const JinjaContext& context, const JinjaLimits& limits, JinjaUndefined undefined) const override {
    return JinjaInterpreter(program_, context, limits, undefined).run();
  }
  bool has_generation() const override { return program_.has_generation; }
  bool uses_date() const override { return program_.uses_date; }

 private:
  JinjaProgram program_;
};

}  // namespace

std::shared_ptr<const JinjaTemplate> JinjaTemplate::parse(const std::string& source) {
  JinjaProgram program = JinjaParser(jinja_tokens(source)).run();
  resolve_scopes(program);
  return std::make_shared<ParsedTemplate>(std::move(program));
}

}  // namespace qtune
