// qtune convert --to gguf as a user runs it.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>

#include "qtune/formats/gguf.h"
#include "support/process.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

const fs::path kModel = fs::path(QTUNE_TEST_DATA) / "gguf_out/qwen2";

TEST(ConvertCommand, WritesAGgufFile) {
  const TempDir dir;
  const std::string out = (dir / "q.gguf").string();
  const ProcessResult result = run_process({"convert", kModel.string(), out, "--to", "gguf", "--dtype", "q8_0"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err, out + ": 26 tensors, 27,936 values, Q8_0, tied embeddings, vocabulary of 288\n");
  EXPECT_EQ(GgufFile(out).integer("general.file_type"), 7);
  const ProcessResult again = run_process({"convert", kModel.string(), out, "--to", "gguf"});
  expect_one_error(again, 2, out + ": expected a new file, found one of that name");
}

TEST(ConvertCommand, WrongCombinationsAreWrongUse) {
  const TempDir dir;
  const std::string model = kModel.string(), out = (dir / "q.gguf").string(), folder = (dir / "q").string();
  const auto expect_refused = [&](std::vector<std::string> arguments, const std::string& part) {
    arguments.insert(arguments.begin(), "convert");
    expect_one_error(run_process(arguments), 2, part);
  };
  expect_refused({model, out, "--to", "gguf", "--shard-size", "5GB"}, "--shard-size: expected none with --to gguf");
  expect_refused({model, folder, "--dtype", "q8_0"}, "--dtype: expected bf16, f16 or f32 for a model folder");
  expect_refused({model, folder, "--to", "gguf"}, "expected a name that ends in .gguf");
  expect_refused({model, dir.path().string(), "--to", "gguf"}, "expected a file to write, found a folder");
  expect_refused({model + "/expected.gguf", out, "--to", "gguf"}, "expected a model folder, found a file");
  expect_refused({model, out, "--to", "gguf", "--dtype", "q4_0"}, "--dtype");
  EXPECT_TRUE(fs::is_empty(dir.path()));
}

// A killed conversion left OUT.tmp-PID-0. A pipe that nobody reads keeps the program writing until the signal.
TEST(ConvertCommand, ASignalEndsItInOneLine) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const TempDir dir;
    const std::string pipe = (dir / "pipe").string();
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    pollfd reader{::open(pipe.c_str(), O_RDONLY | O_NONBLOCK), POLLIN, 0};
    QtuneProcess process({"convert", kModel.string(), pipe, "--to", "gguf", "--dtype", "f32"});
    process.wait_until([&] { return ::poll(&reader, 1, 0) > 0; });
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // until the pipe is full
    process.send(signal);
    expect_one_error(process.wait(), 130, pipe + ": interrupted before it was whole ---> run it again");
    ::close(reader.fd);
  }
}

}  // namespace
}  // namespace qtune
