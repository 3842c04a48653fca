// Which bytes of the output came from which input.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qtune/jinja/template.h"

namespace qtune {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const std::string kFirst = "  Hello,\n wide world ", kSecond = "zwei \u00fc", kEmpty;

/// The output's segments as "source:offset:bytes".
std::vector<std::string> segments_of(const std::string& source) {
  const JinjaOutput out = JinjaTemplate::parse(source)->render(
      {{"a", JinjaValue::view(kFirst, 1)}, {"b", JinjaValue::view(kSecond, 2)}, {"e", JinjaValue::view(kEmpty, 3)}});
  std::vector<std::string> parts;
  for (const JinjaSegment& s : out.segments) {
    parts.push_back(std::to_string(s.source) + ":" + std::to_string(s.offset) + ":" +
                    out.text.substr(s.begin, s.end - s.begin));
  }
  return parts;
}

TEST(Provenance, CopiesKeepTheirPlaces) {
  EXPECT_THAT(segments_of("x{{ a }}y"), ElementsAre("1:0:  Hello,\n wide world "));
  EXPECT_THAT(segments_of("{{ 'x' + a|trim + 'y' }}"), ElementsAre("1:2:Hello,\n wide world"));
  EXPECT_THAT(segments_of("{{ b.strip('z\u00fc') ~ a[3:6] }}"), ElementsAre("2:1:wei ", "1:3:ell"));
  EXPECT_THAT(segments_of("{% set t = b %}{% set u %}-{{ t }}{% endset %}{{ u }}"), ElementsAre("2:0:zwei \u00fc"));
  EXPECT_THAT(segments_of("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(b) }}"), ElementsAre("2:0:zwei \u00fc"));
}

TEST(Provenance, SplitJoinAndReplaceKeepWhatTheyCopy) {
  EXPECT_THAT(segments_of("{{ a.split(',')[0] }}|{{ a.split('\\n')[-1] }}"),
              ElementsAre("1:0:  Hello", "1:9: wide world "));
  EXPECT_THAT(segments_of("{{ a.split()|join('-') }}"), ElementsAre("1:2:Hello,", "1:10:wide", "1:15:world"));
  EXPECT_THAT(segments_of("{{ b.replace('w', a[2:4]) }}"), ElementsAre("2:0:z", "1:2:He", "2:2:ei \u00fc"));
  EXPECT_THAT(segments_of("{{ [b, b]|tojson }}"), ElementsAre("2:0:zwei \u00fc", "2:0:zwei \u00fc"));
  EXPECT_THAT(segments_of("{{ (a ~ b)[-8:] }}"), ElementsAre("1:19:d ", "2:0:zwei \u00fc"));
}

TEST(Provenance, PartsSideBySideAreOne) {
  EXPECT_THAT(segments_of("{{ b[:2] }}{{ b[2:] }}"), ElementsAre("2:0:zwei \u00fc"));
  EXPECT_THAT(segments_of("{{ b[:2] }}{{ b[3:] }}"), ElementsAre("2:0:zw", "2:3:i \u00fc"));
}

TEST(Provenance, CaseKeepsPlacesWhereSizesStay) {
  EXPECT_THAT(segments_of("{{ b|upper }}"), ElementsAre("2:0:ZWEI \u00dc"));
  EXPECT_THAT(segments_of("{{ (b ~ '\u0149')|upper }}"), IsEmpty());
}

TEST(Provenance, NothingTellsWhereItStands) {
  EXPECT_THAT(segments_of("x{{ e }}y"), ElementsAre("3:0:"));
  EXPECT_THAT(segments_of("x{{ e.strip() + '' }}{{ b }}"), ElementsAre("3:0:", "2:0:zwei \u00fc"));
  EXPECT_THAT(segments_of("{{ b[9:] }}"), ElementsAre("2:0:"));
}

TEST(Provenance, TemplatesOwnTextHasNone) {
  EXPECT_THAT(segments_of("x{{ 'y' ~ 1 ~ [a] }}{% if b %}z{% endif %}"), IsEmpty());
}

}  // namespace
}  // namespace qtune
