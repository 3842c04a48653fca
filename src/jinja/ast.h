// A parsed template. Names are resolved to slots of frames (scopes.h) before the first rendering.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "objects.h"

namespace qtune {

struct JinjaArguments;
using JinjaFilter = JinjaValue (*)(JinjaInterpreter&, JinjaArguments&);
using JinjaTest = bool (*)(JinjaInterpreter&, JinjaArguments&);

enum class JinjaOperator {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

enum class JinjaExprKind {
  kConstant,
  kName,
  kNamespaceTarget,  // name.attribute, to be assigned to
  kTuple,
  kList,
  kDict,  // items: key, value, key, value, ...
  kNegative,
  kPositive,
  kNot,
  kBinary,
  kAnd,
  kOr,
  kCompare,      // items[0] ops[0] items[1] ops[1] ...
  kConcat,       // ~
  kConditional,  // items: test, then, else (may be null)
  kAttribute,    // items[0].name
  kItem,         // items[0][items[1]]
  kSlice,        // items: object, start, stop, step (may be null)
  kFilter,       // items: value (null: the block's text), arguments
  kTest,
  kCall,  // items: callee, arguments
};

/// A variable: `slot` of the frame `hops` calls further out.
struct JinjaReference {
  int hops = 0, slot = -1;
};

struct JinjaExpr;
using JinjaExprPointer = std::unique_ptr<JinjaExpr>;

struct JinjaExpr {
  JinjaExprKind kind = JinjaExprKind::kConstant;
  int line = 0;
  int depth = 1;
  std::string name = {};  // of a variable, attribute, filter or test
  std::string attribute = {};
  JinjaConstant constant = {};
  JinjaConstant attribute_key = {};  // kAttribute: the name as a string value
  JinjaReference reference = {};
  JinjaOperator op = JinjaOperator::kAdd;
  std::vector<JinjaOperator> ops = {};
  std::vector<JinjaExprPointer> items = {};
  std::vector<std::pair<std::string, JinjaExprPointer>> named = {};  // keyword arguments
  JinjaExprPointer star = {};                                        // *args
  JinjaFilter filter = nullptr;
  JinjaTest test = nullptr;
};

enum class JinjaStatementKind {
  kText,
  kOutput,
  kIf,
  kFor,
  kSet,
  kSetBlock,
  kMacro,
  kCallBlock,
  kGeneration,
  kFilterBlock,
  kWith,
  kBreak,
  kContinue,
};

enum class JinjaLoadKind { kParameter, kResolve, kAlias, kUndefined };

/// What a slot holds when its scope is entered.
struct JinjaLoad {
  int slot = -1;
  JinjaLoadKind kind = JinjaLoadKind::kUndefined;
  JinjaReference outer = {};  // kAlias
  int context_index = -1;     // kResolve: index into JinjaProgram::context_names
};

using JinjaBody = std::vector<std::unique_ptr<JinjaStatement>>;

struct JinjaStatement {
  JinjaStatementKind kind = JinjaStatementKind::kText;
  int line = 0;
  std::string text = {};  // kText; kMacro: its name

  JinjaExprPointer expr = {};  // output, value to set, iterable, call, filter
  JinjaExprPointer target = {};
  JinjaExprPointer condition = {};                // kFor: the filter behind `if`
  std::vector<JinjaExprPointer> parameters = {};  // kMacro, kCallBlock: names; kWith: targets
  std::vector<JinjaExprPointer> values = {};      // defaults of the last parameters; kWith: values

  std::vector<std::pair<JinjaExprPointer, JinjaBody>> branches = {};  // kIf, in order
  JinjaBody body = {}, otherwise = {};

  // filled in by the resolver
  std::vector<JinjaLoad> loads = {}, otherwise_loads = {}, condition_loads = {};
  int num_slots = 0;                    // of the function: kMacro, kCallBlock, kGeneration
  int num_condition_slots = 0;          // kFor: the filter is a function of its own
  int loop_slot = -1;                   // kFor
  int caller_slot = -1;                 // kMacro that uses caller
  JinjaReference reference = {};        // kMacro: where its name is stored
  JinjaExprPointer filter_target = {};  // kFor with condition: `target` in the filter's own frame
};

struct JinjaProgram {
  JinjaBody body;
  std::vector<JinjaLoad> loads;
  int num_slots = 0;
  std::vector<std::string> context_names;  // looked up once a rendering
  bool has_generation = false;
  bool uses_date = false;
};

}  // namespace qtune
