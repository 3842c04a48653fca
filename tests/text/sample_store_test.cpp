#include "qtune/text/sample_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "qtune/base/error.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

using ::testing::HasSubstr;

TokenizedSample sample_of(std::vector<int32_t> ids, std::vector<uint8_t> trained, std::vector<uint8_t> end_of_turn,
                          SampleId id = {.file = "d.jsonl", .line = 1}) {
  return {.id = std::move(id),
          .input_ids = std::move(ids),
          .trained = std::move(trained),
          .end_of_turn = std::move(end_of_turn)};
}

void expect_equal(const TokenizedSample& a, const TokenizedSample& b) {
  EXPECT_EQ(a.input_ids, b.input_ids);
  EXPECT_EQ(a.trained, b.trained);
  EXPECT_EQ(a.end_of_turn, b.end_of_turn);
  EXPECT_EQ(a.id.place(), b.id.place());
  EXPECT_EQ(a.id.record, b.id.record);
  EXPECT_EQ(a.id.is_number, b.id.is_number);
}

const TokenizedSample kFirst = sample_of({1, 70000, 3}, {1, 1, 1}, {0, 0, 1});
const TokenizedSample kNumbered =
    sample_of({5}, {0}, {0}, {.file = "d.jsonl", .line = 7, .record = "12", .is_number = true});
const TokenizedSample kEmpty = sample_of({}, {}, {}, {.file = "d.jsonl", .line = 9, .record = "x y"});

class SampleStoreFile : public testing::Test {
 protected:
  std::shared_ptr<const SampleStore> write() {
    SampleStoreWriter writer(file_);
    for (const TokenizedSample& sample : {kFirst, kNumbered, kEmpty}) writer.add(sample);
    return writer.finish({.num_records = 4, .num_bad = 1, .first_untrained = "d.jsonl:7"}, "a key");
  }
  void overwrite(int64_t position, char byte) {
    std::fstream file(file_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(position, position < 0 ? std::ios::end : std::ios::beg);
    file.put(byte);
  }

  TempDir dir_;
  std::filesystem::path file_ = dir_ / "s.samples";
};

TEST_F(SampleStoreFile, GivesBackWhatWasWritten) {
  write();
  const SampleStore store(file_);
  ASSERT_EQ(store.size(), 3);
  expect_equal(store.at(0), kFirst);
  expect_equal(store.at(1), kNumbered);
  expect_equal(store.at(2), kEmpty);
  EXPECT_EQ(store.num_tokens(0), 3);
  EXPECT_EQ(store.num_trainable_tokens(0), 2);  // position 0 has nothing before it
  EXPECT_EQ(store.key(), "a key");
  EXPECT_EQ(store.counts().num_records, 4);
  EXPECT_EQ(store.counts().num_bad, 1);
  EXPECT_EQ(store.counts().first_untrained, "d.jsonl:7");
}

TEST_F(SampleStoreFile, AppearsOnlyWhenFinished) {
  {
    SampleStoreWriter writer(file_);
    writer.add(kFirst);
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir_.path()));
  write();
  EXPECT_TRUE(std::filesystem::exists(file_));
}

TEST_F(SampleStoreFile, ADamagedSampleIsNamedWhenItIsRead) {
  write();
  overwrite(4, '\x7f');
  const SampleStore store(file_);
  expect_equal(store.at(1), kNumbered);
  try {
    store.at(0);
    FAIL();
  } catch (const DataError& e) {
    EXPECT_THAT(e.what(), HasSubstr("s.samples: sample 0 is damaged"));
  }
}

TEST_F(SampleStoreFile, ADamagedTableOrACutFileIsRefused) {
  const auto size = static_cast<int64_t>(write()->size() * 48);
  overwrite(40, '\x7f');  // in the table: the samples take 32 bytes
  EXPECT_THROW(SampleStore{file_}, Error);
  for (int64_t kept = 0; kept < size; kept += 8) {
    write();
    std::filesystem::resize_file(file_, static_cast<uintmax_t>(kept));
    EXPECT_THROW(SampleStore{file_}, Error) << kept;
  }
}

TEST(SampleStoreInMemory, IsTheSameWithoutAFile) {
  SampleStoreWriter writer("");
  writer.add(kFirst);
  writer.add(kNumbered);
  const auto store = writer.finish({}, "");
  ASSERT_EQ(store->size(), 2);
  expect_equal(store->at(1), kNumbered);
}

TEST(SampleStoreInMemory, HoldsMoreThanItsBuffer) {
  SampleStoreWriter writer("");
  const std::vector<int32_t> long_ids(400'000, 9);  // 2 MB
  const std::vector<uint8_t> all(400'000, 1);
  for (int i = 0; i < 3; ++i) writer.add(sample_of(long_ids, all, all));
  const auto store = writer.finish({}, "");
  EXPECT_EQ(store->at(2).input_ids, long_ids);
}

TEST(SampleStoreWriter, AFolderThatIsNotThereIsAWriteError) {
  TempDir dir;
  EXPECT_THROW(SampleStoreWriter(dir / "none" / "s.samples"), StoreWriteError);
}

TEST(SampleSet, KeepsTheOrderOfItsStoresAndOfWhatIsPicked) {
  SampleSet set;
  for (const TokenizedSample& sample : {kFirst, kNumbered}) {
    SampleStoreWriter writer("");
    writer.add(sample);
    writer.add(sample_of({8, 8}, {0, 1}, {0, 0}));
    set.append(writer.finish({}, ""));
  }
  ASSERT_EQ(set.size(), 4u);
  expect_equal(set[2], kNumbered);
  EXPECT_EQ(set.num_tokens(), 8);
  EXPECT_EQ(set.num_trainable_tokens(), 4);
  const SampleSet picked = set.pick(std::vector<int64_t>{2, 0, 0});
  ASSERT_EQ(picked.size(), 3u);
  expect_equal(picked[0], kNumbered);
  expect_equal(picked[2], kFirst);
  EXPECT_NE(picked.hash(), set.hash());
}

TEST(SampleSet, ItsHashTellsTheOrder) {
  SampleStoreWriter writer("");
  writer.add(kFirst);
  writer.add(kNumbered);
  SampleSet set;
  set.append(writer.finish({}, ""));
  EXPECT_NE(set.pick(std::vector<int64_t>{0, 1}).hash(), set.pick(std::vector<int64_t>{1, 0}).hash());
  EXPECT_EQ(set.pick(std::vector<int64_t>{0, 1}).hash(), set.hash());
}

}  // namespace
}  // namespace qtune
