// Small templates against what jinja2 makes of them (tests/data/jinja/make.py).
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "qtune/jinja/template.h"

namespace qtune {
namespace {

using nlohmann::ordered_json;

JinjaValue value_of(const ordered_json& j) {
  if (j.is_null()) return JinjaValue::none();
  if (j.is_boolean()) return JinjaValue::boolean(j.get<bool>());
  if (j.is_number_integer()) return JinjaValue::integer(j.get<int64_t>());
  if (j.is_number()) return JinjaValue::real(j.get<double>());
  if (j.is_string()) return JinjaValue::text(j.get<std::string>());
  if (j.is_array()) {
    std::vector<JinjaValue> items;
    for (const ordered_json& item : j) items.push_back(value_of(item));
    return JinjaValue::list(std::move(items));
  }
  std::vector<std::pair<JinjaValue, JinjaValue>> entries;
  for (const auto& [key, item] : j.items()) entries.emplace_back(JinjaValue::text(key), value_of(item));
  return JinjaValue::dict(std::move(entries));
}

TEST(Jinja, SnippetsRenderWhatJinja2Renders) {
  std::ifstream in(QTUNE_TEST_DATA "/jinja/snippets.jsonl");
  std::string line;
  std::getline(in, line);
  const ordered_json names = ordered_json::parse(line);
  int num_equal = 0, num_failed = 0, num_refused = 0;
  while (std::getline(in, line)) {
    const ordered_json c = ordered_json::parse(line);
    const auto source = c["template"].get<std::string>();
    JinjaContext context;
    for (const auto& [name, value] : names.items()) context.emplace_back(name, value_of(value));
    try {
      const std::string text = JinjaTemplate::parse(source)->render(context).text;
      EXPECT_EQ(text, c.contains("text") ? c["text"].get<std::string>() : "(an error)") << source;
      ++num_equal;
    } catch (const JinjaError& e) {
      const bool refused = e.fault() == JinjaFault::kUnsupported;
      EXPECT_TRUE(c.contains("failed") || refused) << source << ": " << e.what();
      ++(refused ? num_refused : num_failed);
    }
  }
  EXPECT_GT(num_equal, 200);
  EXPECT_GT(num_failed, 40);
  EXPECT_LE(num_refused, 3) << "what the data has and the subset has not";
}

}  // namespace
}  // namespace qtune
