#include "interpreter.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "functions.h"
#include "operators.h"
#include "sequences.h"

namespace qtune {

JinjaInterpreter::Activation::Activation(JinjaInterpreter& in, int num_slots, JinjaFrame* outer)
    : in_(in), index_(in.frames_.size()) {
  in.charge_bytes(sizeof(JinjaFrame) + static_cast<size_t>(num_slots) * sizeof(JinjaValue));
  in.frames_.emplace_back(new JinjaFrame);
  frame_ = in.frames_.back().get();
  frame_->outer = JinjaPointer<JinjaFrame>(outer);
  frame_->slots.resize(static_cast<size_t>(num_slots));
}

JinjaInterpreter::Activation::~Activation() {
  if (frame_->is_shared()) return;  // a macro holds it, and it may hold the macro
  std::swap(in_.frames_[index_], in_.frames_.back());
  in_.frames_.pop_back();
}

JinjaInterpreter::JinjaInterpreter(const JinjaProgram& program, const JinjaContext& context, const JinjaLimits& limits,
                                   JinjaUndefined undefined)
    : program_(program), steps_left_(limits.num_steps), bytes_left_(limits.num_bytes), undefined_(undefined) {
  context_values_.reserve(program.context_names.size());
  for (const std::string& name : program.context_names) {
    const auto found = std::find_if(context.begin(), context.end(), [&](const auto& e) { return e.first == name; });
    context_values_.push_back(found == context.end() ? jinja_global(name) : found->second);
  }
}

JinjaInterpreter::~JinjaInterpreter() {
  for (const auto& frame : frames_) frame->slots.clear();
  for (const auto& space : namespaces_) space->attributes.clear();
}

JinjaOutput JinjaInterpreter::run() {
  const Activation call(*this, program_.num_slots, nullptr);
  JinjaText out;
  root_ = &out;
  enter(program_.loads, call.frame());
  execute(program_.body, call.frame(), out);
  return {.text = std::move(out.text), .segments = std::move(out.segments), .generated = std::move(generated_)};
}

void JinjaInterpreter::charge_bytes(size_t bytes) {
  const auto taken = static_cast<int64_t>(std::min<size_t>(bytes, INT64_MAX / 2));
  if ((bytes_left_ -= taken) < 0) fail(JinjaFault::kLimit, "the template makes too much text");
  charge(taken / 32);
}

void JinjaInterpreter::fail_depth() {
  --depth_;
  fail(JinjaFault::kLimit, "macros that call each other without end, or too deep nesting");
}

void JinjaInterpreter::fail_steps() const { fail(JinjaFault::kLimit, "the template takes too many steps"); }

void JinjaInterpreter::fail(const std::string& message) const { fail(JinjaFault::kRuntime, message); }

void JinjaInterpreter::refuse(const std::string& what) const {
  fail(JinjaFault::kUnsupported, what + " is not supported");
}

void JinjaInterpreter::fail(JinjaFault fault, const std::string& message) const {
  throw JinjaError(fault, line_, message);
}

int JinjaInterpreter::checked_depth(const JinjaValue& value) const {
  const int depth = depth_of(value) + 1;
  if (depth > kMaxValueDepth) fail(JinjaFault::kLimit, "a value that is too deeply nested");
  return depth;
}

JinjaValue JinjaInterpreter::make_list(std::vector<JinjaValue> items) {
  charge_bytes(sizeof(JinjaList) + items.size() * sizeof(JinjaValue));
  auto* list = new JinjaList;
  JinjaValue out = JinjaValue::of(JinjaKind::kList, list);
  for (const JinjaValue& item : items) list->depth = std::max(list->depth, checked_depth(item));
  list->items = std::move(items);
  return out;
}

JinjaValue JinjaInterpreter::make_tuple(std::vector<JinjaValue> items) {
  const JinjaValue list = make_list(std::move(items));
  return JinjaValue::of(JinjaKind::kTuple, list.object());
}

JinjaValue JinjaInterpreter::make_dict(std::vector<std::pair<JinjaValue, JinjaValue>> entries) {
  charge_bytes(sizeof(JinjaDict) + entries.size() * 2 * sizeof(JinjaValue));
  auto* dict = new JinjaDict;
  JinjaValue out = JinjaValue::of(JinjaKind::kDict, dict);
  for (auto& [key, value] : entries) {
    check_hashable(*this, key);
    dict->depth = std::max({dict->depth, checked_depth(key), checked_depth(value)});
    if (const JinjaValue* found = find_entry(*this, *dict, key)) {
      *const_cast<JinjaValue*>(found) = std::move(value);
    } else {
      dict->entries.emplace_back(std::move(key), std::move(value));
    }
  }
  return out;
}

JinjaValue JinjaInterpreter::make_undefined(std::string message) const {
  return JinjaValue::of(JinjaKind::kUndefined, new JinjaUndefinedObject(std::move(message)));
}

JinjaValue JinjaInterpreter::make_namespace() {
  charge_bytes(sizeof(JinjaNamespace) + sizeof(void*));
  namespaces_.emplace_back(new JinjaNamespace);
  return JinjaValue::of(JinjaKind::kNamespace, namespaces_.back().get());
}

void JinjaInterpreter::enter(const std::vector<JinjaLoad>& loads, JinjaFrame& frame) {
  for (const JinjaLoad& load : loads) {
    JinjaValue& slot_value = frame.slots[static_cast<size_t>(load.slot)];
    switch (load.kind) {
      case JinjaLoadKind::kParameter:
        break;
      case JinjaLoadKind::kResolve:
        slot_value = context_values_[static_cast<size_t>(load.context_index)];
        break;
      case JinjaLoadKind::kAlias:
        slot_value = slot(load.outer, frame);
        break;
      case JinjaLoadKind::kUndefined:
        slot_value = {};
        break;
    }
  }
}

void JinjaInterpreter::leave(const std::vector<JinjaLoad>& loads, JinjaFrame& frame) {
  for (const JinjaLoad& load : loads) frame.slots[static_cast<size_t>(load.slot)] = {};
}

JinjaValue& JinjaInterpreter::slot(const JinjaReference& reference, JinjaFrame& frame) {
  JinjaFrame* at = &frame;
  for (int hop = 0; hop < reference.hops; ++hop) at = at->outer.get();
  return at->slots[static_cast<size_t>(reference.slot)];
}

JinjaInterpreter::Flow JinjaInterpreter::execute(const JinjaBody& body, JinjaFrame& frame, JinjaText& out) {
  for (const auto& statement : body) {
    const Flow flow = execute(*statement, frame, out);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

JinjaInterpreter::Flow JinjaInterpreter::execute(const JinjaStatement& s, JinjaFrame& frame, JinjaText& out) {
  charge(1);
  line_ = s.line;
  switch (s.kind) {
    case JinjaStatementKind::kText:
      charge_bytes(s.text.size());
      out.append(s.text);
      break;
    case JinjaStatementKind::kOutput:
      append_str(*this, out, evaluate(*s.expr, frame));
      break;
    case JinjaStatementKind::kIf:
      return execute_if(s, frame, out);
    case JinjaStatementKind::kFor:
      return execute_for(s, frame, out);
    case JinjaStatementKind::kSet:
      execute_set(s, frame);
      break;
    case JinjaStatementKind::kSetBlock:
    case JinjaStatementKind::kFilterBlock:
      return execute_block(s, frame, out);
    case JinjaStatementKind::kMacro:
      slot(s.target->reference, frame) = make_macro(s, frame);
      break;
    case JinjaStatementKind::kCallBlock:
      execute_call_block(s, frame, out);
      break;
    case JinjaStatementKind::kGeneration:
      execute_generation(s, frame, out);
      break;
    case JinjaStatementKind::kWith:
      return execute_with(s, frame, out);
    case JinjaStatementKind::kBreak:
      return Flow::kBreak;
    case JinjaStatementKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

JinjaInterpreter::Flow JinjaInterpreter::execute_if(const JinjaStatement& s, JinjaFrame& frame, JinjaText& out) {
  const Depth depth(*this);
  for (const auto& [test, body] : s.branches) {
    line_ = test->line;
    if (truth(evaluate(*test, frame))) return execute(body, frame, out);
  }
  return execute(s.otherwise, frame, out);
}

/// The iterable of a loop with `if`. It is read as the loop goes: the body may change what the filter looks at.
JinjaValue JinjaInterpreter::filtered_items(const JinjaStatement& s, const JinjaValue& iterable, JinjaFrame& frame) {
  enter(s.condition_loads, frame);
  return make_iterator(*this, iterable, [this, &s, &frame, items = iterate(*this, iterable)](JinjaValue& value) {
    while (items->next(*this, value)) {
      charge(1);
      line_ = s.line;
      assign(*s.filter_target, value, frame);
      if (!truth(evaluate(*s.condition, frame))) continue;
      if (s.filter_target->kind == JinjaExprKind::kTuple) value = evaluate(*s.filter_target, frame);
      return true;
    }
    return false;
  });
}

JinjaInterpreter::Flow JinjaInterpreter::execute_for(const JinjaStatement& s, JinjaFrame& frame, JinjaText& out) {
  const Depth depth(*this);
  const JinjaPointer<JinjaLoop> loop(new JinjaLoop);
  loop->iterable = evaluate(*s.expr, frame);
  std::optional<Activation> filter;
  if (s.condition) {
    filter.emplace(*this, s.num_condition_slots, &frame);
    loop->iterable = filtered_items(s, loop->iterable, filter->frame());
  }
  loop->iterator = iterate(*this, loop->iterable);
  loop->depth = checked_depth(loop->iterable);
  const bool completed = run_loop(s, loop, frame, out);
  leave(s.loads, frame);
  if (s.condition) loop->iterator = iterate(*this, JinjaValue());  // loop may outlive its filter
  if (completed || s.otherwise.empty()) return Flow::kNext;
  enter(s.otherwise_loads, frame);
  const Flow flow = execute(s.otherwise, frame, out);
  leave(s.otherwise_loads, frame);
  return flow;
}

/// Whether the body was run to its end at least once: else goes by that in jinja2.
bool JinjaInterpreter::run_loop(const JinjaStatement& s, const JinjaPointer<JinjaLoop>& loop, JinjaFrame& frame,
                                JinjaText& out) {
  const JinjaValue loop_value = JinjaValue::of(JinjaKind::kLoop, loop.get());
  bool completed = false;
  Flow flow = Flow::kNext;
  while (flow != Flow::kBreak && loop_next(*this, *loop)) {
    charge(1);
    assign(*s.target, loop->current, frame);
    frame.slots[static_cast<size_t>(s.loop_slot)] = loop_value;
    enter(s.loads, frame);
    flow = execute(s.body, frame, out);
    completed = completed || flow == Flow::kNext;
    line_ = s.line;
  }
  return completed;
}

JinjaInterpreter::Flow JinjaInterpreter::execute_block(const JinjaStatement& s, JinjaFrame& frame, JinjaText& out) {
  const Depth depth(*this);
  enter(s.loads, frame);
  JinjaText inner;
  const Flow flow = execute(s.body, frame, inner);
  if (flow == Flow::kNext) {
    line_ = s.line;
    JinjaValue value = inner.take();
    if (s.expr) value = filtered(*s.expr, frame, std::move(value));
    if (s.kind == JinjaStatementKind::kSetBlock) {
      check_namespaces(*s.target, frame);
      assign(*s.target, std::move(value), frame);
    } else {
      append_str(*this, out, value);
    }
  }
  leave(s.loads, frame);
  return flow;
}

JinjaInterpreter::Flow JinjaInterpreter::execute_with(const JinjaStatement& s, JinjaFrame& frame, JinjaText& out) {
  const Depth depth(*this);
  enter(s.loads, frame);
  for (size_t i = 0; i < s.values.size(); ++i) assign(*s.parameters[i], evaluate(*s.values[i], frame), frame);
  const Flow flow = execute(s.body, frame, out);
  leave(s.loads, frame);
  return flow;
}

void JinjaInterpreter::execute_set(const JinjaStatement& s, JinjaFrame& frame) {
  check_namespaces(*s.target, frame);
  assign(*s.target, evaluate(*s.expr, frame), frame);
}

void JinjaInterpreter::check_namespaces(const JinjaExpr& target, JinjaFrame& frame) const {
  if (target.kind == JinjaExprKind::kNamespaceTarget && slot(target.reference, frame).kind() != JinjaKind::kNamespace) {
    fail(fmt::format("{}.{}: only a namespace's attributes can be set", target.name, target.attribute));
  }
  for (const auto& item : target.items) check_namespaces(*item, frame);
}

void JinjaInterpreter::assign(const JinjaExpr& target, JinjaValue value, JinjaFrame& frame) {
  if (target.kind == JinjaExprKind::kName) {
    slot(target.reference, frame) = std::move(value);
    return;
  }
  if (target.kind == JinjaExprKind::kNamespaceTarget) {
    if (target.attribute.starts_with('_')) fail("a namespace's attribute can't start with an underscore");
    JinjaNamespace& space = as<JinjaNamespace>(slot(target.reference, frame));
    for (auto& [name, old] : space.attributes) {
      if (name == target.attribute) {
        old = std::move(value);
        return;
      }
    }
    charge_bytes(target.attribute.size() + sizeof(JinjaValue));
    space.attributes.emplace_back(target.attribute, std::move(value));
    return;
  }
  std::vector<JinjaValue> items;
  const auto iterator = iterate(*this, value);
  JinjaValue item;
  while (items.size() <= target.items.size() && iterator->next(*this, item)) items.push_back(std::move(item));
  if (items.size() != target.items.size()) {
    fail(fmt::format("expected {} values to unpack, found {}", target.items.size(),
                     items.size() > target.items.size() ? "more" : fmt::format("{}", items.size())));
  }
  for (size_t i = 0; i < items.size(); ++i) assign(*target.items[i], std::move(items[i]), frame);
}

JinjaValue JinjaInterpreter::make_macro(const JinjaStatement& s, JinjaFrame& frame) {
  charge_bytes(sizeof(JinjaMacro));
  auto* macro = new JinjaMacro;
  macro->definition = &s;
  macro->closure = JinjaPointer<JinjaFrame>(&frame);
  return JinjaValue::of(JinjaKind::kMacro, macro);
}

void JinjaInterpreter::execute_call_block(const JinjaStatement& s, JinjaFrame& frame, JinjaText& out) {
  const Depth depth(*this);
  const JinjaValue callee = evaluate(*s.expr->items[0], frame);
  JinjaArguments arguments;
  add_arguments(*s.expr, frame, arguments);
  arguments.named.emplace_back("caller", make_macro(s, frame));
  append_str(*this, out, call(callee, arguments));
}

void JinjaInterpreter::execute_generation(const JinjaStatement& s, JinjaFrame& frame, JinjaText& out) {
  if (&out != root_) refuse("a generation block inside of a macro or another block");
  const Depth depth(*this);
  const Activation call(*this, s.num_slots, &frame);
  enter(s.loads, call.frame());
  const size_t begin = out.text.size();
  execute(s.body, call.frame(), out);
  generated_.emplace_back(begin, out.text.size());
}

}  // namespace qtune
