#include "qtune/base/stop_signals.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

template <class F>
int exit_code_of(F action) {
  try {
    action();
  } catch (const Error& e) {
    return e.exit_code();
  }
  return kExitOk;
}

TEST(StopSignals, AFileBegunIsRemovedAndTheOldOneStays) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const TempDir dir;
    write_file_atomic(dir / "a", "old");
    const StopSignals signals;
    EXPECT_EQ(exit_code_of([&] {
                AtomicFileWriter writer(dir / "a");
                writer.write("new");
                std::raise(signal);
                writer.write("er");
              }),
              kExitInterrupted);
    EXPECT_EQ(read_file(dir / "a"), "old");
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
  }
}

TEST(StopSignals, AreForgottenAfterwards) {
  const TempDir dir;
  {
    const StopSignals signals;
    std::raise(SIGTERM);
    EXPECT_EQ(exit_code_of(throw_if_stopped), kExitInterrupted);
  }
  write_file_atomic(dir / "a", "new");
  const StopSignals signals;
  write_file_atomic(dir / "b", "new");
}

TEST(StopSignals, AHangupStaysIgnoredWhereItWasBefore) {
  std::signal(SIGHUP, SIG_IGN);
  {
    const StopSignals signals;
    std::raise(SIGHUP);
    EXPECT_EQ(exit_code_of(throw_if_stopped), kExitOk);
  }
  EXPECT_EQ(std::signal(SIGHUP, SIG_DFL), SIG_IGN);
}

// A write into a pipe would have waited for its reader for ever.
TEST(StopSignals, EndTheWaitingForThePipesReader) {
  const TempDir dir;
  ASSERT_EQ(mkfifo((dir / "pipe").c_str(), 0600), 0);
  const StopSignals signals;
  const pthread_t writer = pthread_self();
  std::thread sender([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    pthread_kill(writer, SIGINT);
  });
  EXPECT_EQ(exit_code_of([&] { AtomicFileWriter waits(dir / "pipe"); }), kExitInterrupted);
  sender.join();
}

}  // namespace
}  // namespace qtune
