// Damaged and malicious GGUF files: each must be refused by a message that names what is wrong.
#include "file_parts.h"
#include "gguf_builder.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

void expect_refused(const std::string& bytes, std::string_view part) {
  const TempDir dir;
  write_bytes(dir / "model.gguf", bytes);
  expect_error<CheckpointError>([&] { GgufFile{dir / "model.gguf"}; }, part);
}

TEST(GgufHostile, ATornFileIsRefusedAtEveryLength) {
  const std::string whole = small_llama().build();
  const TempDir dir;
  // The last tensor ends at 48 of its 64 bytes; what follows is padding.
  for (size_t length = 0; length < whole.size() - 16; ++length) {
    write_bytes(dir / "t.gguf", std::string_view(whole).substr(0, length));
    EXPECT_THROW(GgufFile{dir / "t.gguf"}, CheckpointError) << length;
  }
  write_bytes(dir / "t.gguf", std::string_view(whole).substr(0, whole.size() - 16));
  EXPECT_NO_THROW(GgufFile{dir / "t.gguf"});
}

TEST(GgufHostile, OtherFilesAreRefused) {
  expect_refused("", "the magic at byte 0 needs 4 more");
  expect_refused("PK\x03\x04 something else", "expected a GGUF file, found another kind");
  expect_refused(GgufBuilder().build(1), "expected GGUF version 2 or 3, found 1");
  expect_refused(GgufBuilder().build(0x03000000), "expected a little-endian file, found a big-endian one");
}

TEST(GgufHostile, HugeCountsAreRefusedBeforeAnyAllocation) {
  expect_refused(GgufBuilder().build(3, 0, ~uint64_t{0}), "metadata values do not fit");
  expect_refused(GgufBuilder().build(3, ~uint64_t{0}, 0), "tensors do not fit");
  for (const GgufValueType type : {GgufValueType::kString, GgufValueType::kUint8, GgufValueType::kFloat64}) {
    expect_refused(GgufBuilder().array("a", type, ~uint64_t{0}).build(), "do not fit into 0 bytes");
    expect_refused(GgufBuilder().array("a", type, uint64_t{1} << 61).build(), "do not fit into 0 bytes");
  }
}

TEST(GgufHostile, HugeTextsAreRefused) {
  expect_refused(GgufBuilder().raw("a", 8, std::string(8, '\xff')).build(), "needs 18446744073709551615 more");
  expect_refused(GgufBuilder().raw("a", 8, std::string("\x09\0\0\0\0\0\0\0 12345678", 16)).build(), "needs 9 more");
}

TEST(GgufHostile, UnknownTypesAreRefused) {
  expect_refused(GgufBuilder().raw("a", 13, "12345678").build(), "metadata type 13");
  expect_refused(GgufBuilder().array("a", static_cast<GgufValueType>(99), 0).build(), "metadata type 99");
  expect_refused(GgufBuilder().tensor("t", {256}, 12, 0).values(std::string(256, 'x')).build(),
                 "tensor \"t\": expected type F32, F16, BF16, Q8_0, Q4_0 or Q4_1, found Q4_K");
  expect_refused(GgufBuilder().tensor("t", {256}, 1000, 0).build(), "found number 1000");
}

TEST(GgufHostile, ArraysOfArraysAreRefused) {
  expect_refused(GgufBuilder().array("a", GgufValueType::kArray, 1).raw("b", 9, "").build(), "arrays of arrays");
}

TEST(GgufHostile, NamesGivenTwiceAreRefused) {
  expect_refused(GgufBuilder().u32("a", 1).u32("a", 1).build(), "metadata key \"a\" is there twice");
  expect_refused(GgufBuilder().float_tensor("t", {8}).float_tensor("t", {8}).build(), "tensor \"t\" is there twice");
}

TEST(GgufHostile, WrongDimensionsAreRefused) {
  expect_refused(GgufBuilder().tensor("t", {}, 0, 0).values(std::string(64, 'x')).build(),
                 "expected 1 to 4 dimensions, found 0");
  expect_refused(GgufBuilder().tensor("t", {1, 1, 1, 1, 1}, 0, 0).values("1234").build(),
                 "expected 1 to 4 dimensions, found 5");
  expect_refused(GgufBuilder().tensor("t", {0}, 0, 0).values("1234").build(), "dimensions of 1 or more, found 0");
  expect_refused(GgufBuilder().tensor("t", {~uint64_t{0}}, 0, 0).values("1234").build(),
                 "dimensions of 1 or more, found -1");
  expect_refused(GgufBuilder().tensor("t", {uint64_t{1} << 32, uint64_t{1} << 32}, 0, 0).values("1234").build(),
                 "does not fit 64 bits");
  expect_refused(GgufBuilder().tensor("t", {uint64_t{1} << 62}, 0, 0).values("1234").build(), "does not fit 64 bits");
  expect_refused(GgufBuilder().tensor("t", {33}, 8, 0).values(std::string(64, 'x')).build(),
                 "a multiple of 32 values for Q8_0, found 33");
}

TEST(GgufHostile, TensorsOutsideTheFileOrOverEachOtherAreRefused) {
  expect_refused(GgufBuilder().tensor("t", {8}, 0, 32).values(std::string(32, 'x')).build(), "the file has 32 there");
  expect_refused(GgufBuilder().tensor("t", {8}, 0, ~uint64_t{31}).values(std::string(32, 'x')).build(),
                 "---> the file is torn");
  expect_refused(GgufBuilder().tensor("t", {8}, 0, 4).values(std::string(64, 'x')).build(),
                 "offset of a multiple of 32, found 4");
  expect_refused(GgufBuilder().tensor("t", {16}, 0, 0).tensor("u", {8}, 0, 32).values(std::string(64, 'x')).build(),
                 "tensors \"t\" and \"u\" overlap");
  expect_refused(GgufBuilder().tensor("t", {8}, 0, 0).build(), "---> the file is torn");
}

TEST(GgufHostile, AnAlignmentThatIsNoPowerOfTwoIsRefused) {
  for (const uint32_t alignment : {0u, 3u, 48u, 1u << 31}) {
    expect_refused(GgufBuilder().u32("general.alignment", alignment).build(), "expected a power of two");
  }
  expect_refused(GgufBuilder().text("general.alignment", "32").build(), "expected an integer");
}

}  // namespace
}  // namespace qtune
