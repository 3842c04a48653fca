#include "qtune/base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>

namespace qtune {
namespace {

/// Info lines stand as they are; others start with their level.
class ShortFormatter : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    if (message.level != spdlog::level::info) {
      const auto level = spdlog::level::to_string_view(message.level);
      message.color_range_start = out.size();
      out.append(level.data(), level.data() + level.size());
      message.color_range_end = out.size();
      const std::string_view separator = ": ";
      out.append(separator.data(), separator.data() + separator.size());
    }
    out.append(message.payload.data(), message.payload.data() + message.payload.size());
    out.push_back('\n');
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<ShortFormatter>(); }
};

}  // namespace

void setup_logging() {
  auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  sink->set_formatter(std::make_unique<ShortFormatter>());
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("qtune", sink));
}

void log_to_files(spdlog::level::level_enum level, const std::string& text) {
  const spdlog::details::log_msg message("qtune", level, text);
  const auto& sinks = spdlog::default_logger()->sinks();
  for (size_t i = 1; i < sinks.size(); ++i) sinks[i]->log(message);  // the first is setup_logging's
}

}  // namespace qtune
