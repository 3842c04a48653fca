#include "qtune/metrics/tensorboard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>
#include <vector>

#include "event_message.h"
#include "qtune/base/error.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::string_view kPrefix = "events.out.tfevents.";

[[noreturn]] void fail(const fs::path& path, const char* verb) {
  const int reason = errno;
  const char* hint = reason == ENOSPC ? " ---> free some space on that disk and resume the run" : "";
  throw CheckpointError(fmt::format("{}: cannot {}: {}{}", path.string(), verb, std::strerror(reason), hint));
}

std::vector<fs::path> event_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with(kPrefix)) files.push_back(entry.path());
  }
  return files;
}

/// The second in an event file's name; 0 for another name.
int64_t second_of(const fs::path& file) {
  const std::string name = file.filename().string();
  int64_t second = 0;
  std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), second);
  return second;
}

/// TensorBoard reads a folder's files in the order of their names: this one is the last.
fs::path new_event_file(const fs::path& folder) {
  int64_t second = std::time(nullptr);
  for (const fs::path& file : event_files(folder)) second = std::max(second, second_of(file) + 1);
  char host[256] = "localhost";
  ::gethostname(host, sizeof host - 1);
  return folder / fmt::format("{}{}.{}.{}.0", kPrefix, second, host, ::getpid());
}

/// Every number of a metrics line under its key, but for the step; those of an object under "object/key".
void add_scalars(SummaryMessage& summary, const Json& line, const std::string& prefix) {
  for (const auto& [key, value] : line.items()) {
    if (key == "step") continue;
    if (value.is_object()) add_scalars(summary, value, prefix + key + "/");
    if (value.is_number()) summary.add_scalar(prefix + key, value.get<double>());
  }
}

std::vector<double> finite(std::span<const SampleDecision> samples, double SampleDecision::*score) {
  std::vector<double> values;
  for (const SampleDecision& sample : samples) {
    if (std::isfinite(sample.*score)) values.push_back(sample.*score);
  }
  return values;
}

}  // namespace

TensorBoardWriter::TensorBoardWriter(const fs::path& output_dir, int64_t first_step) {
  if (first_step == 0) {
    for (const fs::path& old : event_files(output_dir)) fs::remove(old);
  }
  path_ = new_event_file(output_dir);
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0) fail(path_, "open");
  append(version_record() + start_record(first_step));
}

TensorBoardWriter::~TensorBoardWriter() {
  if (fd_ >= 0) ::close(fd_);
}

void TensorBoardWriter::write(const StepMetrics& metrics, std::span<const SampleDecision> judged) {
  SummaryMessage summary;
  add_scalars(summary, to_json(metrics), "train/");
  summary.add_histogram("scores/perplexity", finite(judged, &SampleDecision::perplexity));
  summary.add_histogram("scores/entropy", finite(judged, &SampleDecision::entropy));
  append(summary_record(metrics.step, summary));
}

void TensorBoardWriter::write(const EvalMetrics& metrics) {
  SummaryMessage summary;
  const Json line = to_json(metrics);
  for (const auto& [key, value] : line.items()) {
    if (key == "step" || !value.is_number()) continue;
    summary.add_scalar("eval/" + (key.starts_with("eval_") ? key.substr(5) : key), value.get<double>());
  }
  append(summary_record(metrics.step, summary));
}

void TensorBoardWriter::write_text(int64_t step, std::string_view tag, std::string_view markdown) {
  SummaryMessage summary;
  summary.add_text(tag, markdown);
  append(summary_record(step, summary));
}

void TensorBoardWriter::append(std::string_view records) {
  while (!records.empty()) {
    const ssize_t n = ::write(fd_, records.data(), records.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(path_, "write");
    records.remove_prefix(static_cast<size_t>(n));
  }
}

void TensorBoardWriter::sync() {
  if (::fsync(fd_) != 0) fail(path_, "sync");
}

}  // namespace qtune
