#include "run_log.h"

#include "qtune/base/error.h"
#include "qtune/base/log.h"

namespace qtune {

RunLog::RunLog() { set_pattern("%Y-%m-%d %H:%M:%S.%e %l: %v"); }

void RunLog::open(const std::filesystem::path& path) {
  const std::lock_guard lock(mutex_);
  file_.open(path, std::ios::app);
  if (!file_) throw Error(path.string() + ": cannot open the log");
  file_ << kept_ << std::flush;
  kept_.clear();
}

void RunLog::write_line(const std::string& text) {
  log(spdlog::details::log_msg(spdlog::string_view_t("qtune"), spdlog::level::info, text));
}

void RunLog::sink_it_(const spdlog::details::log_msg& message) {
  spdlog::memory_buf_t line;
  formatter_->format(message, line);
  if (file_.is_open()) {
    file_.write(line.data(), static_cast<std::streamsize>(line.size()));
    file_.flush();
    file_.clear();  // a full disk ends no run because of this file
  } else {
    kept_.append(line.data(), line.size());
  }
}

std::shared_ptr<RunLog> start_run_log() {
  auto log = std::make_shared<RunLog>();
  spdlog::default_logger()->sinks().push_back(log);
  return log;
}

}  // namespace qtune
