#include "qtune/data/record_reader.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "data/read_records.h"
#include "qtune/base/error.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

std::string write_data(const TempDir& dir, const std::string& content, const std::string& name = "d.jsonl") {
  std::ofstream(dir / name, std::ios::binary) << content;
  return (dir / name).string();
}

/// Reads one file of this content and returns the error's text ("" when none), without the folder's name.
std::string error_of(const std::string& content, DatasetSpec spec = {}, const std::string& name = "d.jsonl") {
  const TempDir dir;
  spec.file = write_data(dir, content, name);
  try {
    read_all(spec);
  } catch (const DataError& e) {
    std::string text = e.what();
    const std::string folder = dir.path().string() + "/";
    for (size_t at; (at = text.find(folder)) != std::string::npos;) text.erase(at, folder.size());
    return text;
  }
  return "";
}

std::string first_of(const std::string& content, DatasetSpec spec = {}, const std::string& name = "d.jsonl") {
  const TempDir dir;
  spec.file = write_data(dir, content, name);
  return shown(read_all(spec).at(0));
}

constexpr const char* kGood = R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]})";

TEST(RecordForms, OpenAiMessagesKeepRolesAndTheirOrder) {
  EXPECT_EQ(
      first_of(
          R"({"messages":[{"role":"system","content":"s"},{"role":"user","content":"q"},)"
          R"({"role":"assistant","content":"a"},{"role":"tool","content":"t"},{"role":"assistant","content":""}]})"),
      "system:s|user:q|assistant:a|tool:t|assistant:");
}

TEST(RecordForms, ShareGptTurnsAlternateAsInLLaMAFactory) {
  const auto turns = [](const std::string& roles) {
    std::string list;
    for (const char c : roles) {
      const std::map<char, std::string> names = {{'s', "system"}, {'h', "human"}, {'g', "gpt"}, {'o', "observation"}};
      list += fmt::format(R"({}{{"from":"{}","value":"x"}})", list.empty() ? "" : ",", names.at(c));
    }
    return "{\"conversations\":[" + list + "]}";
  };
  EXPECT_EQ(first_of(turns("shgog")), "system:x|user:x|assistant:x|tool:x|assistant:x");
  EXPECT_THAT(error_of(turns("gh")), HasSubstr("in turn, user as turn 1, found assistant"));
  EXPECT_THAT(error_of(turns("hhg")), HasSubstr("assistant as turn 2, found user"));
  EXPECT_THAT(error_of(turns("hgsg")), HasSubstr("user as turn 3, found system"));
  EXPECT_THAT(error_of(turns("hgh")), HasSubstr("an assistant turn at the end"));
}

TEST(RecordForms, PartsOfTypeTextAreJoined) {
  EXPECT_EQ(
      first_of(R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},)"
               R"({"role":"assistant","content":[]}]})"),
      "user:ab|assistant:");
}

TEST(RecordForms, EmptyToolsAreNoTools) {
  for (const char* tools : {"[]", "\"\"", "\"[]\"", "null", "{}"}) {
    EXPECT_EQ(first_of(fmt::format(R"({{"prompt":"p","completion":"c","tools":{}}})", tools)), "user:p|assistant:c");
  }
}

TEST(RecordForms, TrainFalseLossFalseAndWeightZeroLeaveATurnUntrained) {
  EXPECT_EQ(
      first_of(
          R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a","train":false},)"
          R"({"role":"assistant","content":"b","weight":0},{"role":"assistant","content":"c","weight":1,"train":true},)"
          R"({"role":"assistant","content":"d","loss":false}]})"),
      "user:q|-assistant:a|-assistant:b|assistant:c|-assistant:d");
}

TEST(RecordForms, AlpacaJoinsInstructionAndInputWithANewline) {
  EXPECT_EQ(
      first_of(R"({"instruction":"i","input":"x","output":"o","system":"s","history":[["q1","a1"],["q2","a2"]]})"),
      "system:s|user:q1|assistant:a1|user:q2|assistant:a2|user:i\nx|assistant:o");
  EXPECT_EQ(first_of(R"({"instruction":"i","input":"","output":"o","system":"","history":[]})"), "user:i|assistant:o");
  EXPECT_EQ(first_of(R"({"instruction":"i","input":null,"output":"o"})"), "user:i|assistant:o");
  EXPECT_EQ(first_of(R"({"instruction":"","input":"x","output":"o"})"), "user:x|assistant:o");
  EXPECT_EQ(first_of(R"({"instruction":null,"input":"x","output":"o"})"), "user:x|assistant:o");
}

TEST(RecordForms, ShareGptTakesTheSystemTextOfTheRecordUnlessAMessageHasOne) {
  EXPECT_EQ(first_of(R"({"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"}],"system":"s"})"),
            "system:s|user:q|assistant:a");
  EXPECT_EQ(
      first_of(
          R"({"conversations":[{"from":"system","value":"own"},{"from":"human","value":"q"},{"from":"gpt","value":"a"}],"system":"s"})"),
      "system:own|user:q|assistant:a");
}

TEST(RecordForms, ConversationsWithRoleAndContentAreRecognised) {
  EXPECT_EQ(first_of(R"({"conversations":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]})"),
            "user:q|assistant:a");
}

TEST(RecordForms, PromptAndCompletionMayBeTextsOrListsOfMessages) {
  EXPECT_EQ(first_of(R"({"prompt":"p","completion":"c"})"), "user:p|assistant:c");
  EXPECT_EQ(
      first_of(
          R"({"prompt":[{"role":"user","content":"q"},{"role":"assistant","content":"a"},{"role":"user","content":"r"}],)"
          R"("completion":[{"role":"assistant","content":"c"}]})"),
      "-user:q|-assistant:a|-user:r|assistant:c");
}

TEST(RecordForms, ColumnsRenameTheKeysAndLeaveUnnamedOptionalOnesOut) {
  const DatasetSpec spec{.columns = {{"prompt", "question"}, {"response", "answer"}}};
  EXPECT_EQ(first_of(R"({"question":"q","answer":"a","input":"x","system":"s"})", spec), "user:q|assistant:a");
  EXPECT_EQ(first_of(R"({"question":"q","answer":"a"})"), "user:q|assistant:a");
}

TEST(RecordForms, TagsRenameRolesAndTheirKeys) {
  const DatasetSpec spec{
      .formatting = Formatting::kShareGpt,
      .columns = {{"messages", "chat"}},
      .tags = {{"role_tag", "who"}, {"content_tag", "says"}, {"user_tag", "me"}, {"assistant_tag", "it"}}};
  EXPECT_EQ(first_of(R"({"chat":[{"who":"me","says":"q"},{"who":"it","says":"a"}]})", spec), "user:q|assistant:a");
}

TEST(RecordForms, PreTokenizedWithoutLabelsTrainsEverything) {
  const TempDir dir;
  const auto records =
      read_all({.file = write_data(dir, R"({"input_ids":[5,6,7]})"
                                        "\n"
                                        R"({"input_ids":[5,6,7],"labels":[-100,6,7],"attention_mask":[1,1,1]})")});
  EXPECT_EQ(std::get<PreTokenized>(records.at(0)).labels, (std::vector<int32_t>{5, 6, 7}));
  EXPECT_EQ(std::get<PreTokenized>(records.at(1)).labels, (std::vector<int32_t>{-100, 6, 7}));
}

TEST(RecordForms, ARecordsOwnIdIsKeptWhetherTextOrNumber) {
  const TempDir dir;
  const std::string tail = R"(,"prompt":"p","completion":"c"})";
  const std::string file =
      write_data(dir, R"({"id":"gsm/7")" + tail + "\n" + R"({"id":42)" + tail + "\n" + R"({"id":null)" + tail);
  const auto records = read_all({.file = file});
  EXPECT_EQ(id_of(records[0]).name(), "gsm/7");
  EXPECT_EQ(id_of(records[1]).name(), "42");
  EXPECT_FALSE(id_of(records[0]).is_number);
  EXPECT_TRUE(id_of(records[1]).is_number);
  EXPECT_EQ(id_of(records[2]).name(), file + ":3");
}

TEST(RecordFile, ByteOrderMarkCrlfBlankLinesAndAMissingLastNewlineDoNotMatter) {
  const TempDir dir;
  const std::string file = write_data(dir, std::string("\xEF\xBB\xBF\r\n") + kGood + "\r\n  \r\n\n" + kGood);
  const auto records = read_all({.file = file});
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(id_of(records[0]).line, 2);
  EXPECT_EQ(id_of(records[1]).line, 5);
  EXPECT_EQ(shown(records[1]), "user:q|assistant:a");
}

TEST(RecordFile, AnArrayIsReadElementByElement) {
  const TempDir dir;
  const std::string tricky = R"({"prompt":"a ] } , \" \\","completion":"{[\u00e9"})";
  const std::string file = write_data(dir, " [\n" + tricky + " ,\n\n" + tricky + "\n]\n", "d.json");
  const auto records = read_all({.file = file});
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(shown(records[1]), "user:a ] } , \" \\|assistant:{[é");
  EXPECT_EQ(id_of(records[1]).line, 2);
}

TEST(RecordFile, AnArrayLongerThanTheReadBufferIsWhole) {
  const TempDir dir;
  std::string text = "[";
  for (int i = 0; i < 20000; ++i) text += fmt::format("{}{}", i == 0 ? "" : ",", kGood);
  EXPECT_EQ(read_all({.file = write_data(dir, text + "]", "d.json")}).size(), 20000u);
}

TEST(RecordFile, ALineLongerThanTheReadBufferIsWhole) {
  const std::string long_text(1 << 20, 'x');
  EXPECT_EQ(first_of(R"({"prompt":")" + long_text + R"(","completion":"c"})"),
            fmt::format("user:{}|assistant:c", long_text));
}

TEST(RecordFile, NumSamplesStopsEarly) {
  const TempDir dir;
  const std::string file = write_data(dir, std::string(kGood) + "\n" + kGood + "\nnot json");
  EXPECT_EQ(read_all({.file = file, .num_samples = 2}).size(), 2u);
}

TEST(RecordErrors, EveryFaultNamesFileLineReasonAndRemedyInOneLine) {
  const std::string good = std::string(kGood) + "\n";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"messages":[{"role":"user","content":"q"}]})", "at least one assistant turn"},
      {R"({"messages":[]})", "at least one message"},
      {R"({"messages":{}})", "a list of messages"},
      {R"({"conversations":[]})", "key \"messages\", found keys \"conversations\""},
      {R"({"messages":[{"role":"assistent","content":"q"}]})", "found \"assistent\""},
      {R"({"messages":[{"role":"assistant","content":null}]})",
       "a string under \"content\" in messages[0], found null"},
      {R"({"messages":[{"role":"assistant","content":[{"type":"image_url"}]}]})", "parts of type \"text\""},
      {R"({"messages":[{"role":"assistant","content":["x"]}]})", "found string"},
      {R"({"messages":[{"role":"assistant","content":"a","loss":0}]})", "true or false under \"loss\""},
      {R"({"messages":[{"role":"assistant","content":"a","content":"b"}]})", "key \"content\" twice in one object"},
      {R"({"messages":[{"role":"assistant","content":"a"}],"tools":[{"name":"f"}]})", "function calling"},
      {R"({"messages":[{"role":"assistant","content":"a"}],"tools":"[{}]"})", "under \"tools\""},
      {R"({"messages":[{"role":"assistant","content":null,"function_call":{"name":"f"}}]})", "\"function_call\""},
      {R"({"messages":[{"role":"function_call","content":"f"}]})", "without function calls"},
      {R"({"messages":[{"role":"assistant"}]})", "key \"content\""},
      {R"({"messages":["x"]})", "an object in messages[0], found string"},
      {R"({"messages":[{"role":"assistant","content":"a","weight":0.5}]})", "0 or 1 under \"weight\""},
      {R"({"messages":[{"role":"assistant","content":"a","train":1}]})", "true or false under \"train\""},
      {R"({"messages":[{"role":"assistant","content":"","tool_calls":[{}]}]})", "tool calls"},
      {R"([1,2])", "expected a JSON object, found array"},
      {R"({"messages": [)", "unexpected end of input"},
      {"{\"a\": \"\xff\"}", "ill-formed UTF-8"},
      {"{\"a\": \"\\ud800\"}", "surrogate"},
      {"{\"a\": 1e999}", "number overflow"},
      {std::string("{\"a\":\0 1}", 9), "column 6"},
  };
  for (const auto& [line, reason] : cases) {
    EXPECT_THAT(error_of(good + line + "\n"),
                AllOf(testing::StartsWith("d.jsonl:2: expected "), HasSubstr(reason), Not(HasSubstr("\n")),
                      EndsWith(" ---> fix the line or set on_bad_data: skip")));
  }
}

TEST(RecordErrors, PreTokenizedLinesAreChecked) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"input_ids":[1,2],"labels":[1]})", "as many labels as input_ids (2), found 1"},
      {R"({"input_ids":[1,-2]})", "found -2 at index 1"},
      {R"({"input_ids":[1,-100]})", "found -100 at index 1"},
      {R"({"input_ids":[2147483648]})", "found 2147483648 at index 0"},
      {R"({"input_ids":[18446744073709551615]})", "found 18446744073709551615"},
      {R"({"input_ids":[1.5]})", "found number at index 0"},
      {R"({"input_ids":["a"]})", "found string"},
      {R"({"input_ids":[]})", "at least one token id"},
      {R"({"input_ids":"1 2"})", "found string"},
      {R"({"input_ids":[1,2],"labels":[1,3]})", "(2 at index 1), found 3"},
      {R"({"input_ids":[1,2],"labels":[1,-1]})", "found -1 at index 1"},
      {R"({"input_ids":[1,2],"attention_mask":[1,0]})", "without padding"},
  };
  for (const auto& [line, reason] : cases)
    EXPECT_THAT(error_of(line), AllOf(HasSubstr("d.jsonl:1: "), HasSubstr(reason)));
}

TEST(RecordErrors, AnUnknownFormListsTheKnownOnesAndTheKeysFound) {
  EXPECT_THAT(
      error_of(R"({"text":"x","n":1})"),
      AllOf(HasSubstr("keys \"n\", \"text\""), HasSubstr("instruction, output"), HasSubstr("columns: {prompt:")));
}

TEST(RecordErrors, InAnArrayTheFilesLineAndTheRecordAreNamed) {
  EXPECT_THAT(error_of("[\n{\"prompt\":\"p\",\"completion\":\"c\"},\n{\"prompt\":\n  tru}\n]", {}, "d.json"),
              AllOf(HasSubstr("d.json:4: "), HasSubstr("column 6"), HasSubstr("record 2 of the array")));
  EXPECT_THAT(error_of("[\n{\"prompt\":\"p\",\"completion\":\"c\"},\n{\"prompt\":1}\n]", {}, "d.json"),
              HasSubstr("d.json:2 (record 2, from line 3): expected a string under \"prompt\""));
}

TEST(RecordErrors, ACutOffArrayEndsTheFileEvenWhenBadRecordsAreSkipped) {
  const DatasetSpec skip{.on_bad_data = OnBadData::kSkip};
  EXPECT_THAT(error_of(fmt::format("[{},{{\"messages\":[", kGood), skip, "d.json"), HasSubstr("cut off"));
  EXPECT_THAT(error_of(fmt::format("[{}] x", kGood), skip, "d.json"), HasSubstr("more text"));
}

TEST(RecordErrors, SkipLeavesBadRecordsOutAndCountsThem) {
  const TempDir dir;
  const std::string file = write_data(dir, "nonsense\n" + std::string(kGood) + "\n{\"messages\":[]}\n" + kGood);
  const auto reader = open_records({.file = file, .on_bad_data = OnBadData::kSkip});
  std::vector<int64_t> lines;
  while (auto record = reader->next()) lines.push_back(id_of(*record).line);
  EXPECT_EQ(lines, (std::vector<int64_t>{2, 4}));
  EXPECT_EQ(reader->num_skipped(), 2);
}

TEST(RecordErrors, AnEmptyDatasetIsAnError) {
  EXPECT_THAT(error_of(""), HasSubstr("at least one record, found an empty file"));
  EXPECT_THAT(error_of(" \n\n"), HasSubstr("an empty file"));
  EXPECT_THAT(error_of("[ ]", {}, "d.json"), HasSubstr("an empty file"));
  EXPECT_THAT(error_of("x\ny\n", {.on_bad_data = OnBadData::kSkip}), HasSubstr("only bad ones"));
}

TEST(RecordErrors, AnOverlongLineIsRefusedWithoutReadingItWhole) {
  const TempDir dir;
  const std::string file = write_data(dir, "{");
  std::filesystem::resize_file(file, static_cast<uintmax_t>(kMaxRecordBytes) * 64);  // sparse: 16 GiB of NULs
  try {
    read_all({.file = file});
    FAIL() << "expected a DataError";
  } catch (const DataError& e) {
    EXPECT_THAT(e.what(), HasSubstr("d.jsonl:1: expected a record of at most 256.0 MiB"));
  }
}

TEST(RecordErrors, DeepNestingIsAnErrorAndNotACrash) {
  EXPECT_THAT(error_of("{\"messages\":" + std::string(2'000'000, '[')), HasSubstr("nested more than 256 deep"));
  EXPECT_THAT(error_of("{\"messages\":" + std::string(500'000, '[') + std::string(500'000, ']') + "}"),
              HasSubstr("nested more than 256 deep"));
}

TEST(RecordErrors, MissingFilesAndFoldersAreNamed) {
  const TempDir dir;
  EXPECT_THROW(open_records({.file = (dir / "none.jsonl").string()}), DataError);
  EXPECT_THROW(open_records({.file = dir.path().string()}), DataError);
  EXPECT_THAT(error_of("x", {}, "d.csv"), HasSubstr("convert it to .jsonl"));
}

}  // namespace
}  // namespace qtune
