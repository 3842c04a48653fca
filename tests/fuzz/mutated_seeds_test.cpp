// A small fuzzer for every run of the tests: seeds of the JSON formats, changed at random but still JSON for the most
// part. Seeds of the random numbers are fixed, so that a failure comes back. Safetensors and GGUF:
// tests/formats/mutation_test.cpp.
#include <gtest/gtest.h>

#include "fuzz/mutate.h"
#include "fuzz/run_target.h"
#include "qtune/base/file.h"
#include "support/damage.h"

namespace qtune::fuzz {
namespace {

void expect_no_fault(const char* name, const std::vector<std::string>& seeds, int num_inputs) {
  const Target& target = find_target(name);
  TargetRunner runner(target);
  CounterRng rng(7, 0);
  int num_read = 0, num_refused = 0;
  for (int i = 0; i < num_inputs; ++i) {
    const std::string& seed = seeds[static_cast<size_t>(i) % seeds.size()];
    const std::string good = read_file(std::filesystem::path(QTUNE_FUZZ_CORPUS) / name / seed);
    const std::string input = mutate(target.form, good, rng, [&](std::string bytes) { return damage(bytes, rng); });
    const Ending ending = runner.run(input);
    ASSERT_EQ(ending.fault, "") << "input " << i << ", of " << seed << ": " << input;
    ++(ending.refusal.empty() ? num_read : num_refused);
  }
  // Both ends must occur, else the changes test nothing.
  EXPECT_GT(num_read, num_inputs / 100);
  EXPECT_GT(num_refused, num_inputs / 10);
}

TEST(MutatedSeeds, ConfigJson) { expect_no_fault("config", {"seed_llama3_rope", "seed_mistral_window"}, 3000); }

TEST(MutatedSeeds, TokenizerJson) {
  expect_no_fault("tokenizer_json", {"seed_small", "seed_normalizers", "seed_pre_tokenizers", "seed_gguf"}, 2000);
}

TEST(MutatedSeeds, AdapterConfigJson) { expect_no_fault("adapter_config", {"seed_plain"}, 1000); }

TEST(MutatedSeeds, SafetensorsIndexJson) { expect_no_fault("safetensors_index", {"seed_whole"}, 1000); }

TEST(MutatedSeeds, SafetensorsWithAHeaderThatIsStillJson) {
  expect_no_fault("safetensors", {"seed_all_dtypes", "seed_scalar_and_none"}, 2000);
}

}  // namespace
}  // namespace qtune::fuzz
