// What goes wrong in `qtune train` ends in one line on stderr, the right exit code, and nothing half-written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include "support/training_job.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const Arguments kTwoSteps = {"max_steps=2"};

/// After one step with this, no weight is finite.
const Arguments kWild = {"learning_rate=1e39", "lr_scheduler_type=constant"};

class TrainingError : public testing::Test {
 protected:
  TrainingError() { job_.write_data(random_samples(20, 3)); }

  /// The command fails so, and leaves no folder.
  void expect_error(const Arguments& overrides, int exit_code, const std::string& part) {
    expect_one_error(run_process(job_.train("out", kTwoSteps + overrides)), exit_code, part);
    EXPECT_THAT(job_.files("out"), IsEmpty());
    EXPECT_FALSE(fs::exists(job_ / "out"));
  }

  /// A copy of the fixture's model folder to break.
  fs::path copy_model() {
    const fs::path folder = job_ / "model";
    fs::remove_all(folder);
    fs::create_directory(folder);
    for (const char* name : {"config.json", "generation_config.json", "model.safetensors"}) {
      fs::copy_file(job_.model() / name, folder / name);
    }
    return folder;
  }

  void edit_config(const fs::path& model, const std::string& key, const nlohmann::json& value) {
    auto config = nlohmann::json::parse(read_file(model / "config.json"));
    config[key] = value;
    write_file_atomic(model / "config.json", config.dump());
  }

  TrainingJob job_;
};

TEST_F(TrainingError, BadConfigNamesTheKey) {
  expect_error({"learning_rat=1"}, 2, "learning_rat: unknown key; did you mean learning_rate?");
  expect_error({"learning_rate=fast"}, 2, "learning_rate: expected number");
  expect_error({"pruning.token.method=qtuning"}, 2, "pruning.sample.method");
}

TEST_F(TrainingError, BadDataNamesFileAndLine) {
  std::vector<nlohmann::json> samples = random_samples(20, 3);
  write_file_atomic(job_.data(), samples[0].dump() + "\n" + samples[1].dump() + "\n{\"input_ids\": [3, 4\n");
  expect_error({}, 3, "data.jsonl:3: ");
  samples[4]["labels"].erase(0);
  job_.write_data(samples);
  expect_error({}, 3, "data.jsonl:5: ");
  samples = random_samples(20, 3);
  samples[6]["input_ids"] = {3, 331};
  samples[6].erase("labels");
  job_.write_data(samples);
  expect_error({}, 3, "data.jsonl:7: expected token ids below 331");
}

TEST_F(TrainingError, NoDataIsAnError) {
  write_file_atomic(job_.data(), "");
  expect_error({}, 3, "data.jsonl: expected at least one record, found an empty file");
  expect_error({"dataset=" + (job_ / "none.jsonl").string()}, 3, "none.jsonl: expected a file");
  write_file_atomic(job_.data(), "{\"input_ids\": [3, 4], \"labels\": [-100, -100]}\n");
  expect_error({}, 3, "expected a trained token");
}

TEST_F(TrainingError, BadModelFolderNamesFileAndTensor) {
  expect_error({"model_name_or_path=" + (job_ / "none").string()}, 4,
               "none/config.json: expected the model's config, found no such file");

  const fs::path model = copy_model();
  const Arguments use_it = {"model_name_or_path=" + model.string()};
  fs::resize_file(model / "model.safetensors", 200'000);
  expect_error(use_it, 4, "model.safetensors: file is 200000 bytes, its header needs 495024");

  copy_model();
  edit_config(model, "num_hidden_layers", 4);
  expect_error(use_it, 4, "tensor model.layers.3.");
  edit_config(model, "num_hidden_layers", 2);
  expect_error(use_it, 4, "model.layers.2.");
  copy_model();
  edit_config(model, "intermediate_size", 96);
  expect_error(use_it, 4, "mlp.");
  copy_model();
  edit_config(model, "model_type", "gpt_neox");
  expect_error(use_it, 4, "model_type: expected one of llama, mistral, qwen2, qwen3, found \"gpt_neox\"");
}

TEST_F(TrainingError, TokenizerOfALargerVocabularyIsNamed) {
  const fs::path model = copy_model();
  fs::copy_file(fs::path(QTUNE_TEST_DATA) / "tokenizers/smollm2/tokenizer.json", model / "tokenizer.json");
  write_file_atomic(job_.data(), "{\"prompt\": \"hello\", \"completion\": \"world\"}\n");
  expect_error({"model_name_or_path=" + model.string(), "template=chatml"}, 4, "expected a tokenizer of at most 331");
}

TEST_F(TrainingError, OutputDirThatIsAFileIsNamed) {
  write_file_atomic(job_ / "file", "mine\n");
  for (const std::string path : {"file", "file/out"}) {
    expect_one_error(run_process(job_.train(path, kTwoSteps)), 2, "output_dir: ");
  }
  EXPECT_EQ(read_file(job_ / "file"), "mine\n");
}

TEST_F(TrainingError, ModelThatDoesNotFitOnTheDiskIsNotHalfWritten) {
  const ProcessResult result = run_process(job_.train("out", kTwoSteps), {.file_limit_bytes = 100'000});
  expect_one_error(result, 4, "out/model.safetensors: cannot write: File too large");
  for (const std::string& name : job_.files("out")) {
    EXPECT_THAT(name, Not(HasSubstr("safetensors")));
    EXPECT_NE(name, "config.json");
  }
  job_.run("out", kTwoSteps + Arguments{"overwrite_output_dir=true"});
}

TEST_F(TrainingError, CheckpointThatDoesNotFitIsNotHalfWrittenAndTheRunGoesOn) {
  const Arguments save = {"max_steps=3", "save_strategy=steps", "save_steps=1"};
  const ProcessResult result = run_process(job_.train("out", save), {.file_limit_bytes = 600'000});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.error_lines("error: ").size(), 3U);
  EXPECT_THAT(result.err, HasSubstr("optimizer.safetensors: cannot write: File too large; checkpoint not saved"));
  EXPECT_THAT(job_.files("out", "checkpoint-"), IsEmpty());
  EXPECT_THAT(job_.files("out"), Contains("model.safetensors"));
}

/// A file system of so many bytes, in a mount namespace of this process, so that nothing of it is left behind.
bool mount_small_disk(const fs::path& disk, uint64_t bytes) {
  fs::create_directory(disk);
  const std::string size = "size=" + std::to_string(bytes);
  return ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("tmpfs", disk.c_str(), "tmpfs", 0, size.c_str()) == 0;
}

TEST_F(TrainingError, DiskWithoutRoomForTheFinalModelIsFoundBeforeTraining) {
  const fs::path disk = job_ / "disk";
  if (!mount_small_disk(disk, 200 << 10)) GTEST_SKIP() << "mounting a small disk needs root";
  const ProcessResult result = run_process(job_.train("disk/out", kTwoSteps));
  const ProcessResult dry = run_process(job_.train("disk/out", kTwoSteps + Arguments{"dry_run=true"}));
  const ProcessResult lora =
      run_process(job_.train("disk/out", kTwoSteps + Arguments{"finetuning_type=lora", "lora_rank=1"}));
  ::umount(disk.c_str());
  expect_one_error(result, 4, "the final model needs 240.2 KiB, the disk has 200.0 KiB left ---> free some space");
  expect_one_error(dry, 4, "the final model needs 240.2 KiB");
  EXPECT_EQ(lora.exit_code, 0) << lora.err;
}

/// The disk is full when the run comes to its end.
class FullAtTheEnd : public TrainingError {
 protected:
  void SetUp() override {
    if (!mount_small_disk(disk_, 4 << 20)) GTEST_SKIP() << "mounting a small disk needs root";
    process_ = std::make_unique<QtuneProcess>(job_.train("disk/out", {"max_steps=100"}));
    ASSERT_TRUE(process_->wait_until([&] { return job_.steps_logged("disk/out") >= 1; }));
    constexpr uint64_t kForLogs = 180 << 10;
    write_file_atomic(disk_ / "filler", std::string(fs::space(disk_).available - kForLogs, 'x'));
    ASSERT_TRUE(process_->wait_until([&] { return process_->err_so_far().find("waiting up to") != std::string::npos; }))
        << process_->wait().err;
  }
  void TearDown() override {
    process_.reset();
    ::umount(disk_.c_str());
  }

  fs::path disk_ = job_ / "disk";
  std::unique_ptr<QtuneProcess> process_;
};

TEST_F(FullAtTheEnd, RunWaitsForRoomForItsFinalModel) {
  fs::remove(disk_ / "filler");
  const ProcessResult result = process_->wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(job_.files("disk/out"), Contains("model.safetensors"));
}

TEST_F(FullAtTheEnd, RunWaitsNoLongerThanTheUser) {
  process_->send(SIGINT);
  const ProcessResult result = process_->wait();
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_THAT(result.err, HasSubstr("error: "));
  EXPECT_THAT(result.err, HasSubstr("model.safetensors: cannot write: No space left on device ---> free some space"));
  for (const std::string& name : job_.files("disk/out")) EXPECT_THAT(name, Not(HasSubstr("safetensors")));
}

TEST_F(TrainingError, CheckpointIsRefusedBeforehandWhereTheDiskHasNoRoomForAllOfIt) {
  const fs::path disk = job_ / "disk";
  // 16 MiB are kept free; weights fit beside them, both moments do not.
  const uint64_t weights = fs::file_size(job_.model() / "model.safetensors");
  if (!mount_small_disk(disk, (16 << 20) + 2 * weights)) GTEST_SKIP() << "mounting a small disk needs root";
  const Arguments save = {"max_steps=2", "save_strategy=steps", "save_steps=2"};
  const ProcessResult whole = run_process(job_.train("disk/out", save));
  const std::vector<std::string> whole_files = job_.files("disk/out", "checkpoint-");
  const ProcessResult model_only =
      run_process(job_.train("disk/out", save + Arguments{"save_only_model=true", "overwrite_output_dir=true"}));
  const std::vector<std::string> model_files = job_.files("disk/out", "checkpoint-");
  ::umount(disk.c_str());
  EXPECT_EQ(whole.error_lines("warning: output_dir: " + (disk / "out").string() + ": a checkpoint needs").size(), 1U);
  EXPECT_EQ(whole.error_lines("error: " + (disk / "out").string() + ": a checkpoint needs").size(), 1U) << whole.err;
  EXPECT_THAT(whole_files, IsEmpty());
  EXPECT_EQ(model_only.exit_code, 0) << model_only.err;
  EXPECT_EQ(model_files.size(), 1U) << model_only.err;
}

TEST_F(TrainingError, LossThatIsNotFiniteStopsBeforeTheUpdateAndNamesTheSamples) {
  const ProcessResult result = run_process(job_.train("out", kWild + Arguments{"max_steps=5"}));
  expect_one_error(result, 6, "step 2: expected a finite loss and gradient norm, found ");
  const auto named = read_json_lines(job_ / "out/nonfinite-step-2.jsonl");
  EXPECT_EQ(named.size(), 8U) << "samples of a step";
  EXPECT_EQ(named.at(0).at("id").get<std::string>()[0], 'r');
  EXPECT_THAT(named.at(0).at("place"), HasSubstr("data.jsonl:"));
  EXPECT_EQ(named.at(0).at("kept"), true);
  EXPECT_EQ(job_.metrics("out").size(), 1U);
  EXPECT_THAT(job_.files("out"), Not(Contains("model.safetensors")));
  EXPECT_THAT(read_file(job_ / "out/train.log"), HasSubstr("error: step 2: expected a finite loss"));
}

TEST_F(TrainingError, WeightsThatAreNotFiniteAreNotSaved) {
  expect_one_error(run_process(job_.train("last", kWild + Arguments{"max_steps=1"})), 6,
                   "step 1: expected finite weights to save, found model.");
  expect_one_error(
      run_process(job_.train("out", kWild + Arguments{"max_steps=5", "save_strategy=steps", "save_steps=1"})), 6,
      "step 1: expected finite weights to save, found model.");
  EXPECT_THAT(job_.files("out", "checkpoint-"), IsEmpty());
  EXPECT_THAT(job_.files("last"), Not(Contains("model.safetensors")));
}

TEST_F(TrainingError, SkippingEndsAfterThreeStepsInARow) {
  const Arguments skip = kWild + Arguments{"max_steps=9", "on_nonfinite=skip"};
  const ProcessResult result = run_process(job_.train("out", skip));
  expect_one_error(result, 6, "step 4: expected a finite loss");
  EXPECT_EQ(result.error_lines("warning: step ").size(), 2U) << result.err;
}

TEST_F(TrainingError, ScoreThatIsNotFiniteIsTreatedLikeALossThatIsNot) {
  const fs::path model = copy_model();
  std::string weights = read_file(model / "model.safetensors");
  const float nan = std::nanf("");
  // The last norm weight of the file: whatever it is, every hidden state goes through one.
  weights.replace(weights.size() - sizeof nan, sizeof nan, reinterpret_cast<const char*>(&nan), sizeof nan);
  write_file_atomic(model / "model.safetensors", weights);
  const Arguments broken = kQtuningHalf + kTwoSteps + Arguments{"model_name_or_path=" + model.string()};
  expect_one_error(run_process(job_.train("out", broken)), 6, "step 1: expected a finite loss");
  const auto named = read_json_lines(job_ / "out/nonfinite-step-1.jsonl");
  ASSERT_EQ(named.size(), 8U);
  EXPECT_EQ(named[0].at("loss"), "nan");
  EXPECT_EQ(named[0].at("ppl"), "nan");

  const ProcessResult skipped = run_process(job_.train("skipped", broken + Arguments{"on_nonfinite=skip"}));
  expect_one_error(skipped, 6, "no step trained anything");
  EXPECT_EQ(skipped.error_lines("warning: step ").size(), 1U) << skipped.err;
  EXPECT_THAT(job_.files("skipped"), Not(Contains("model.safetensors")));
}

TEST_F(TrainingError, OutputDirThatTheModelLiesInTheWayOfIsRefused) {
  const fs::path model = copy_model();
  const std::string weights = read_file(model / "model.safetensors");
  const Arguments in_place = {"model_name_or_path=" + model.string(), "overwrite_output_dir=true"};
  expect_one_error(run_process(job_.train("model", kTwoSteps + in_place)), 2, "output_dir: ");
  expect_one_error(run_process(job_.train("sub/../model/", kTwoSteps + in_place)), 2, "give another path");
  EXPECT_TRUE(read_file(model / "model.safetensors") == weights);
  EXPECT_THAT(job_.files("model"), testing::SizeIs(3));

  job_.run("out", {"max_steps=1", "save_strategy=steps"});
  const std::string checkpoint = (job_ / "out/checkpoint-1").string();
  expect_one_error(run_process(job_.train("out", {"model_name_or_path=" + checkpoint, "overwrite_output_dir=true"})), 2,
                   "lies among its checkpoints");
  EXPECT_TRUE(fs::exists(checkpoint + "/manifest.json"));
}

}  // namespace
}  // namespace qtune
