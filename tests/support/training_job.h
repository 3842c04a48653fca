// A small training in a folder of its own: pre-tokenized data, a config, and the files that a run leaves.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "qtune/base/file.h"
#include "qtune/base/rng.h"
#include "support/process.h"
#include "support/temp_dir.h"

namespace qtune {

using Arguments = std::vector<std::string>;

/// Both methods of Q-Tuning, half of the samples, half of the tokens.
inline const Arguments kQtuningHalf = {"pruning.sample.method=qtuning", "pruning.sample.keep=0.5",
                                       "pruning.token.method=qtuning", "pruning.token.keep=0.5"};

inline Arguments operator+(Arguments a, const Arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline std::vector<nlohmann::json> read_json_lines(const std::filesystem::path& path) {
  std::vector<nlohmann::json> lines;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

inline void write_json_lines(const std::filesystem::path& path, const std::vector<nlohmann::json>& lines) {
  std::string text;
  for (const auto& line : lines) text += line.dump() + "\n";
  write_file_atomic(path, text);
}

inline int64_t count_lines(const std::filesystem::path& path) {
  std::ifstream in(path);
  return std::count(std::istreambuf_iterator<char>(in), {}, '\n');
}

/// Pre-tokenized samples with a prompt, two answers that end with the fixtures' end of sequence, and text between them.
inline std::vector<nlohmann::json> random_samples(int count, uint64_t seed) {
  constexpr uint64_t kVocabulary = 331;
  constexpr int32_t kEndOfSequence = 2;
  std::vector<nlohmann::json> samples;
  for (int i = 0; i < count; ++i) {
    CounterRng rng(seed, static_cast<uint64_t>(i));
    // A narrower vocabulary in some samples: perplexities and entropies come apart once a model has seen them.
    const uint64_t range = i % 3 == 0 ? 12 : kVocabulary - 3;
    std::vector<int32_t> ids, labels;
    const auto add = [&](uint64_t length, bool trained) {
      for (uint64_t k = 0; k < length; ++k) {
        ids.push_back(3 + static_cast<int32_t>(rng.next_below(range)));
        if (trained && k + 1 == length) ids.back() = kEndOfSequence;
        labels.push_back(trained ? ids.back() : -100);
      }
    };
    for (int turn = 0; turn < 2; ++turn) {
      add(2 + rng.next_below(8), false);
      add(2 + rng.next_below(14), true);
    }
    samples.push_back({{"id", fmt::format("r{}", i)}, {"input_ids", ids}, {"labels", labels}});
  }
  return samples;
}

class TrainingJob {
 public:
  explicit TrainingJob(const std::string& model = "llama_tied")
      : model_(std::filesystem::path(QTUNE_TEST_DATA) / "models" / model) {}

  std::filesystem::path operator/(const std::string& name) const { return folder_ / name; }
  const std::filesystem::path& model() const { return model_; }
  std::string data() const { return (folder_ / "data.jsonl").string(); }
  void write_data(const std::vector<nlohmann::json>& samples) const { write_json_lines(data(), samples); }

  /// Arguments of a training into folder `run`. `overrides` come last and win.
  Arguments train(const std::string& run, const Arguments& overrides = {}) const {
    write_file_atomic(folder_ / "config.yaml",
                      "model_name_or_path: " + model_.string() + "\ndataset: " + data() +
                          "\nfinetuning_type: full\ncutoff_len: 512\nper_device_train_batch_size: 4\n"
                          "gradient_accumulation_steps: 2\nlearning_rate: 1.0e-3\nweight_decay: 0.1\n"
                          "lr_scheduler_type: cosine\nlogging_steps: 1\nsave_strategy: \"no\"\n");
    return Arguments{"train", "--config", (folder_ / "config.yaml").string(),
                     "output_dir=" + (folder_ / run).string()} +
           overrides;
  }

  /// The same from start to end. Fails the test when it does not end well.
  ProcessResult run(const std::string& run, const Arguments& overrides = {}) const {
    ProcessResult result = run_process(train(run, overrides));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result;
  }

  std::vector<nlohmann::json> metrics(const std::string& run) const { return lines_of(run, "metrics.jsonl"); }
  std::vector<nlohmann::json> decisions(const std::string& run) const { return lines_of(run, "decisions.jsonl"); }
  int64_t steps_logged(const std::string& run) const { return count_lines(folder_ / run / "metrics.jsonl"); }

  /// Bytes of a file in the checkpoint after `step` updates.
  std::string in_checkpoint(const std::string& run, int64_t step, const std::string& file) const {
    return read_file(folder_ / run / fmt::format("checkpoint-{}", step) / file);
  }
  /// Weights in float32 and the optimizer's moments, in one text: equal only bit by bit.
  std::string weights(const std::string& run, int64_t step) const {
    return in_checkpoint(run, step, "model.safetensors") + in_checkpoint(run, step, "optimizer.safetensors");
  }

  /// Names of everything in a run's folder that starts with `prefix`, sorted.
  std::vector<std::string> files(const std::string& run, const std::string& prefix = "") const {
    std::vector<std::string> names;
    if (!std::filesystem::exists(folder_ / run)) return names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / run)) {
      std::string name = entry.path().filename().string();
      if (name.starts_with(prefix)) names.push_back(std::move(name));
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  /// Every file below a run's folder, with its bytes.
  std::map<std::string, std::string> contents(const std::string& run) const {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_ / run)) {
      if (entry.is_regular_file()) files[entry.path().string()] = read_file(entry.path());
    }
    return files;
  }

 private:
  std::vector<nlohmann::json> lines_of(const std::string& run, const char* file) const {
    return read_json_lines(folder_ / run / file);
  }

  TempDir folder_;
  std::filesystem::path model_;
};

}  // namespace qtune
