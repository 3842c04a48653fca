// The cache of tokenized samples, through load_samples.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <thread>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/log.h"
#include "qtune/text/load_samples.h"
#include "support/byte_tokenizer.h"
#include "support/dead_process.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

class SampleCache : public testing::Test {
 protected:
  SampleCache() {
    write_byte_tokenizer(dir_.path());
    write_data("apple");
    options_ = {.datasets = {{.file = data_.string()}},
                .model_folder = dir_.path(),
                .template_name = "chatml",
                .cache_folder = dir_ / "cache"};
  }

  void write_data(const std::string& answer) const {
    std::ofstream(data_) << fmt::format("{{\"prompt\":\"p\",\"completion\":\"{}\"}}\n", answer);
  }
  /// Other content that a look at the file's size and time does not tell.
  void change_unseen(const std::string& answer) const {
    const auto time = fs::last_write_time(data_);
    write_data(answer);
    fs::last_write_time(data_, time);
  }
  std::string answer() const {
    const LoadedSamples loaded = load_samples(options_);
    const auto tokenizer = Tokenizer::load_tokenizer(dir_.path());
    std::string text;
    const TokenizedSample sample = loaded.samples[0];
    for (size_t k = 0; k < sample.input_ids.size(); ++k) {
      if (sample.trained[k] && !sample.end_of_turn[k]) text += tokenizer->decode(std::vector{sample.input_ids[k]});
    }
    return text;
  }
  std::vector<std::string> cache_files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(options_.cache_folder)) names.push_back(entry.path().filename());
    return names;
  }

  TempDir dir_;
  fs::path data_ = dir_ / "d.jsonl";
  LoadSamplesOptions options_;
};

TEST_F(SampleCache, ASecondLoadDoesNotTokenizeAgain) {
  EXPECT_EQ(answer(), "apple");
  change_unseen("grape");
  EXPECT_EQ(answer(), "apple");
  options_.cache_use = CacheUse::kOverwrite;
  EXPECT_EQ(answer(), "grape");
  options_.cache_use = CacheUse::kRead;
  EXPECT_EQ(answer(), "grape");
  EXPECT_EQ(cache_files().size(), 1u);
}

TEST_F(SampleCache, WithoutAFolderNothingIsKept) {
  options_.cache_folder = "";
  EXPECT_EQ(answer(), "apple");
  change_unseen("grape");
  EXPECT_EQ(answer(), "grape");
  EXPECT_FALSE(fs::exists(dir_ / "cache"));
}

TEST_F(SampleCache, AChangeOfTheFileIsSeen) {
  answer();
  write_data("pineapple");
  EXPECT_EQ(answer(), "pineapple");
  write_data("pine tree");  // as long as before
  fs::last_write_time(data_, fs::last_write_time(data_) + std::chrono::seconds(2));
  EXPECT_EQ(answer(), "pine tree");
}

TEST_F(SampleCache, AChangeOfTokenizerTemplateOrSettingsIsSeen) {
  const auto reloads = [&] {
    answer();
    change_unseen("grape");
    const bool fresh = answer() == "grape";
    change_unseen("apple");
    options_.cache_use = CacheUse::kOverwrite;
    answer();
    options_.cache_use = CacheUse::kRead;
    return fresh;
  };
  ASSERT_FALSE(reloads());
  const auto changed = [&](const auto& change) {
    const LoadSamplesOptions before = options_;
    change_unseen("grape");
    change();
    const bool fresh = answer() == "grape";
    options_ = before;
    change_unseen("apple");
    return fresh;
  };
  EXPECT_FALSE(changed([&] { options_.num_threads = 3; }));
  EXPECT_TRUE(changed([&] { options_.template_name = "vicuna"; }));
  EXPECT_TRUE(changed([&] { options_.tokenize.cutoff_len = 500; }));
  EXPECT_TRUE(changed([&] { options_.tokenize.excess = ExcessLength::kDrop; }));
  EXPECT_TRUE(changed([&] { options_.tokenize.history = HistoryTraining::kLastAnswer; }));
  EXPECT_TRUE(changed([&] { options_.tokenize.eos_ids = {3}; }));
  EXPECT_TRUE(changed([&] { options_.untrained = UntrainedSamples::kKeep; }));
  EXPECT_TRUE(changed([&] { options_.datasets[0].num_samples = 1; }));
  EXPECT_TRUE(changed([&] { options_.datasets[0].columns = {{"prompt", "prompt"}, {"response", "completion"}}; }));
  EXPECT_TRUE(
      changed([&] { std::ofstream(dir_ / "tokenizer_config.json") << R"({"eos_token": "<|im_end|>", "x": 1})"; }));
}

TEST_F(SampleCache, ADamagedFileIsMadeAgain) {
  answer();
  const fs::path file = options_.cache_folder / cache_files().at(0);
  fs::resize_file(file, fs::file_size(file) - 1);
  change_unseen("grape");
  EXPECT_EQ(answer(), "grape");
}

TEST_F(SampleCache, WhatAKilledRunLeftIsRemoved) {
  answer();
  const fs::path file = options_.cache_folder / cache_files().at(0);
  std::ofstream(fmt::format("{}.tmp-{}-0", file.string(), dead_process())) << "half of it";
  const std::string living = fmt::format("{}.tmp-{}-0", file.string(), ::getppid());
  std::ofstream(living) << "another's half";
  std::ofstream(options_.cache_folder / "other.samples.tmp-5-0") << "another's";
  options_.cache_use = CacheUse::kOverwrite;
  answer();
  EXPECT_THAT(cache_files(),
              testing::UnorderedElementsAre(file.filename(), fs::path(living).filename(), "other.samples.tmp-5-0"));
}

TEST_F(SampleCache, CountsComeFromTheCacheToo) {
  std::ofstream(data_, std::ios::app) << "nonsense\n";
  options_.datasets[0].on_bad_data = OnBadData::kSkip;
  EXPECT_EQ(load_samples(options_).counts.num_bad, 1);
  EXPECT_EQ(load_samples(options_).counts.num_bad, 1);
  EXPECT_EQ(load_samples(options_).tokenizer, nullptr);  // the second one did not need it
}

TEST_F(SampleCache, BadDataLeavesNothingBehind) {
  std::ofstream(data_, std::ios::app) << "nonsense\n";
  EXPECT_THROW(load_samples(options_), DataError);
  EXPECT_TRUE(cache_files().empty());
}

TEST_F(SampleCache, AFolderThatCannotBeWrittenToOnlyCostsTime) {
  std::ofstream(dir_ / "file") << "x";
  options_.cache_folder = dir_ / "file" / "cache";
  EXPECT_EQ(answer(), "apple");
}

TEST_F(SampleCache, AFileThatCannotBeWrittenOnlyCostsTime) {
  answer();
  const fs::path file = options_.cache_folder / cache_files().at(0);
  fs::remove(file);
  fs::create_directories(file / "in the way");
  EXPECT_EQ(answer(), "apple");
}

TEST_F(SampleCache, ManyProcessesAtOnceGetTheSameAndLeaveOneFile) {
  std::string text;
  for (int i = 0; i < 3000; ++i) text += fmt::format("{{\"prompt\":\"p\",\"completion\":\"{}\"}}\n", i);
  std::ofstream(data_) << text;
  options_.num_threads = 1;
  std::vector<pid_t> children;
  for (int i = 0; i < 6; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      int status = 1;
      try {
        const LoadedSamples loaded = load_samples(options_);
        status = loaded.samples.size() == 3000 && loaded.samples[2999].id.line == 3000 ? 0 : 2;
      } catch (const std::exception& e) {
        fmt::print(stderr, "{}\n", e.what());
      }
      ::_exit(status);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(cache_files().size(), 1u);
}

/// Holds the lock of a cache file, as a process that makes it does.
class HeldLock {
 public:
  explicit HeldLock(const fs::path& file)
      : path_(file.string() + ".lock"), fd_(::open(path_.c_str(), O_RDWR | O_CREAT, 0644)) {
    if (::flock(fd_, LOCK_EX) != 0) throw std::runtime_error("flock failed");
  }
  ~HeldLock() {
    ::flock(fd_, LOCK_UN);  // processes forked meanwhile have the descriptor, too
    ::close(fd_);
  }
  HeldLock(const HeldLock&) = delete;
  HeldLock& operator=(const HeldLock&) = delete;

  void take_file_away() const { fs::remove(path_); }

 private:
  fs::path path_;
  int fd_;
};

/// Another process that loads the samples; its log tells how it went.
class Loader {
 public:
  Loader(const LoadSamplesOptions& options, fs::path log) : log_(std::move(log)), pid_(::fork()) {
    if (pid_ != 0) return;
    const int fd = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ::dup2(fd, STDOUT_FILENO);
    ::dup2(fd, STDERR_FILENO);
    spdlog::flush_on(spdlog::level::info);
    int status = 1;
    try {
      load_samples(options);
      status = 0;
    } catch (const std::exception& e) {
      fmt::print(stderr, "{}\n", e.what());
    }
    std::fflush(stdout);
    ::_exit(status);
  }
  bool has_said(const std::string& text) const {
    return fs::exists(log_) && read_file(log_).find(text) != std::string::npos;
  }
  void wait_until_said(const std::string& text) const {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!has_said(text)) {
      if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("not said: " + text);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  bool is_running() const {
    siginfo_t ended{};
    return ::waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid == 0;
  }
  int exit_status() const {
    int status = -1;
    ::waitpid(pid_, &status, 0);
    return status;
  }

 private:
  fs::path log_;
  pid_t pid_;
};

constexpr const char* kWaits = "another process tokenizes it: waiting";
constexpr const char* kReuses = "tokenized before, taken from";

TEST_F(SampleCache, OfThoseThatOverwriteItTogetherOneTokenizes) {
  answer();
  change_unseen("grape");
  options_.cache_use = CacheUse::kOverwrite;
  std::vector<std::unique_ptr<Loader>> loaders;
  {
    const HeldLock lock(options_.cache_folder / cache_files().at(0));
    for (const char* name : {"a.log", "b.log", "c.log"})
      loaders.push_back(std::make_unique<Loader>(options_, dir_ / name));
    for (const auto& loader : loaders) loader->wait_until_said(kWaits);
  }
  int num_reused = 0;
  for (const auto& loader : loaders) {
    EXPECT_EQ(loader->exit_status(), 0);
    num_reused += loader->has_said(kReuses) ? 1 : 0;
  }
  EXPECT_EQ(num_reused, 2);
  options_.cache_use = CacheUse::kRead;
  EXPECT_EQ(answer(), "grape");
}

TEST_F(SampleCache, ALockThatItsHolderTookAwayIsNoLock) {
  answer();
  const fs::path file = options_.cache_folder / cache_files().at(0);
  options_.cache_use = CacheUse::kOverwrite;
  std::unique_ptr<Loader> waiter;
  std::unique_ptr<HeldLock> latecomer;
  {
    const HeldLock lock(file);
    waiter = std::make_unique<Loader>(options_, dir_ / "a.log");
    waiter->wait_until_said(kWaits);
    lock.take_file_away();
    latecomer = std::make_unique<HeldLock>(file);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_TRUE(waiter->is_running()) << "beside the latecomer";
  latecomer.reset();
  EXPECT_EQ(waiter->exit_status(), 0);
}

TEST(DefaultCacheFolder, IsTheUsersUnlessAnotherIsNamed) {
  ::setenv("HOME", "/home/ann", 1);
  ::unsetenv("QTUNE_CACHE");
  ::unsetenv("XDG_CACHE_HOME");
  EXPECT_EQ(default_cache_folder(), "/home/ann/.cache/qtune");
  ::setenv("XDG_CACHE_HOME", "/scratch/ann", 1);
  EXPECT_EQ(default_cache_folder(), "/scratch/ann/qtune");
  ::setenv("QTUNE_CACHE", "/fast/tokens", 1);
  EXPECT_EQ(default_cache_folder(), "/fast/tokens");
  ::setenv("QTUNE_CACHE", "", 1);
  EXPECT_EQ(default_cache_folder(), "");
}

}  // namespace
}  // namespace qtune
