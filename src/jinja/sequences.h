// Iteration, indexing, slicing and attributes, by Python's rules.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "interpreter.h"

namespace qtune {

/// iter(). Throws: JinjaError for what can't be iterated.
JinjaPointer<JinjaIterator> iterate(JinjaInterpreter& in, const JinjaValue& value);
bool is_iterable(const JinjaValue& value);
/// All items, in order.
std::vector<JinjaValue> to_items(JinjaInterpreter& in, const JinjaValue& value);
/// len(); nullopt for what has none.
std::optional<int64_t> length_of(JinjaInterpreter& in, const JinjaValue& value);
/// Items of a loop, known only when its iterable has a length or by reading it to the end.
int64_t loop_length(JinjaInterpreter& in, JinjaLoop& loop);
/// The next item of a loop; false at the end.
bool loop_next(JinjaInterpreter& in, JinjaLoop& loop);

/// An iterator whose items `next` makes; `depth` bounds what they hold.
JinjaValue make_iterator(JinjaInterpreter& in, const JinjaValue& over, std::function<bool(JinjaValue&)> next);
/// reversed(). Throws: JinjaError for what has no order.
JinjaValue reversed(JinjaInterpreter& in, const JinjaValue& value);

/// object[key]; undefined where Python has no such item.
JinjaValue item_of(JinjaInterpreter& in, const JinjaValue& object, const JinjaValue& key);
/// object.name; `key` is the name as a string.
JinjaValue attribute_of(JinjaInterpreter& in, const JinjaValue& object, const std::string& name, const JinjaValue& key);
JinjaValue slice_of(JinjaInterpreter& in, const JinjaValue& object, const JinjaValue& start, const JinjaValue& stop,
                    const JinjaValue& step);
/// A path of attributes: "a.b.0".
JinjaValue path_of(JinjaInterpreter& in, const JinjaValue& object, const JinjaValue& path,
                   const JinjaValue* default_value = nullptr);

int64_t range_item(const JinjaRange& range, int64_t index);
JinjaValue make_range(JinjaInterpreter& in, int64_t start, int64_t stop, int64_t step);

}  // namespace qtune
