// Which variable a name means. The rules are those of jinja2's idtracking.py: a name belongs to the scope of the
// template, of a loop's body, of a macro or of a block; `if` has no scope of its own; what a scope stores starts as the
// outer scope's value, and does not reach it.
#pragma once

#include "ast.h"

namespace qtune {

/// Fills in all references, loads and slots. Throws: JinjaError (kUnsupported, kSyntax, kLimit).
void resolve_scopes(JinjaProgram& program);

}  // namespace qtune
