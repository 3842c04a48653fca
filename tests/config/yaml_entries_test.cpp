#include <algorithm>

#include "config/config_test_support.h"

namespace qtune {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(Yaml, SyntaxErrorsNameFileAndLineAndNothingElse) {
  const std::string faults = faults_of("model_name_or_path: m\ndataset: [a, b\noutput_dir: o\n");
  EXPECT_THAT(faults, StartsWith("c.yaml:"));
  EXPECT_THAT(faults, HasSubstr("not valid YAML"));
  EXPECT_EQ(faults.find('\n'), std::string::npos) << faults;
}

TEST(Yaml, KeysGivenTwiceAreFaults) {
  EXPECT_EQ(faults_of_more("seed: 1\nseed: 1\n"), "c.yaml:6: seed: given twice, first in line 5 ---> keep one of them");
  EXPECT_EQ(faults_of_more("ops: {reference: true}\ncolumns: {prompt: q}\nops: {reference: true}\n"),
            "c.yaml:7: ops: given twice, first in line 5 ---> keep one of them");
}

TEST(Yaml, ADocumentThatIsNoMapIsAFault) {
  EXPECT_EQ(faults_of("- a\n- b\n"), "c.yaml:1: expected `key: value` lines, found a list or a single value");
  EXPECT_EQ(faults_of("just words\n"), "c.yaml:1: expected `key: value` lines, found a list or a single value");
}

TEST(Yaml, AnEmptyFileLacksTheRequiredKeys) {
  EXPECT_THAT(faults_of(""), StartsWith("model_name_or_path: expected a value, found none"));
  EXPECT_THAT(faults_of("# nothing\n"), StartsWith("model_name_or_path: expected a value, found none"));
}

TEST(Yaml, ASecondDocumentIsAFault) {
  EXPECT_EQ(faults_of_more("---\nseed: 1\n"), "c.yaml:6: expected one YAML document, found a second ---> remove it");
}

TEST(Yaml, AListOrMapAsKeyIsAFault) {
  EXPECT_EQ(faults_of_more("? [a, b]\n: 1\n"), "c.yaml:5: expected a word as key, found a list, a map or nothing");
}

TEST(Yaml, AliasesAreFaultsSoThatTheyCannotMultiply) {
  // Ten levels of ten references each would be 10^10 values.
  std::string bomb = "a0: &a0 [x]\n";
  for (int i = 1; i < 10; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int k = 0; k < 10; ++k) bomb += before + (k < 9 ? ", " : "]\n");
  }
  EXPECT_THAT(faults_of(bomb), HasSubstr("found an anchor or alias"));
  EXPECT_THAT(faults_of("a: &a {b: *a}\n"), HasSubstr("found an anchor or alias"));
}

TEST(Yaml, DeepNestingIsAFaultAndNoCrash) {
  for (const std::string opening : {"[", "{a: ", "- ", "? "}) {
    std::string text = "key: ";
    if (opening == "- " || opening == "? ") text = "";
    for (int i = 0; i < 100000; ++i) text += opening;
    EXPECT_EQ(faults_of(text), "c.yaml:1: expected a few levels of nesting, found hundreds") << opening;
  }
}

TEST(Yaml, AHugeFileIsRefusedUnread) {
  EXPECT_THAT(faults_of(std::string(2 << 20, 'x')), HasSubstr("expected a configuration of at most"));
}

TEST(Yaml, AFileOfAnotherKindGivesAHundredFaultsAndACount) {
  std::string text = kRequiredKeys;
  for (int i = 0; i < 30000; ++i) text += "somebody_elses_key_" + std::to_string(i) + ": 1\n";
  const std::string faults = faults_of(text);
  EXPECT_THAT(faults, testing::EndsWith("\n... and 29900 more faults"));
  EXPECT_EQ(std::count(faults.begin(), faults.end(), '\n'), 100);
}

TEST(Yaml, BytesThatAreNoTextAreAFault) {
  std::string bytes;
  for (int i = 0; i < 4096; ++i) bytes += static_cast<char>((i * 131 + 7) % 256);
  EXPECT_NE(faults_of(bytes), "");
}

TEST(Yaml, TextThatIsNotUtf8IsAFaultOfItsLine) {
  const std::string latin1 = "run_name: caf\xe9\n";
  EXPECT_EQ(faults_of_more(latin1), "c.yaml:5: expected text in UTF-8, found byte 0xe9 ---> save the file as UTF-8");
  for (const char* bad : {"\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8", "\xe2\x82", "\x80"}) {
    EXPECT_THAT(faults_of_more(std::string("run_name: ") + bad + "\n"), HasSubstr("c.yaml:5: expected text in UTF-8"));
  }
  EXPECT_EQ(faults_of_more("run_name: caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\n"), "");
}

TEST(Yaml, ByteOrderMarksAndWindowsLineEndsAreRead) {
  EXPECT_EQ(faults_of(std::string("\xef\xbb\xbf") + kRequiredKeys), "");
  std::string windows, utf16 = "\xff\xfe";
  for (const char c : std::string(kRequiredKeys)) {
    if (c == '\n') windows += '\r';
    windows += c;
    utf16 += {c, '\0'};
  }
  EXPECT_EQ(load_text(windows).config.output_dir, "out");
  EXPECT_EQ(load_text(utf16).config.output_dir, "out");
}

TEST(Yaml, ATabThatIndentsIsAFaultOfItsLine) {
  EXPECT_THAT(faults_of_more("ops:\n\treference: true\n"), StartsWith("c.yaml:6: not valid YAML: "));
}

TEST(Yaml, LongValuesAndControlCharactersStayOneShortLine) {
  const std::string faults = faults_of_more("bf16: \"\\n\\x1b" + std::string(5000, 'y') + "\"\n");
  EXPECT_LT(faults.size(), 200u);
  EXPECT_EQ(faults.find_first_of("\n\x1b"), std::string::npos);
}

TEST(Yaml, ATreesPartsBecomeEntriesWithTheirLines) {
  const ParsedYaml yaml = parse_yaml("list:\n- a: {b: 1}\n  c: [x, y]\n", "s.yaml");
  ASSERT_TRUE(yaml.faults.empty());
  const YamlNode& list = yaml.root.children[1];
  ASSERT_EQ(list.kind, YamlNode::Kind::kList);
  const ParsedEntries entries = flatten_yaml(list.children[0], "", "s.yaml", 1);
  ASSERT_EQ(entries.entries.size(), 2U);
  EXPECT_EQ(entries.entries[0].key + " " + entries.entries[0].place, "a.b s.yaml:2");
  EXPECT_EQ(entries.entries[1].key + " " + entries.entries[1].place, "c s.yaml:3");
  EXPECT_EQ(entries.entries[1].values, (std::vector<std::string>{"x", "y"}));
}

TEST(ChangedConfig, FaultsOfChangesAreAtTheirPlace) {
  const TempDir folder;
  write_file_atomic(folder / "c.yaml", kRequiredKeys);
  const ConfigEntry change{.key = "seed", .place = "s.yaml:7", .kind = ConfigEntry::Kind::kText, .values = {"first"}};
  try {
    load_changed_config(folder / "c.yaml", {change});
    FAIL() << "loaded";
  } catch (const ConfigError& e) {
    EXPECT_STREQ(e.what(), "s.yaml:7: seed: expected whole number, at least 0, found 'first'");
  }
}

}  // namespace
}  // namespace qtune
