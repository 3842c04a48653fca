// Templates that want to hurt.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "qtune/jinja/template.h"

namespace qtune {
namespace {

using testing::HasSubstr;

std::string repeat(const std::string& text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

/// The fault of a template, with limits that are soon reached; "rendered" when there is none.
std::string fault_of(const std::string& source) {
  try {
    const auto parsed = JinjaTemplate::parse(source);
    parsed->render({{"s", JinjaValue::view("text")}}, {.num_steps = 1'000'000, .num_bytes = 4 << 20});
  } catch (const JinjaError& e) {
    switch (e.fault()) {
      case JinjaFault::kSyntax:
        return "syntax";
      case JinjaFault::kUnsupported:
        return "unsupported";
      case JinjaFault::kRuntime:
        return "runtime";
      case JinjaFault::kRaised:
        return "raised";
      case JinjaFault::kLimit:
        return "limit";
    }
  }
  return "rendered";
}

TEST(JinjaLimits, EndlessWorkIsStopped) {
  const std::string loop = "{% for a in range(90000) %}";
  EXPECT_EQ(fault_of(loop + loop + "{% endfor %}{% endfor %}"), "limit");
  EXPECT_EQ(fault_of(loop + "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{% endfor %}"), "limit");
  EXPECT_EQ(fault_of("{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}"), "limit");
  EXPECT_EQ(fault_of(loop + "{% set x = s.split('')|list %}{% endfor %}"), "runtime");
  EXPECT_EQ(fault_of("{% set ns = namespace(l=[1]) %}" + loop + "{% set ns.l = ns.l + ns.l %}{% endfor %}"), "limit");
}

TEST(JinjaLimits, LargeValuesAreNotMade) {
  for (const char* e : {"'a' * 1000000000", "[0] * 1000000000", "'a' * 9223372036854775807", "'a'|center(99999999999)",
                        "'a'.ljust(99999999)", "'%99999999d' % 1", "range(100001)", "[1]|batch(9999999999, 0)|list",
                        "'a'.zfill(99999999999999)", "[1]|tojson(indent=999999999)|length * 0 + 'x'",
                        "'a\nb'|indent(99999999)", "('a' * 3000000)|list|length",
                        "('a' * 100000).replace('', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb')"}) {
    EXPECT_THAT(fault_of("{{ " + std::string(e) + " }}"), testing::AnyOf("limit", "runtime")) << e;
  }
  EXPECT_EQ(fault_of("{{ 2 ** 63 }}"), "unsupported");
  EXPECT_EQ(fault_of("{{ 9223372036854775807 + 1 }}"), "unsupported");
  EXPECT_EQ(fault_of("{{ 99999999999999999999 }}"), "unsupported");
  EXPECT_EQ(fault_of("{{ (-9223372036854775807 - 1) // -1 }}"), "unsupported");
}

TEST(JinjaLimits, DeepNestingIsRefused) {
  EXPECT_EQ(fault_of("{{ " + repeat("(", 5000) + "1" + repeat(")", 5000) + " }}"), "limit");
  EXPECT_EQ(fault_of("{{ " + repeat("[", 50000) + repeat("]", 50000) + " }}"), "limit");
  EXPECT_EQ(fault_of("{{ " + repeat("not ", 100000) + "1 }}"), "limit");
  EXPECT_EQ(fault_of("{{ " + repeat("-", 100000) + "1 }}"), "limit");
  EXPECT_EQ(fault_of("{{ 1" + repeat(" + 1", 100000) + " }}"), "limit");
  EXPECT_EQ(fault_of("{{ s" + repeat("|trim", 100000) + " }}"), "limit");
  EXPECT_EQ(fault_of("{{ s" + repeat(".x", 100000) + " }}"), "limit");
  EXPECT_EQ(fault_of("{{ 1" + repeat(" if 1 else 1", 100000) + " }}"), "limit");
  EXPECT_EQ(fault_of(repeat("{% if s %}", 20000)), "limit");
  EXPECT_EQ(fault_of("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"), "limit");
  EXPECT_EQ(fault_of("{{ " + repeat("'a' ~ ", 20000) + "'a' }}"), "rendered") << "long is not deep";
  EXPECT_EQ(fault_of("{% if s == 'a' %}" + repeat("{% elif s == 'b' %}", 2000) + "{% endif %}"), "rendered");
}

TEST(JinjaLimits, ValuesInsideOfValuesEndSomewhere) {
  const std::string loop = "{% set ns = namespace(v=[]) %}{% for a in range(1000) %}{% set ns.v = ";
  for (const char* value :
       {"[ns.v]", "{'a': ns.v}", "(ns.v,)", "ns.v|map('trim')", "{'a': ns.v}.items()", "[[ns.v].copy]"})
    EXPECT_EQ(fault_of(loop + value + " %}{% endfor %}"), "limit") << value;
  EXPECT_EQ(fault_of("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}"), "limit");
  EXPECT_EQ(fault_of("{% set ns = namespace() %}{% set ns.me = [ns] %}{{ ns.me }}"), "limit");
  EXPECT_EQ(fault_of("{% set ns = namespace() %}{% macro f() %}{% set ns.f = f %}{% endmacro %}{{ f() }}"), "rendered");
  EXPECT_EQ(
      fault_of("{% macro f() %}{% macro g() %}{{ f }}{% endmacro %}{{ raise_exception(g()) }}{% endmacro %}{{ f() }}"),
      "unsupported");
}

TEST(JinjaLimits, BranchesAndVariablesByTheThousandAreParsedInTime) {
  std::string source;
  for (int i = 0; i < 5000; ++i)
    source += "{% if s %}{% set v" + std::to_string(i) + " = 1 %}{% elif w" + std::to_string(i) + " %}{% endif %}";
  EXPECT_EQ(fault_of(source), "limit");
  EXPECT_EQ(fault_of(std::string(2 << 20, 'a')), "limit");
}

TEST(JinjaLimits, BytesThatAreNotUtf8AreNoHarm) {
  EXPECT_EQ(fault_of("a\xff"), "syntax");
  const std::string broken = "a\xff\xc3\xe2\x82 b";
  const auto all = JinjaTemplate::parse(
      "{{ s }}{{ s|upper }}{{ s[::-1] }}{{ s|list|length }}{{ s.split() }}{{ s|tojson }}{{ [s] }}{{ s|trim }}{{ "
      "s.strip('b') }}");
  EXPECT_FALSE(all->render({{"s", JinjaValue::view(broken)}}).text.empty());
}

TEST(JinjaLimits, LoopMayOutliveItself) {
  const auto text = [](const std::string& source) { return JinjaTemplate::parse(source)->render({}).text; };
  EXPECT_EQ(text("{% set ns = namespace() %}{% for a in [1, 2] if a %}{% set ns.l = loop %}{% endfor %}"
                 "{{ ns.l.index }}{{ ns.l.length }}{{ ns.l.last }}"),
            "22True");
  EXPECT_EQ(text("{% set ns = namespace() %}{% for a in [1] %}{% set ns.g = [3, 4]|map('string') %}{% endfor %}{{ "
                 "ns.g|list }}"),
            "['3', '4']");
}

TEST(JinjaLimits, OneTemplateServesManyThreads) {
  const auto parsed = JinjaTemplate::parse(
      "{% for x in range(50) %}{{ 'a' ~ x ~ s }}{% if loop.last %}{{ ['b', s]|join('c') }}{% endif %}{% endfor %}");
  const std::string expected = parsed->render({{"s", JinjaValue::view("-")}}).text;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) EXPECT_EQ(parsed->render({{"s", JinjaValue::view("-")}}).text, expected);
    });
  }
}

TEST(JinjaErrors, SayWhatAndWhere) {
  const auto error = [](const std::string& source) -> std::string {
    try {
      JinjaTemplate::parse(source)->render({});
    } catch (const JinjaError& e) {
      return std::to_string(e.line()) + ": " + e.what();
    }
    return "rendered";
  };
  EXPECT_THAT(error("\n{{ []|groupby('a') }}"), HasSubstr("2: the filter groupby is not supported"));
  EXPECT_THAT(error("{% if no %}{{ []|groupby('a') }}{% endif %}"), HasSubstr("groupby")) << "known to jinja2: at once";
  EXPECT_EQ(error("{% if no %}{{ []|frob }}{{ 1 is frob }}{% endif %}"), "rendered") << "jinja2 waits, too";
  EXPECT_THAT(error("\n\n{{ 'a'|frob }}"), HasSubstr("3: unknown filter frob"));
  EXPECT_THAT(error("{% if 1 %}\n{{ 'a' is frob }}{% endif %}"), HasSubstr("2: unknown test frob"));
  EXPECT_THAT(error("{% extends 'a' %}"), HasSubstr("the tag extends"));
  EXPECT_THAT(error("{{ cycler(1) }}"), HasSubstr("cycler"));
  EXPECT_THAT(error("{% for a in [] recursive %}{% endfor %}"), HasSubstr("recursive"));
  EXPECT_THAT(error("{{ ['a']|map('groupby')|list }}"), HasSubstr("groupby"));
  EXPECT_THAT(error("\n{{ raise_exception('no') }}"), HasSubstr("2: no"));
}

}  // namespace
}  // namespace qtune
