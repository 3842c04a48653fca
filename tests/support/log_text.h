// What is logged while a test runs.
#pragma once

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace qtune {

/// What is logged while this exists.
class LogText {
 public:
  LogText() : old_(spdlog::default_logger()) {
    const auto sink = std::make_shared<spdlog::sinks::ostream_sink_st>(text_);
    sink->set_pattern("%l: %v");
    spdlog::set_default_logger(std::make_shared<spdlog::logger>("", sink));
  }
  ~LogText() { spdlog::set_default_logger(old_); }
  LogText(const LogText&) = delete;
  LogText& operator=(const LogText&) = delete;

  std::string text() const { return text_.str(); }

  std::vector<std::string> lines_with(const std::string& part) const {
    std::vector<std::string> lines;
    std::istringstream in(text_.str());
    for (std::string line; std::getline(in, line);) {
      if (line.find(part) != std::string::npos) lines.push_back(line);
    }
    return lines;
  }

 private:
  std::shared_ptr<spdlog::logger> old_;
  std::ostringstream text_;
};

}  // namespace qtune
