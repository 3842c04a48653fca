// Several ranks of one training job, each a qtune process of its own on this host, and comparisons of what they
// trained.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "qtune/formats/safetensors.h"
#include "support/ranks.h"
#include "support/training_job.h"

namespace qtune {

/// The processes of one job.
class RankProcesses {
 public:
  RankProcesses(int world_size, const Arguments& arguments) {
    const int port = free_port();
    for (int rank = 0; rank < world_size; ++rank) {
      ranks_.push_back(std::make_unique<QtuneProcess>(
          arguments,
          ProcessOptions{.environment = {"RANK=" + std::to_string(rank), "WORLD_SIZE=" + std::to_string(world_size),
                                         "LOCAL_RANK=" + std::to_string(rank),
                                         "LOCAL_WORLD_SIZE=" + std::to_string(world_size), "MASTER_ADDR=127.0.0.1",
                                         "MASTER_PORT=" + std::to_string(port)}}));
    }
  }
  QtuneProcess& operator[](int rank) { return *ranks_[static_cast<size_t>(rank)]; }

  std::vector<ProcessResult> wait() {
    std::vector<ProcessResult> results;
    for (const auto& rank : ranks_) results.push_back(rank->wait());
    return results;
  }

 private:
  std::vector<std::unique_ptr<QtuneProcess>> ranks_;
};

inline void run_ranks(const TrainingJob& job, const std::string& run, int world_size, const Arguments& overrides) {
  for (const ProcessResult& result : RankProcesses(world_size, job.train(run, overrides)).wait()) {
    EXPECT_EQ(result.exit_code, 0) << result.err;
  }
}

/// What all ranks of a job said of errors.
inline std::vector<std::string> errors_of(const std::vector<ProcessResult>& results) {
  std::vector<std::string> lines;
  for (const ProcessResult& result : results) {
    for (const std::string& line : result.error_lines("error: ")) lines.push_back(line);
  }
  return lines;
}

inline void expect_same_losses(const TrainingJob& job, const std::string& found, const std::string& expected) {
  const auto a = job.metrics(found), b = job.metrics(expected);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    for (const char* key : {"loss", "eval_loss", "grad_norm"}) {
      ASSERT_EQ(a[i].contains(key), b[i].contains(key)) << i;
      if (!a[i].contains(key)) continue;
      EXPECT_NEAR(a[i][key].get<double>() / b[i][key].get<double>(), 1, 1e-5) << key << " of line " << i;
    }
  }
}

/// What is kept of each sample. Scores differ in their last bits once weights do.
inline void expect_same_decisions(const TrainingJob& job, const std::string& found, const std::string& expected) {
  auto a = job.decisions(found), b = job.decisions(expected);
  for (auto* lines : {&a, &b}) {
    for (nlohmann::json& line : *lines) {
      for (const char* key : {"rank", "ppl", "entropy", "quadrant"}) line.erase(key);
    }
  }
  EXPECT_EQ(a, b);
}

inline double largest_weight_difference(const TrainingJob& job, const std::string& a, const std::string& b,
                                        int64_t step, const std::string& file = "model.safetensors") {
  const std::string folder = "checkpoint-" + std::to_string(step);
  const SafetensorsFile first(job / a / folder / file), second(job / b / folder / file);
  double largest = 0;
  for (const TensorView& view : first.tensors()) {
    const TensorView& other = second.at(view.name);
    std::vector<float> x(view.bytes.size() / 4), y(x.size());
    to_floats(view.bytes, view.dtype, x);
    to_floats(other.bytes, other.dtype, y);
    for (size_t i = 0; i < x.size(); ++i) largest = std::max(largest, static_cast<double>(std::abs(x[i] - y[i])));
  }
  return largest;
}

}  // namespace qtune
