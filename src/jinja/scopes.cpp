#include "scopes.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

namespace qtune {
namespace {

constexpr int64_t kMaxCopiedNames = 1'000'000;

/// Slots of one function: the template, a macro, a loop's filter.
struct FunctionScope {
  FunctionScope* outer = nullptr;
  bool is_macro = false;
  std::map<std::pair<int, std::string>, int> slots;  // by level of scope and name
};

struct Variable {
  FunctionScope* function = nullptr;
  int slot = -1;
};

struct Load {
  JinjaLoadKind kind = JinjaLoadKind::kUndefined;
  Variable outer;    // kAlias
  std::string name;  // kResolve
};

/// One scope: a frame of jinja2.
struct Scope {
  int level = 0;
  const Scope* parent = nullptr;
  FunctionScope* function = nullptr;
  std::map<std::string, int> slots;
  std::map<int, Load> loads;
  std::set<std::string> stores;

  static Scope inside(const Scope& parent, FunctionScope* function) {
    return {.level = parent.level + 1, .parent = &parent, .function = function};
  }

  std::optional<Variable> find(const std::string& name) const {
    for (const Scope* scope = this; scope; scope = scope->parent) {
      const auto found = scope->slots.find(name);
      if (found != scope->slots.end()) return Variable{scope->function, found->second};
    }
    return std::nullopt;
  }

  int define(const std::string& name, Load load) {
    const auto [slot, added] =
        function->slots.emplace(std::pair(level, name), static_cast<int>(function->slots.size()));
    slots[name] = slot->second;
    loads[slot->second] = std::move(load);
    return slot->second;
  }

  void store(const std::string& name) {
    stores.insert(name);
    if (slots.contains(name)) return;
    const auto outer = parent ? parent->find(name) : std::nullopt;
    if (outer) {
      define(name, {.kind = JinjaLoadKind::kAlias, .outer = *outer});
    } else {
      define(name, {.kind = JinjaLoadKind::kUndefined});
    }
  }

  int declare_parameter(const std::string& name) {
    stores.insert(name);
    return define(name, {.kind = JinjaLoadKind::kParameter});
  }

  void load(const std::string& name) {
    if (!find(name)) define(name, {.kind = JinjaLoadKind::kResolve, .name = name});
  }

  /// What the branches of an `if` did, as far as it may have happened.
  void take_branches(const std::vector<Scope>& branches) {
    std::set<std::string> stored;
    for (const Scope& branch : branches) stored.insert(branch.stores.begin(), branch.stores.end());
    for (const std::string& name : stores) stored.erase(name);
    for (const Scope& branch : branches) {
      for (const auto& [name, slot] : branch.slots) slots[name] = slot;
      for (const auto& [slot, load] : branch.loads) loads[slot] = load;
      stores.insert(branch.stores.begin(), branch.stores.end());
    }
    for (const std::string& name : stored) {
      const auto outer = parent ? parent->find(name) : std::nullopt;
      Load& load = loads[find(name)->slot];
      load = outer ? Load{.kind = JinjaLoadKind::kAlias, .outer = *outer}
                   : Load{.kind = JinjaLoadKind::kResolve, .name = name};
    }
  }
};

class ScopeResolver {
 public:
  explicit ScopeResolver(JinjaProgram& program) : program_(program) {}

  void run() {
    FunctionScope function;
    Scope root{.function = &function};
    analyze(program_.body, root);
    resolve(program_.body, root);
    program_.loads = loads_of(root);
    program_.num_slots = static_cast<int>(function.slots.size());
  }

 private:
  // --- which names a scope has ---

  void analyze(const JinjaExprPointer& expr, Scope& scope) {
    if (!expr) return;
    if (expr->kind == JinjaExprKind::kName || expr->kind == JinjaExprKind::kNamespaceTarget) load(*expr, scope);
    for (const auto& item : expr->items) analyze(item, scope);
    for (const auto& entry : expr->named) analyze(entry.second, scope);
    analyze(expr->star, scope);
  }

  void load(const JinjaExpr& name, Scope& scope) {
    if (!scope.find(name.name)) refuse_special(name, scope);
    scope.load(name.name);
  }

  static void refuse_special(const JinjaExpr& name, const Scope& scope) {
    static const std::set<std::string> kGlobals = {"lipsum", "cycler", "joiner", "self"};
    static const std::set<std::string> kOfMacros = {"kwargs", "varargs"};
    bool in_macro = false;
    for (const FunctionScope* f = scope.function; f; f = f->outer) in_macro = in_macro || f->is_macro;
    if (kGlobals.contains(name.name) || (in_macro && kOfMacros.contains(name.name))) {
      throw JinjaError(JinjaFault::kUnsupported, name.line, fmt::format("{} is not supported", name.name));
    }
  }

  enum class As { kStore, kParameter };

  void analyze_target(const JinjaExpr& target, Scope& scope, As as) {
    if (target.kind == JinjaExprKind::kTuple) {
      for (const auto& item : target.items) analyze_target(*item, scope, as);
    } else if (target.kind == JinjaExprKind::kNamespaceTarget) {
      load(target, scope);
    } else if (as == As::kParameter) {
      scope.declare_parameter(target.name);
    } else {
      scope.store(target.name);
    }
  }

  void analyze(const JinjaBody& body, Scope& scope) {
    for (const auto& statement : body) analyze(*statement, scope);
  }

  void analyze(const JinjaStatement& s, Scope& scope) {
    switch (s.kind) {
      case JinjaStatementKind::kOutput:
      case JinjaStatementKind::kFor:
      case JinjaStatementKind::kCallBlock:
      case JinjaStatementKind::kFilterBlock:
        return analyze(s.expr, scope);
      case JinjaStatementKind::kIf:
        return analyze_if(s, scope);
      case JinjaStatementKind::kSet:
        analyze(s.expr, scope);
        return analyze_target(*s.target, scope, As::kStore);
      case JinjaStatementKind::kSetBlock:
      case JinjaStatementKind::kMacro:
        return analyze_target(*s.target, scope, As::kStore);
      case JinjaStatementKind::kWith:
        for (const auto& value : s.values) analyze(value, scope);
        return;
      default:
        return;
    }
  }

  Scope branch_of(const Scope& scope) {
    copied_names_ += static_cast<int64_t>(scope.slots.size() + scope.loads.size() + scope.stores.size()) + 1;
    if (copied_names_ > kMaxCopiedNames)
      throw JinjaError(JinjaFault::kLimit, 1, "too many variables under too many branches");
    return scope;
  }

  void analyze_if(const JinjaStatement& s, Scope& scope) {
    analyze(s.branches[0].first, scope);
    std::vector<Scope> branches;
    branches.push_back(branch_of(scope));
    analyze(s.branches[0].second, branches.back());
    branches.push_back(branch_of(scope));  // all elif branches, each within the last
    for (size_t i = 1; i < s.branches.size(); ++i) {
      Scope& others = branches.back();
      analyze(s.branches[i].first, others);
      std::vector<Scope> body;
      body.push_back(branch_of(others));
      analyze(s.branches[i].second, body.back());
      others.take_branches(body);
    }
    branches.push_back(branch_of(scope));
    analyze(s.otherwise, branches.back());
    scope.take_branches(branches);
  }

  // --- what each name refers to ---

  static JinjaReference reference(const Variable& variable, const Scope& scope) {
    JinjaReference out{.slot = variable.slot};
    for (const FunctionScope* f = scope.function; f && f != variable.function; f = f->outer) ++out.hops;
    return out;
  }

  std::vector<JinjaLoad> loads_of(const Scope& scope) {
    std::vector<JinjaLoad> out;
    for (const auto& [slot, load] : scope.loads) {
      JinjaLoad made{.slot = slot, .kind = load.kind};
      if (load.kind == JinjaLoadKind::kAlias) made.outer = reference(load.outer, scope);
      if (load.kind == JinjaLoadKind::kResolve) made.context_index = context_index(load.name);
      out.push_back(made);
    }
    return out;
  }

  int context_index(const std::string& name) {
    if (name == "strftime_now") program_.uses_date = true;
    const auto [found, added] = context_.emplace(name, static_cast<int>(program_.context_names.size()));
    if (added) program_.context_names.push_back(name);
    return found->second;
  }

  void resolve(const JinjaExprPointer& expr, const Scope& scope, bool soft = false) {
    if (!expr) return;
    if (expr->kind == JinjaExprKind::kName || expr->kind == JinjaExprKind::kNamespaceTarget)
      expr->reference = reference(*scope.find(expr->name), scope);
    const bool unknown =
        (expr->kind == JinjaExprKind::kFilter && !expr->filter) || (expr->kind == JinjaExprKind::kTest && !expr->test);
    if (unknown && !soft) {  // under an `if` jinja2 complains only when it gets there
      throw JinjaError(
          JinjaFault::kSyntax, expr->line,
          fmt::format("unknown {} {}", expr->kind == JinjaExprKind::kFilter ? "filter" : "test", expr->name));
    }
    const bool inner = soft || expr->kind == JinjaExprKind::kConditional;
    for (const auto& item : expr->items) resolve(item, scope, inner);
    for (const auto& entry : expr->named) resolve(entry.second, scope, inner);
    resolve(expr->star, scope, inner);
  }

  void resolve(JinjaBody& body, const Scope& scope, bool soft = false) {
    for (auto& statement : body) resolve(*statement, scope, soft);
  }

  void resolve(JinjaStatement& s, const Scope& scope, bool soft) {
    switch (s.kind) {
      case JinjaStatementKind::kOutput:
        return resolve(s.expr, scope, soft);
      case JinjaStatementKind::kIf:
        for (auto& [test, body] : s.branches) {
          resolve(test, scope, true);
          resolve(body, scope, true);
        }
        return resolve(s.otherwise, scope, true);
      case JinjaStatementKind::kSet:
        resolve(s.expr, scope, soft);
        return resolve(s.target, scope);
      case JinjaStatementKind::kFor:
        return resolve_for(s, scope, soft);
      case JinjaStatementKind::kSetBlock:
      case JinjaStatementKind::kFilterBlock:
        return resolve_block(s, scope);
      case JinjaStatementKind::kWith:
        return resolve_with(s, scope, soft);
      case JinjaStatementKind::kMacro:
      case JinjaStatementKind::kCallBlock:
      case JinjaStatementKind::kGeneration:
        return resolve_function(s, scope, soft);
      default:
        return;
    }
  }

  void resolve_for(JinjaStatement& s, const Scope& scope, bool soft) {
    if (stores_loop(*s.target) || stores_loop(s.body) || stores_loop(s.otherwise))
      throw JinjaError(JinjaFault::kSyntax, s.line, "can't assign to the special variable loop");
    resolve(s.expr, scope, soft);
    Scope body = Scope::inside(scope, scope.function);
    s.loop_slot = body.declare_parameter("loop");
    analyze_target(*s.target, body, As::kParameter);
    analyze(s.body, body);
    resolve(s.target, body);
    resolve(s.body, body);
    s.loads = loads_of(body);
    Scope otherwise = Scope::inside(scope, scope.function);
    analyze(s.otherwise, otherwise);
    resolve(s.otherwise, otherwise);
    s.otherwise_loads = loads_of(otherwise);
    if (!s.condition) return;
    FunctionScope function{.outer = scope.function};
    Scope condition = Scope::inside(scope, &function);
    analyze_target(*s.filter_target, condition, As::kParameter);
    analyze(s.condition, condition);
    resolve(s.filter_target, condition);
    resolve(s.condition, condition);
    s.condition_loads = loads_of(condition);
    s.num_condition_slots = static_cast<int>(function.slots.size());
  }

  void resolve_block(JinjaStatement& s, const Scope& scope) {
    Scope block = Scope::inside(scope, scope.function);
    analyze(s.body, block);
    analyze(s.expr, block);
    resolve(s.body, block);
    resolve(s.expr, block);
    if (s.target) resolve(s.target, scope);
    s.loads = loads_of(block);
  }

  void resolve_with(JinjaStatement& s, const Scope& scope, bool soft) {
    for (const auto& value : s.values) resolve(value, scope, soft);
    Scope block = Scope::inside(scope, scope.function);
    for (const auto& target : s.parameters) analyze_target(*target, block, As::kParameter);
    analyze(s.body, block);
    for (const auto& target : s.parameters) resolve(target, block);
    resolve(s.body, block);
    s.loads = loads_of(block);
  }

  void resolve_function(JinjaStatement& s, const Scope& scope, bool soft) {
    if (s.kind == JinjaStatementKind::kCallBlock) resolve(s.expr, scope, soft);
    const bool is_macro = s.kind == JinjaStatementKind::kMacro;
    const bool uses_caller = loads_name(s.body, "caller");
    const bool has_caller = std::any_of(s.parameters.begin(), s.parameters.end(),
                                        [](const JinjaExprPointer& p) { return p->name == "caller"; });
    if (has_caller || (uses_caller && !is_macro))
      throw JinjaError(JinjaFault::kUnsupported, s.line, "caller in this place is not supported");
    FunctionScope function{.outer = scope.function, .is_macro = s.kind != JinjaStatementKind::kGeneration};
    Scope body = Scope::inside(scope, &function);
    for (const auto& parameter : s.parameters) body.declare_parameter(parameter->name);
    if (uses_caller) s.caller_slot = body.declare_parameter("caller");
    for (const auto& value : s.values) analyze(value, body);
    analyze(s.body, body);
    for (const auto& parameter : s.parameters) resolve(parameter, body);
    for (const auto& value : s.values) resolve(value, body);
    resolve(s.body, body);
    s.loads = loads_of(body);
    s.num_slots = static_cast<int>(function.slots.size());
    if (is_macro) resolve(s.target, scope);
  }

  // --- searches ---

  static bool loads_name(const JinjaExprPointer& expr, const std::string& name) {
    if (!expr) return false;
    if (expr->kind == JinjaExprKind::kName && expr->name == name) return true;
    const auto in = [&](const JinjaExprPointer& part) { return loads_name(part, name); };
    return std::any_of(expr->items.begin(), expr->items.end(), in) || in(expr->star) ||
           std::any_of(expr->named.begin(), expr->named.end(), [&](const auto& entry) { return in(entry.second); });
  }

  static bool loads_name(const JinjaBody& body, const std::string& name) {
    return std::any_of(body.begin(), body.end(), [&](const std::unique_ptr<JinjaStatement>& s) {
      const auto in = [&](const JinjaExprPointer& part) { return loads_name(part, name); };
      return in(s->expr) || in(s->condition) || std::any_of(s->values.begin(), s->values.end(), in) ||
             loads_name(s->body, name) || loads_name(s->otherwise, name) ||
             std::any_of(s->branches.begin(), s->branches.end(),
                         [&](const auto& branch) { return in(branch.first) || loads_name(branch.second, name); });
    });
  }

  static bool stores_loop(const JinjaExpr& target) {
    if (target.kind == JinjaExprKind::kName) return target.name == "loop";
    return std::any_of(target.items.begin(), target.items.end(),
                       [](const JinjaExprPointer& item) { return item && stores_loop(*item); });
  }

  static bool stores_loop(const JinjaBody& body) {
    return std::any_of(body.begin(), body.end(), [](const std::unique_ptr<JinjaStatement>& s) {
      return (s->target && stores_loop(*s->target)) || stores_loop(s->body) || stores_loop(s->otherwise) ||
             std::any_of(s->branches.begin(), s->branches.end(),
                         [](const auto& branch) { return stores_loop(branch.second); });
    });
  }

  JinjaProgram& program_;
  std::map<std::string, int> context_;
  int64_t copied_names_ = 0;
};

}  // namespace

void resolve_scopes(JinjaProgram& program) { ScopeResolver(program).run(); }

}  // namespace qtune
