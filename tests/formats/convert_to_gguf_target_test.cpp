// Where a GGUF file is written, and what is left of it when it can't be.
#include <sys/resource.h>

#include <csignal>

#include "gguf_out.h"
#include "qtune/base/stop_signals.h"
#include "support/dead_process.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

class GgufTarget : public GgufOut {};

TEST_F(GgufTarget, TheTargetIsAFileInAFolderThatExists) {
  out_ = dir_ / "out";
  expect_refused<ConfigError>("out: expected a name that ends in .gguf ---> --to gguf writes one file");
  out_ = in_;
  expect_refused<ConfigError>("expected a file to write, found a folder ---> give a name that ends in .gguf");
  out_ = dir_ / "none/out.gguf";
  expect_refused<ConfigError>("none: expected a folder to write into, found none");
}

// The model's own weights were replaced by a GGUF file: any name that was there already passed the check.
TEST_F(GgufTarget, AFileThatIsThereIsLeftAlone) {
  const std::string weights = read_file(in_ / "model.safetensors");
  for (const fs::path& link : {dir_ / "link.gguf", dir_ / "link"}) fs::create_symlink(in_ / "model.safetensors", link);
  write_bytes(dir_ / "old.gguf", "old");
  for (const fs::path& taken : {in_ / "model.safetensors", dir_ / "link.gguf", dir_ / "link", dir_ / "old.gguf"}) {
    expect_error<ConfigError>([&] { convert_hf_to_gguf(in_, taken); },
                              taken.filename().string() +
                                  ": expected a new file, found one of that name ---> give another name or remove it");
  }
  EXPECT_EQ(read_file(in_ / "model.safetensors"), weights);
  EXPECT_EQ(read_file(dir_ / "old.gguf"), "old");
  EXPECT_EQ(num_entries(in_), 4u);
}

TEST_F(GgufTarget, ADeviceIsWrittenInto) {
  convert_hf_to_gguf(in_, "/dev/null");
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST_F(GgufTarget, TheSourceIsAFolder) {
  expect_error<ConfigError>([&] { convert_hf_to_gguf(kData / "gguf/tiny.gguf", out_); },
                            "expected a model folder, found a file ---> convert it to a folder first");
  expect_error<CheckpointError>([&] { convert_hf_to_gguf(dir_ / "none", out_); }, "found nothing");
}

TEST_F(GgufTarget, AFullDiskLeavesNothing) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{16384, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  expect_error<Error>([&] { convert_hf_to_gguf(in_, out_); }, "out.gguf: cannot write");
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(num_entries(dir_.path()), 1u);
}

TEST_F(GgufTarget, ASignalLeavesNothing) {
  const StopSignals signals;
  std::raise(SIGINT);
  expect_error<Error>([&] { convert_hf_to_gguf(in_, out_); }, "interrupted");
  EXPECT_EQ(num_entries(dir_.path()), 1u);
}

TEST_F(GgufTarget, WhatAKilledConversionLeftIsRemoved) {
  write_bytes(dir_ / ("out.gguf.tmp-" + std::to_string(dead_process()) + "-0"), "half");
  convert();
  EXPECT_EQ(num_entries(dir_.path()), 2u);
}

}  // namespace
}  // namespace qtune
