// Datasets of several files: folders, patterns, splits; how many samples are taken; raw records.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "data/read_records.h"
#include "qtune/base/error.h"
#include "qtune/data/raw_record.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class DataFiles : public testing::Test {
 protected:
  void touch(const std::string& name) { write(name, name); }
  void write(const std::string& name, const std::string& answer) {
    std::filesystem::create_directories((dir_ / name).parent_path());
    std::ofstream(dir_ / name) << R"({"prompt":"p","completion":")" << answer << "\"}\n";
  }
  /// The files' names, or the error.
  std::vector<std::string> files_of(const std::string& path, const std::string& split = "") const {
    std::vector<std::string> names;
    try {
      for (const std::string& file : data_files({.file = (dir_ / path).string(), .split = split})) {
        names.push_back(std::filesystem::relative(file, dir_.path()).string());
      }
    } catch (const DataError& e) {
      return {e.what()};
    }
    return names;
  }
  DatasetSpec entry(const std::string& json) {
    std::ofstream(dir_ / "dataset_info.json") << "{\"d\": " << json << "}";
    return resolve_datasets({"d"}, dir_.path().string()).at(0);
  }
  TempDir dir_;
};

TEST_F(DataFiles, AFolderIsReadInTheOrderOfItsNames) {
  for (const char* name :
       {"f/b.jsonl", "f/a.json", "f/c.jsonl", "f/README.md", "f/.hidden.json", "f/dataset_info.json"}) {
    touch(name);
  }
  EXPECT_THAT(files_of("f"), ElementsAre("f/a.json", "f/b.jsonl", "f/c.jsonl"));
  const auto records = read_all({.file = (dir_ / "f").string()});
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(shown(records[1]), "user:p|assistant:f/b.jsonl");
  EXPECT_EQ(id_of(records[1]).place(), (dir_ / "f/b.jsonl").string() + ":1");
}

TEST_F(DataFiles, APatternStandsForTheFilesItMatches) {
  for (const char* name : {"f/x-2.jsonl", "f/x-1.jsonl", "f/y.jsonl"}) touch(name);
  EXPECT_THAT(files_of("f/x-*.jsonl"), ElementsAre("f/x-1.jsonl", "f/x-2.jsonl"));
  EXPECT_THAT(files_of("f/z*"), ElementsAre(HasSubstr("found none")));
  const auto specs = resolve_datasets({"f/x*"}, dir_.path().string());
  EXPECT_EQ(read_all(specs.at(0)).size(), 2u);
}

TEST_F(DataFiles, AMixOfKindsIsRefused) {
  touch("f/a.jsonl");
  touch("f/b.parquet");
  EXPECT_THAT(files_of("f"), ElementsAre(HasSubstr("files of one kind, found a.jsonl and b.parquet")));
  touch("g/a.jsonl");
  touch("g/b.csv");
  EXPECT_THAT(files_of("g"), ElementsAre(HasSubstr("found .csv, which is not supported")));
}

TEST_F(DataFiles, NamesThatTellSplitsApartAreReadBySplit) {
  for (const char* name : {"f/train-00000-of-00002.jsonl", "f/train-00001-of-00002.jsonl",
                           "f/test-00000-of-00001.jsonl", "f/gsm8k_valid.jsonl"}) {
    touch(name);
  }
  const auto train = ElementsAre("f/train-00000-of-00002.jsonl", "f/train-00001-of-00002.jsonl");
  EXPECT_THAT(files_of("f"), train);
  EXPECT_THAT(files_of("f", "train"), train);
  EXPECT_THAT(files_of("f", "test"), ElementsAre("f/test-00000-of-00001.jsonl"));
  EXPECT_THAT(files_of("f", "validation"), ElementsAre("f/gsm8k_valid.jsonl"));
  EXPECT_THAT(files_of("f", "socratic"), ElementsAre(HasSubstr("expected files of split \"socratic\"")));
}

TEST_F(DataFiles, NamesWithoutSplitsAreAllTrain) {
  touch("f/part1.jsonl");
  touch("f/part2.jsonl");
  EXPECT_THAT(files_of("f", "train"), ElementsAre("f/part1.jsonl", "f/part2.jsonl"));
  EXPECT_THAT(files_of("f", "test"), ElementsAre(HasSubstr("expected files of split \"test\"")));
}

TEST_F(DataFiles, AnEntryMayNameAFolderASplitAndALocalCopyOfAHubDataset) {
  touch("f/train.jsonl");
  touch("f/test.jsonl");
  EXPECT_EQ(all_shown(entry(R"({"file_name": "f", "split": "test"})")),
            std::vector<std::string>{"user:p|assistant:f/test.jsonl"});
  touch("copy/main/train.jsonl");
  const std::string copy = (dir_ / "copy").string();
  EXPECT_EQ(all_shown(entry(R"({"hf_hub_url": ")" + copy + R"(", "subset": "main"})")),
            std::vector<std::string>{"user:p|assistant:copy/main/train.jsonl"});
  EXPECT_THROW(entry(R"({"hf_hub_url": ")" + copy + R"(", "subset": "socratic"})"), DataError);
}

TEST_F(DataFiles, AnEntryReadsSystemAndHistoryOnlyIfItNamesThem) {
  std::ofstream(dir_ / "a.jsonl")
      << R"({"instruction":"i","input":"x","output":"o","system":"s","history":[["q","a"]]})";
  EXPECT_THAT(all_shown(entry(R"({"file_name": "a.jsonl"})")), ElementsAre("user:i\nx|assistant:o"));
  EXPECT_THAT(all_shown({.file = (dir_ / "a.jsonl").string()}),
              ElementsAre("system:s|user:q|assistant:a|user:i\nx|assistant:o"));
  EXPECT_THAT(all_shown(entry(R"({"file_name": "a.jsonl", "columns": {"prompt": "instruction", "response": "output",
                                                                      "system": "system"}})")),
              ElementsAre("system:s|user:i|assistant:o"));
}

TEST_F(DataFiles, NumSamplesOfAnEntryRepeatsADatasetThatIsTooShort) {
  write("a.jsonl", "1");
  std::ofstream(dir_ / "a.jsonl", std::ios::app) << "bad\n"
                                                 << R"({"prompt":"p","completion":"2"})"
                                                 << "\n";
  DatasetSpec spec = entry(R"({"file_name": "a.jsonl", "num_samples": 5})");
  spec.on_bad_data = OnBadData::kSkip;
  const auto reader = open_records(spec);
  std::vector<int64_t> lines;
  while (auto record = reader->next()) lines.push_back(id_of(*record).line);
  EXPECT_THAT(lines, ElementsAre(1, 3, 1, 3, 1));
  EXPECT_EQ(reader->num_skipped(), 1);
  EXPECT_EQ(read_all({.file = (dir_ / "a.jsonl").string(), .num_samples = 1}).size(), 1u);
}

TEST_F(DataFiles, RawRecordsComeInTheOrderAskedFor) {
  std::ofstream(dir_ / "a.jsonl") << "{\"n\": 1}\n\n{ \"n\" :2 }\r\nnot json\n";
  std::ofstream(dir_ / "b.json") << "[{\"n\": 1},\n {\"t\": \"a \\\" b\",\n  \"l\": [1, 2]}]";
  const SampleId a{.file = (dir_ / "a.jsonl").string()}, b{.file = (dir_ / "b.json").string()};
  const auto at = [](SampleId id, int64_t line) {
    id.line = line;
    return id;
  };
  EXPECT_THAT(raw_records({at(b, 2), at(a, 4), at(a, 1), at(b, 2), at(a, 3)}),
              ElementsAre(R"({"t":"a \" b","l":[1,2]})", "not json", "{\"n\": 1}", R"({"t":"a \" b","l":[1,2]})",
                          "{ \"n\" :2 }"));
  EXPECT_EQ(raw_record(at(b, 1)), "{\"n\":1}");
  EXPECT_THROW(raw_record(at(a, 2)), DataError) << "a blank line is no record";
  EXPECT_THROW(raw_record(at(a, 9)), DataError);
  EXPECT_THAT(raw_records({}), IsEmpty());
}

}  // namespace
}  // namespace qtune
