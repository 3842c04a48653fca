#include "final_save.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/checkpoint/final_model.h"
#include "qtune/model/save_model.h"

namespace qtune {
namespace {

void save_once(TrainingRun& run) {
  forget_final_model(run.output_dir);
  save_trained(run.model, run.config().model_name_or_path, run.output_dir, Dtype::kBF16);
  note_final_model(run.output_dir, run.state.step);
  write_trainer_state(run.output_dir, run.state);
}

/// Of a failed write the text alone is left.
bool says_disk_is_full(const Error& e) {
  const std::string text = e.what();
  return text.find(std::strerror(ENOSPC)) != std::string::npos || text.find(std::strerror(EDQUOT)) != std::string::npos;
}

}  // namespace

void save_final_model(TrainingRun& run, const StopRequest& stop, const std::function<void()>& before_log) {
  using std::chrono::steady_clock;
  constexpr std::chrono::seconds kLongest(600), kBetween(5);
  const auto begin = steady_clock::now();
  for (bool said = false;; said = true) {
    try {
      return save_once(run);
    } catch (const Error& e) {
      if (!says_disk_is_full(e) || stop.asked() || steady_clock::now() - begin > kLongest) throw;
      before_log();
      if (!said) spdlog::warn("{}; waiting up to 10 minutes for it (Ctrl-C: no longer)", e.what());
    }
    const auto next = steady_clock::now() + kBetween;
    while (!stop.asked() && steady_clock::now() < next) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

}  // namespace qtune
