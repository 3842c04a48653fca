#include "qtune/sweep/run_sweep.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <memory>
#include <thread>

#include "child_process.h"
#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/log.h"
#include "qtune/config/print_config.h"
#include "results.h"
#include "sweep_folder.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

constexpr auto kPoll = std::chrono::milliseconds(20);
constexpr const char* kLogFile = "sweep.log";

volatile std::sig_atomic_t stop_requests = 0;
void on_stop(int) { stop_requests = stop_requests + 1; }

/// SIGINT and SIGTERM are counted while it lives.
class StopRequests {
 public:
  StopRequests() {
    stop_requests = 0;
    struct sigaction action {};
    action.sa_handler = on_stop;
    sigaction(SIGINT, &action, &old_int_);
    sigaction(SIGTERM, &action, &old_term_);
  }
  ~StopRequests() {
    sigaction(SIGINT, &old_int_, nullptr);
    sigaction(SIGTERM, &old_term_, nullptr);
  }
  StopRequests(const StopRequests&) = delete;
  StopRequests& operator=(const StopRequests&) = delete;

 private:
  struct sigaction old_int_ {
  }, old_term_{};
};

/// What an error line of the log from `offset` on says, without its "error: ".
std::string last_error(const fs::path& log, std::streamoff offset) {
  constexpr std::string_view kMark = "error: ";
  std::ifstream in(log);
  in.seekg(offset);
  std::string error;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(kMark)) error = line.substr(kMark.size());
  }
  return error;
}

/// A run that is being trained or evaluated.
struct ActiveRun {
  size_t run;
  size_t slot;
  RunState state;
  std::unique_ptr<ChildProcess> child;
  std::streamoff log_start = 0;
  steady_clock::time_point started = steady_clock::now();
};

class SweepRunner {
 public:
  SweepRunner(const Sweep& sweep, const SweepOptions& options)
      : sweep_(sweep), options_(options), folder_(sweep.folder), plans_(plan_runs(sweep, options.changed_runs)) {
    const size_t num_slots = sweep.devices.empty() ? static_cast<size_t>(options.num_jobs) : sweep.devices.size();
    for (size_t slot = 0; slot < num_slots; ++slot) free_slots_.push_back(slot);
    for (size_t run = 0; run < plans_.size(); ++run) {
      results_.push_back({plans_[run].state, {}});
      if (plans_[run].done) read_metrics(run);
      if (!plans_[run].done) waiting_.push_back(run);
    }
  }

  int run() {
    const StopRequests handlers;
    num_slots_ = free_slots_.size();
    spdlog::info("{} runs, {} finished already; tables in {}", results_.size(), results_.size() - waiting_.size(),
                 sweep_.folder.string());
    write_results(sweep_, results_);
    try {
      while (!active_.empty() || (!waiting_.empty() && stop_requests == 0)) {
        start_waiting();
        pass_on_stop();
        reap();
        std::this_thread::sleep_for(kPoll);
      }
    } catch (...) {
      end_runs();
      throw;
    }
    return conclude();
  }

 private:
  fs::path folder_of(size_t run) const { return sweep_.folder_of(sweep_.runs[run]); }
  std::string title(size_t run) const {
    return fmt::format("[{}/{}] {}", run + 1, results_.size(), sweep_.runs[run].name);
  }

  void start_waiting() {
    while (!waiting_.empty() && !free_slots_.empty() && stop_requests == 0) {
      const size_t run = waiting_.front();
      if (is_in_use(folder_of(run))) {
        if (said_waiting_ != static_cast<long>(run)) {
          spdlog::info("{}: a training of an earlier sweep still stops there; waiting", title(run));
        }
        said_waiting_ = static_cast<long>(run);
        return;
      }
      waiting_.pop_front();
      const size_t slot = free_slots_.front();
      free_slots_.pop_front();
      start(run, slot);
    }
  }

  /// A run that can't even be started has failed; the others may do better.
  void start(size_t run, size_t slot) {
    ActiveRun active{.run = run, .slot = slot, .state = plans_[run].state, .child = nullptr};
    active.state.exit_code = 0;
    active.state.fault.clear();
    try {
      if (plans_[run].trains) {
        start_training(active);
      } else {
        start_evaluation(active);
      }
      active_.push_back(std::move(active));
    } catch (const std::exception& e) {
      fail(active, kExitError, e.what());
    }
  }

  void start_training(ActiveRun& active) {
    const fs::path folder = folder_of(active.run);
    const TrainConfig& config = sweep_.runs[active.run].loaded.config;
    if (plans_[active.run].clears) fs::remove_all(folder);
    active.state = {.status = RunStatus::kStarted, .settings = settings_of(config), .eval = "", .fault = ""};
    write_run_state(folder, active.state);
    write_file_atomic(folder / "run.yaml", to_yaml(config));
    std::vector<std::string> arguments = {"train", "--config", (folder / "run.yaml").string()};
    if (plans_[active.run].anew) arguments.emplace_back("overwrite_output_dir=true");
    spdlog::info("{}: {}", title(active.run), content_of(folder).has_checkpoint ? "going on" : "training");
    launch(active, arguments);
  }

  void start_evaluation(ActiveRun& active) {
    const fs::path folder = folder_of(active.run);
    const TrainConfig& config = sweep_.runs[active.run].loaded.config;
    const SweepEval& eval = *sweep_.eval;
    const bool lora = config.finetuning_type == "lora";
    std::vector<std::string> arguments = {"eval", "--model", lora ? config.model_name_or_path : folder.string()};
    if (lora) arguments.insert(arguments.end(), {"--adapter", folder.string()});
    arguments.insert(arguments.end(), {"--tasks", fmt::format("{}", fmt::join(eval.tasks, ",")), "--data-dir",
                                       eval.data_dir, "--out", eval_folder(folder).string()});
    if (eval.limit) arguments.insert(arguments.end(), {"--limit", *eval.limit});
    if (eval.style) arguments.insert(arguments.end(), {"--style", *eval.style});
    if (config.use_cpu) arguments.insert(arguments.end(), {"--device", "cpu"});
    if (config.bf16) arguments.insert(arguments.end(), {"--dtype", "bfloat16"});
    // Answers of other settings are not these. `qtune eval` itself goes on with those of its own.
    if (active.state.status == RunStatus::kFinished) fs::remove_all(eval_folder(folder));
    active.state.status = RunStatus::kTrained;
    active.state.eval = eval_text(sweep_.eval);
    write_run_state(folder, active.state);
    spdlog::info("{}: evaluating", title(active.run));
    launch(active, arguments);
  }

  void launch(ActiveRun& active, const std::vector<std::string>& arguments) {
    std::vector<std::string> environment;
    if (!sweep_.devices.empty()) environment.push_back("CUDA_VISIBLE_DEVICES=" + sweep_.devices[active.slot]);
    if (num_slots_ > 1 && std::getenv("OMP_NUM_THREADS") == nullptr) {
      const size_t share = std::thread::hardware_concurrency() / num_slots_;
      environment.push_back(fmt::format("OMP_NUM_THREADS={}", std::max<size_t>(share, 1)));
    }
    const fs::path log = folder_of(active.run) / kLogFile;
    active.log_start = fs::exists(log) ? static_cast<std::streamoff>(fs::file_size(log)) : 0;
    active.started = steady_clock::now();
    active.child = std::make_unique<ChildProcess>(options_.program, arguments, environment, log);
  }

  /// The first request asks the runs to save; one more, of someone who won't wait, ends them.
  void pass_on_stop() {
    if (stop_requests == 0 || active_.empty()) return;
    if (!stopping_) {
      stopping_ = true;
      spdlog::warn("stopping: {} to save and end (Ctrl-C again: at once)",
                   active_.size() == 1 ? "waiting for the run" : "waiting for the runs");
      for (const ActiveRun& active : active_) active.child->send(SIGTERM);
    } else if (stop_requests > 1 && !killed_) {
      killed_ = true;
      for (const ActiveRun& active : active_) active.child->send(SIGKILL);
    }
  }

  /// One after the other: where something throws, all that still run are in active_.
  void reap() {
    for (size_t k = 0; k < active_.size();) {
      const std::optional<int> code = active_[k].child->exit_code();
      if (!code || go_on(active_[k], *code)) {
        ++k;
        continue;
      }
      free_slots_.push_back(active_[k].slot);
      active_.erase(active_.begin() + static_cast<std::ptrdiff_t>(k));
    }
  }

  /// After a process of the run ended. Returns whether another was started.
  bool go_on(ActiveRun& active, int code) {
    if (stopping_ && code != kExitOk) {
      spdlog::info("{}: stopped", title(active.run));
      return false;
    }
    if (code != kExitOk) {
      fail(active, code, fault_of(active, code), /*frees_slot=*/false);
      return false;
    }
    const bool trained = active.state.status == RunStatus::kStarted;
    if (trained && sweep_.eval) {
      active.state.status = RunStatus::kTrained;
      keep_state(active);
      if (stopping_) return false;
      try {
        start_evaluation(active);
        return true;
      } catch (const std::exception& e) {
        fail(active, kExitError, e.what(), /*frees_slot=*/false);
        return false;
      }
    }
    finish(active);
    return false;
  }

  std::string fault_of(const ActiveRun& active, int code) const {
    const fs::path log = folder_of(active.run) / kLogFile;
    const std::string error = last_error(log, active.log_start);
    if (!error.empty()) return error;
    return code > 128 ? fmt::format("ended by signal {} ---> see {}", code - 128, log.string())
                      : fmt::format("no error was said ---> see {}", log.string());
  }

  void finish(ActiveRun& active) {
    active.state.status = RunStatus::kFinished;
    keep_state(active);
    results_[active.run].state = active.state;
    read_metrics(active.run);
    const std::chrono::duration<double> taken = steady_clock::now() - active.started;
    std::string metrics;
    for (const RunMetric& metric : results_[active.run].metrics) {
      if (metric.column.better == Better::kNeither || !metric.value) continue;
      metrics += fmt::format(", {} {:.4f}", metric.column.name, *metric.value);
    }
    spdlog::info("{}: finished after {:.1f} s{}", title(active.run), taken.count(), metrics);
    keep_results();
  }

  void fail(ActiveRun& active, int code, const std::string& fault, bool frees_slot = true) {
    // What was trained stays trained: only the evaluation is done again.
    if (active.state.status != RunStatus::kTrained) active.state.status = RunStatus::kFailed;
    active.state.exit_code = code;
    active.state.fault = fault.substr(0, fault.find('\n'));
    keep_state(active);
    results_[active.run].state = active.state;
    results_[active.run].state.status = RunStatus::kFailed;
    if (frees_slot) free_slots_.push_back(active.slot);
    spdlog::warn("{}: failed with exit code {}: {}", title(active.run), code, active.state.fault);
    keep_results();
  }

  // A full disk is no reason to end the other runs: what can't be written now is tried again when the next one ends.

  void keep_state(const ActiveRun& active) {
    try {
      write_run_state(folder_of(active.run), active.state);
    } catch (const std::exception& e) {
      spdlog::warn("{}: its state can't be written: {}", title(active.run), e.what());
    }
  }

  void keep_results() {
    try {
      write_results(sweep_, results_);
      results_fault_.clear();
    } catch (const std::exception& e) {
      results_fault_ = e.what();
      spdlog::warn("the tables can't be written: {}", results_fault_);
    }
  }

  /// Runs save and end by themselves when they are asked to; a runner that fails waits for them.
  void end_runs() {
    for (const ActiveRun& active : active_) active.child->send(SIGTERM);
    for (const ActiveRun& active : active_) {
      while (!active.child->exit_code() && stop_requests < 2) std::this_thread::sleep_for(kPoll);
    }
  }

  void read_metrics(size_t run) {
    try {
      results_[run].metrics = read_run_metrics(folder_of(run));
    } catch (const std::exception& e) {  // a file system's, too
      spdlog::warn("{}: no numbers in the tables: {}", title(run), e.what());
    }
  }

  int conclude() {
    if (!results_fault_.empty()) write_results(sweep_, results_);  // once more, or the sweep ends with its error
    std::vector<std::string> failed;
    size_t num_finished = 0;
    for (size_t run = 0; run < results_.size(); ++run) {
      num_finished += results_[run].state.status == RunStatus::kFinished ? 1 : 0;
      if (results_[run].state.status == RunStatus::kFailed) failed.push_back(sweep_.runs[run].name);
    }
    if (stop_requests > 0) {
      spdlog::warn("stopped with {} of {} runs finished ---> run the same command again to go on", num_finished,
                   results_.size());
      return kExitInterrupted;
    }
    spdlog::info("{} of {} runs finished; {}", num_finished, results_.size(), (sweep_.folder / "table.md").string());
    if (failed.empty()) return kExitOk;
    spdlog::error("{} of {} runs failed: {} ---> see sweep.log in their folders; the same command tries them again",
                  failed.size(), results_.size(), fmt::join(failed, ", "));
    return kExitError;
  }

  const Sweep& sweep_;
  const SweepOptions options_;
  const SweepFolder folder_;  // before plans_, which read what is in it
  std::vector<RunPlan> plans_;
  std::vector<RunResult> results_;
  std::deque<size_t> waiting_, free_slots_;
  size_t num_slots_ = 1;
  std::vector<ActiveRun> active_;
  bool stopping_ = false, killed_ = false;
  std::string results_fault_;  // why the tables are not those of results_; empty: they are
  long said_waiting_ = -1;
};

}  // namespace

int run_sweep(const Sweep& sweep, const SweepOptions& options) { return SweepRunner(sweep, options).run(); }

}  // namespace qtune
