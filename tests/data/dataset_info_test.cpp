#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "qtune/base/error.h"
#include "qtune/data/dataset_spec.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class DatasetInfo : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& content) { std::ofstream(dir_ / name) << content; }
  std::string folder() const { return dir_.path().string(); }
  std::string error_of(const std::vector<std::string>& names) {
    try {
      resolve_datasets(names, folder());
    } catch (const DataError& e) {
      return e.what();
    }
    return "";
  }
  TempDir dir_;
};

TEST_F(DatasetInfo, AnEntryGivesFileFormColumnsTagsAndCount) {
  write("dataset_info.json",
        R"({"mine": {"file_name": "m.json", "formatting": "sharegpt", "num_samples": 7, "split": "train",
        "columns": {"messages": "chat", "query": null}, "tags": {"role_tag": "who"}}})");
  const DatasetSpec spec = resolve_datasets({"mine"}, folder()).at(0);
  EXPECT_EQ(spec.file, (dir_ / "m.json").string());
  EXPECT_EQ(spec.formatting, Formatting::kShareGpt);
  EXPECT_EQ(spec.num_samples, 7);
  EXPECT_EQ(spec.columns, (std::map<std::string, std::string>{{"messages", "chat"}}));
  EXPECT_EQ(spec.tags, (std::map<std::string, std::string>{{"role_tag", "who"}}));
}

TEST_F(DatasetInfo, NamesAndPathsMixAndKeepTheirOrder) {
  write("dataset_info.json", R"({"b": {"file_name": "b.json"}})");
  write("a.jsonl", "");
  const auto specs = resolve_datasets({(dir_ / "a.jsonl").string(), "b", "a.jsonl"}, folder());
  ASSERT_EQ(specs.size(), 3u);
  EXPECT_EQ(specs[0].file, (dir_ / "a.jsonl").string());
  EXPECT_EQ(specs[1].file, (dir_ / "b.json").string());
  EXPECT_EQ(specs[2].file, (dir_ / "a.jsonl").string()) << "looked for in dataset_dir too";
}

TEST_F(DatasetInfo, ColumnsOfTheConfigWin) {
  write("dataset_info.json",
        R"({"b": {"file_name": "b.json", "columns": {"prompt": "x"}, "tags": {"role_tag": "who"}}})");
  const DatasetSpec spec = resolve_datasets({"b"}, folder(), {{"prompt", "y"}}, {{"user_tag", "me"}}).at(0);
  EXPECT_EQ(spec.columns.at("prompt"), "y");
  EXPECT_EQ(spec.tags, (std::map<std::string, std::string>{{"role_tag", "who"}, {"user_tag", "me"}}));
}

TEST_F(DatasetInfo, AMistypedKeyOfAnEntryIsNamedAndOthersArePassedOver) {
  write("dataset_info.json", R"({"mine": {"file_name": "m.json", "colums": {"prompt": "q"}},
                                 "noted": {"file_name": "m.json", "_comment": "from the shop"}})");
  EXPECT_THAT(error_of({"mine"}), AllOf(HasSubstr("\"colums\""), HasSubstr("did you mean columns?")));
  EXPECT_EQ(error_of({"noted"}), "");
}

TEST_F(DatasetInfo, AnUnknownNameListsTheKnownOnesAndTheNearest) {
  write("dataset_info.json", R"({"identity": {"file_name": "i.json"}, "alpaca_en": {"file_name": "a.json"}})");
  EXPECT_THAT(error_of({"identitty"}), AllOf(HasSubstr("alpaca_en, identity"), HasSubstr("did you mean identity?")));
}

TEST_F(DatasetInfo, WithoutADatasetInfoFileTheMissingPathIsNamed) {
  EXPECT_THAT(error_of({"gsm"}), AllOf(HasSubstr("dataset gsm"), HasSubstr("dataset_info.json")));
  EXPECT_THAT(error_of({"gsm.jsonl"}), AllOf(HasSubstr("dataset gsm.jsonl"), HasSubstr("found none")));
}

TEST_F(DatasetInfo, WhatIsNotSupportedIsNamed) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"hf_hub_url": "a/b"})", "huggingface-cli download NAME --repo-type dataset"},
      {R"({"ms_hub_url": "a/b", "split": "train"})", "modelscope download --dataset"},
      {R"({"script_url": "x"})", "found script_url \"x\", which qtune does not download"},
      {R"({})", "expected file_name, found none"},
      {R"("x")", "expected an object, found string"},
      {R"({"file_name": "a.json", "ranking": true})", "dataset for SFT"},
      {R"({"file_name": "a.json", "split": "test"})", "split: train"},
      {R"({"file_name": "a.json", "split": "train[:10%]"})", "use num_samples"},
      {R"({"file_name": "a.json", "split": 3})", "a string under \"split\", found number"},
      {R"({"file_name": "a.json", "formatting": "sharegtp"})", "did you mean sharegpt?"},
      {R"({"file_name": "a.json", "columns": {"promt": "x"}})", "did you mean prompt?"},
      {R"({"file_name": "a.json", "columns": {"images": "x"}})", "\"images\" is not supported"},
      {R"({"file_name": "a.json", "columns": ["x"]})", "an object of strings"},
      {R"({"file_name": "a.json", "tags": {"usr_tag": "x"}})", "did you mean user_tag?"},
      {R"({"file_name": "a.json", "num_samples": -3})", "a whole number"},
      {R"({"file_name": "a.json", "columns": {"chosen": "x"}})", "\"chosen\" is not supported"},
  };
  for (const auto& [entry, reason] : cases) {
    write("dataset_info.json", "{\"d\": " + entry + "}");
    EXPECT_THAT(error_of({"d"}), HasSubstr(reason)) << entry;
  }
  write("dataset_info.json", "{");
  EXPECT_THAT(error_of({"d"}), HasSubstr("expected valid JSON"));
}

}  // namespace
}  // namespace qtune
