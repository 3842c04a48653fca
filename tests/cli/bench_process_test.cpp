// `qtune bench` as a process.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "support/process.h"

namespace qtune {
namespace {

const std::string kModel = (std::filesystem::path(QTUNE_TEST_DATA) / "models" / "llama_tied").string();

TEST(BenchCommand, AStepIsToldInJsonWithAndWithoutPruning) {
  const ProcessResult result = run_process({"bench", "step", "--model", kModel, "--batch-size", "2", "--accumulation",
                                            "4", "--length", "16", "--steps", "1", "--device", "cpu", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json.at("all_data").at("samples"), 8);
  EXPECT_EQ(json.at("all_data").at("kept_samples"), 8);
  EXPECT_EQ(json.at("qtuning").at("kept_samples"), 1);
  EXPECT_GT(json.at("qtuning").at("seconds").at("score"), 0);
  EXPECT_GT(json.at("product_flops_per_second"), 0);
  EXPECT_NEAR(json.at("speedup").get<double>(),
              json.at("qtuning").at("samples_per_second").get<double>() /
                  json.at("all_data").at("samples_per_second").get<double>(),
              1e-9);
}

TEST(BenchCommand, KernelsOfEachVocabularyAreListed) {
  const ProcessResult result = run_process({"bench", "kernels", "--rows", "4", "--hidden", "64", "--vocab", "100",
                                            "--vocab", "333", "--dtype", "float32", "--device", "cpu"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  for (const char* part : {"copy", "GB/s", "TF/s", "head score V 100", "head training V 333"}) {
    EXPECT_NE(result.out.find(part), std::string::npos) << part << " in\n" << result.out;
  }
}

TEST(BenchCommand, WrongUseIsNamed) {
  expect_one_error(run_process({"bench"}), 2, "subcommand");
  expect_one_error(run_process({"bench", "kernels", "--hidden", "100"}), 2, "--hidden: expected a multiple of 64");
  expect_one_error(run_process({"bench", "step", "--model", "none"}), 4, "none/config.json");
  expect_one_error(run_process({"bench", "step", "--model", kModel, "--length", "1"}), 2, "--length");
}

}  // namespace
}  // namespace qtune
