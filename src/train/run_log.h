// train.log: what is said on the console, with time and level, and the progress lines.
#pragma once

#include <spdlog/sinks/base_sink.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>

namespace qtune {

/// Keeps messages until the run's folder is known to be good, then appends them and all later ones to a file there.
class RunLog : public spdlog::sinks::base_sink<std::mutex> {
 public:
  RunLog();

  /// Throws: Error naming the path when it can't be opened.
  void open(const std::filesystem::path& path);

  /// A line for the file alone.
  void write_line(const std::string& text);

 private:
  void sink_it_(const spdlog::details::log_msg& message) override;
  void flush_() override { file_.flush(); }

  std::string kept_;  // until there is a file
  std::ofstream file_;
};

/// A log that gets every message from now on, to the end of the program: its last error is said after the run.
std::shared_ptr<RunLog> start_run_log();

}  // namespace qtune
