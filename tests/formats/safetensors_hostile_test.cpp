// Damaged and malicious safetensors files: each must be refused by a message that names what is wrong.
#include <fmt/format.h>

#include "file_parts.h"
#include "qtune/formats/safetensors.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

constexpr std::string_view kGood = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";

void expect_refused(const std::string& bytes, std::string_view part) {
  const TempDir dir;
  write_bytes(dir / "model.safetensors", bytes);
  expect_error<CheckpointError>([&] { SafetensorsFile{dir / "model.safetensors"}; }, part);
  expect_error<CheckpointError>([&] { SafetensorsFile{dir / "model.safetensors"}; }, "model.safetensors: ");
}

TEST(SafetensorsHostile, AMissingFileIsACheckpointError) {
  expect_error<CheckpointError>([] { SafetensorsFile{"/no/such/model.safetensors"}; }, "No such file");
}

TEST(SafetensorsHostile, ATornFileIsRefusedAtEveryLength) {
  const std::string whole = safetensors_bytes(kGood, 8);
  const TempDir dir;
  for (size_t length = 0; length < whole.size(); ++length) {
    write_bytes(dir / "t.safetensors", std::string_view(whole).substr(0, length));
    expect_error<CheckpointError>([&] { SafetensorsFile{dir / "t.safetensors"}; }, "---> the file is torn");
  }
  write_bytes(dir / "t.safetensors", whole);
  EXPECT_NO_THROW(SafetensorsFile{dir / "t.safetensors"});
}

TEST(SafetensorsHostile, SizesThatDoNotFitAreRefused) {
  expect_refused(safetensors_bytes(kGood, 7), "file is 69 bytes, its header needs 70 ---> the file is torn");
  expect_refused(safetensors_bytes(kGood, 9), "file is 71 bytes, its header needs 70 ---> something was added");
  expect_refused(std::string(7, '\xff') + "\x7f{}", "at most 100000000 bytes are expected");
  expect_refused(std::string("\x00\xe1\xf5\x05\0\0\0\0{}", 10), "file is 10 bytes, its header needs 100000008");
}

TEST(SafetensorsHostile, OverflowingShapesAreRefused) {
  expect_refused(safetensors_bytes(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0),
                 "tensor \"a\": the size of shape [4294967296, 4294967296] does not fit 64 bits");
  // The product fits a signed 64-bit number, the bytes do not fit an unsigned one.
  expect_refused(safetensors_bytes(R"({"a":{"dtype":"I64","shape":[2305843009213693952],"data_offsets":[0,0]}})", 0),
                 "does not fit 64 bits");
  expect_refused(safetensors_bytes(R"({"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,0]}})", 0),
                 "dimension that is too large");
  expect_refused(safetensors_bytes(R"({"a":{"dtype":"U8","shape":[184467440737095516150],"data_offsets":[0,0]}})", 0),
                 "number too large");
  expect_refused(safetensors_bytes(R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1),
                 "a negative number");
}

TEST(SafetensorsHostile, OverlapsAndHolesAreRefused) {
  constexpr auto kTwo = R"({{"a":{{"dtype":"U8","shape":[4],"data_offsets":[0,4]}},)"
                        R"("b":{{"dtype":"U8","shape":[4],"data_offsets":[{},{}]}}}})";
  expect_refused(safetensors_bytes(fmt::format(fmt::runtime(kTwo), 2, 6), 6),
                 "tensor \"b\": expected its values at byte 4 behind the header, found 2 (overlap)");
  expect_refused(safetensors_bytes(fmt::format(fmt::runtime(kTwo), 5, 9), 9), "found 5 (hole)");
  expect_refused(safetensors_bytes(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", 2), "(hole)");
}

TEST(SafetensorsHostile, OffsetsMustSpanExactlyTheShape) {
  expect_refused(safetensors_bytes(R"({"a":{"dtype":"BF16","shape":[3],"data_offsets":[0,8]}})", 8),
                 "tensor \"a\": shape [3] in BF16 takes 6 bytes, found data_offsets [0, 8]");
  expect_refused(safetensors_bytes(R"({"a":{"dtype":"BF16","shape":[3],"data_offsets":[6,0]}})", 6),
                 "found data_offsets [6, 0]");
}

TEST(SafetensorsHostile, WrongFormsAreRefused) {
  expect_refused(safetensors_bytes("", 0), "not valid JSON");
  expect_refused(safetensors_bytes("[1]", 0), "expected a JSON object as the header, found a list");
  expect_refused(safetensors_bytes("3", 0), "expected a JSON object as the header");
  expect_refused(safetensors_bytes(R"({"a":{"dtype":"F32")", 0), "not valid JSON");
  expect_refused(safetensors_bytes(R"({"a":3})", 0), "tensor \"a\": expected an object, found a number");
  expect_refused(safetensors_bytes(R"({"a":{}})", 0), "expected the fields dtype, shape and data_offsets");
  expect_refused(safetensors_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", 8),
                 "expected two data_offsets, found 1");
  expect_refused(safetensors_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}})", 8), "more than two");
  expect_refused(safetensors_bytes(R"({"a":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}})", 8),
                 "cannot hold a list");
  expect_refused(safetensors_bytes(R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", 8),
                 "cannot hold a number");
  expect_refused(safetensors_bytes(R"({"a":{"dtype":7,"shape":[2],"data_offsets":[0,8]}})", 8), "cannot hold a number");
  expect_refused(safetensors_bytes(R"({"a":{"dtype":"F32","shape":{},"data_offsets":[0,8]}})", 8),
                 "cannot hold an object");
  expect_refused(safetensors_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8.5]}})", 8), "a fraction");
  expect_refused(safetensors_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", 8),
                 "unknown field \"x\"");
  expect_refused(safetensors_bytes(R"({"__metadata__":{"a":1}})", 0), "cannot hold a number");
}

TEST(SafetensorsHostile, UnknownDtypesAreRefused) {
  expect_refused(safetensors_bytes(R"({"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}})", 2),
                 "found \"F8_E4M3\"");
}

TEST(SafetensorsHostile, NamesGivenTwiceAreRefused) {
  expect_refused(safetensors_bytes(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                   R"("a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                                   2),
                 "tensor \"a\": is there twice");
  expect_refused(safetensors_bytes(R"({"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", 1),
                 "has \"dtype\" twice");
}

TEST(SafetensorsHostile, DeepNestingIsRefusedAtOnce) {
  expect_refused(safetensors_bytes(R"({"a":)" + std::string(100'000, '[') + "}", 0),
                 "expected an object, found a list");
  expect_refused(safetensors_bytes(std::string(100'000, '{'), 0), "not valid JSON");
}

TEST(SafetensorsHostile, NamesAreShownOnOneLineAndCut) {
  expect_refused(safetensors_bytes(R"({"a\nb":3})", 0), R"(tensor "a\nb": expected)");
  expect_refused(safetensors_bytes(R"({")" + std::string(5000, 'x') + R"(":3})", 0),
                 std::string(120, 'x') + "...\": expected");
}

}  // namespace
}  // namespace qtune
