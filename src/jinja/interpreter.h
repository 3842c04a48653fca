// One rendering: walks the tree, keeps the variables and the budget.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ast.h"
#include "objects.h"

namespace qtune {

/// Arguments of a call. A filter's or test's value is the first one.
struct JinjaArguments {
  std::vector<JinjaValue> values;
  std::vector<std::pair<std::string_view, JinjaValue>> named;
};

class JinjaInterpreter {
 public:
  JinjaInterpreter(const JinjaProgram& program, const JinjaContext& context, const JinjaLimits& limits,
                   JinjaUndefined undefined);
  ~JinjaInterpreter();

  JinjaOutput run();

  bool writes_undefined() const { return undefined_ == JinjaUndefined::kEmpty; }

  /// Counts work; too much of it is an error.
  void charge(int64_t steps) {
    if ((steps_left_ -= steps) < 0) fail_steps();
  }
  /// Counts memory that is about to be taken, and the work of filling it.
  void charge_bytes(size_t bytes);

  [[noreturn]] void fail(const std::string& message) const;
  [[noreturn]] void refuse(const std::string& what) const;
  [[noreturn]] void fail(JinjaFault fault, const std::string& message) const;

  JinjaValue make_list(std::vector<JinjaValue> items);
  JinjaValue make_tuple(std::vector<JinjaValue> items);
  JinjaValue make_dict(std::vector<std::pair<JinjaValue, JinjaValue>> entries);
  JinjaValue make_undefined(std::string message) const;
  JinjaValue make_namespace();
  /// Depth of what holds `value`. Throws when that is too deep.
  int checked_depth(const JinjaValue& value) const;

  JinjaValue call(const JinjaValue& callee, JinjaArguments& arguments);

 private:
  enum class Flow { kNext, kBreak, kContinue };

  /// Bounds the recursion over tree and macros.
  class Depth {
   public:
    explicit Depth(JinjaInterpreter& in) : in_(in) {
      if (++in_.depth_ > kMaxDepth) in_.fail_depth();
    }
    ~Depth() { --in_.depth_; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;

   private:
    JinjaInterpreter& in_;
  };
  static constexpr int kMaxDepth = 1000;

  /// A frame that is kept to the end when a macro holds it.
  class Activation {
   public:
    Activation(JinjaInterpreter& in, int num_slots, JinjaFrame* outer);
    ~Activation();
    Activation(const Activation&) = delete;
    Activation& operator=(const Activation&) = delete;
    JinjaFrame& frame() const { return *frame_; }

   private:
    JinjaInterpreter& in_;
    size_t index_;
    JinjaFrame* frame_;
  };

  [[noreturn]] void fail_steps() const;
  [[noreturn]] void fail_depth();

  Flow execute(const JinjaBody& body, JinjaFrame& frame, JinjaText& out);
  Flow execute(const JinjaStatement& s, JinjaFrame& frame, JinjaText& out);
  Flow execute_if(const JinjaStatement& s, JinjaFrame& frame, JinjaText& out);
  Flow execute_for(const JinjaStatement& s, JinjaFrame& frame, JinjaText& out);
  bool run_loop(const JinjaStatement& s, const JinjaPointer<JinjaLoop>& loop, JinjaFrame& frame, JinjaText& out);
  JinjaValue filtered_items(const JinjaStatement& s, const JinjaValue& iterable, JinjaFrame& frame);
  Flow execute_block(const JinjaStatement& s, JinjaFrame& frame, JinjaText& out);
  Flow execute_with(const JinjaStatement& s, JinjaFrame& frame, JinjaText& out);
  void execute_set(const JinjaStatement& s, JinjaFrame& frame);
  void execute_generation(const JinjaStatement& s, JinjaFrame& frame, JinjaText& out);
  void execute_call_block(const JinjaStatement& s, JinjaFrame& frame, JinjaText& out);
  JinjaValue make_macro(const JinjaStatement& s, JinjaFrame& frame);

  void enter(const std::vector<JinjaLoad>& loads, JinjaFrame& frame);
  static void leave(const std::vector<JinjaLoad>& loads, JinjaFrame& frame);
  void assign(const JinjaExpr& target, JinjaValue value, JinjaFrame& frame);
  void check_namespaces(const JinjaExpr& target, JinjaFrame& frame) const;
  static JinjaValue& slot(const JinjaReference& reference, JinjaFrame& frame);

  JinjaValue evaluate(const JinjaExpr& e, JinjaFrame& frame);
  JinjaValue evaluate_compound(const JinjaExpr& e, JinjaFrame& frame);
  std::vector<JinjaValue> evaluate_items(const JinjaExpr& e, JinjaFrame& frame);
  JinjaValue evaluate_dict(const JinjaExpr& e, JinjaFrame& frame);
  JinjaValue evaluate_compare(const JinjaExpr& e, JinjaFrame& frame);
  JinjaValue evaluate_concat(const JinjaExpr& e, JinjaFrame& frame);
  JinjaValue evaluate_conditional(const JinjaExpr& e, JinjaFrame& frame);
  JinjaValue evaluate_slice(const JinjaExpr& e, JinjaFrame& frame);
  JinjaValue evaluate_filter(const JinjaExpr& e, JinjaFrame& frame, const JinjaValue* block_text);
  bool evaluate_test(const JinjaExpr& e, JinjaFrame& frame);
  JinjaValue evaluate_call(const JinjaExpr& e, JinjaFrame& frame);
  void add_arguments(const JinjaExpr& e, JinjaFrame& frame, JinjaArguments& out);
  JinjaValue filtered(const JinjaExpr& e, JinjaFrame& frame, JinjaValue text);

  JinjaValue call_macro(const JinjaMacro& macro, JinjaArguments& arguments);
  void bind_macro(const JinjaStatement& s, JinjaArguments& arguments, JinjaFrame& frame);

  const JinjaProgram& program_;
  std::vector<JinjaValue> context_values_;
  int64_t steps_left_, bytes_left_;
  JinjaUndefined undefined_;
  int depth_ = 0;
  int line_ = 1;
  JinjaText* root_ = nullptr;
  std::vector<std::pair<size_t, size_t>> generated_;
  // What may be part of a cycle of owners is taken apart at the end.
  std::vector<JinjaPointer<JinjaNamespace>> namespaces_;
  std::vector<JinjaPointer<JinjaFrame>> frames_;
};

}  // namespace qtune
