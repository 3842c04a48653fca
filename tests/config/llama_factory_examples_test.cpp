// Text SFT files as LLaMA-Factory's users write them, rebuilt from their keys and values: each loads as it is, or the
// faults name exactly the keys that can't be.
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "config/config_test_support.h"

namespace qtune {
namespace {

using KeyValues = std::vector<std::pair<std::string, std::string>>;

struct Example {
  std::string name;
  KeyValues keys;
  std::vector<std::string> refused;  // the keys of the faults, in the file's order
  std::vector<std::string> notes;    // parts of some notes
};

void PrintTo(const Example& example, std::ostream* out) { *out << example.name; }

// What almost every file of this kind holds; `changes` replace values and add keys.
KeyValues with(const KeyValues& changes) {
  KeyValues keys = {{"model_name_or_path", "meta-llama/Meta-Llama-3-8B-Instruct"},
                    {"trust_remote_code", "true"},
                    {"stage", "sft"},
                    {"do_train", "true"},
                    {"finetuning_type", "full"},
                    {"dataset", "identity,alpaca_en_demo"},
                    {"template", "llama3"},
                    {"cutoff_len", "2048"},
                    {"max_samples", "1000"},
                    {"overwrite_cache", "true"},
                    {"preprocessing_num_workers", "16"},
                    {"output_dir", "saves/llama3-8b/full/sft"},
                    {"logging_steps", "10"},
                    {"save_steps", "500"},
                    {"plot_loss", "true"},
                    {"overwrite_output_dir", "true"},
                    {"per_device_train_batch_size", "1"},
                    {"gradient_accumulation_steps", "2"},
                    {"learning_rate", "1.0e-5"},
                    {"num_train_epochs", "3.0"},
                    {"lr_scheduler_type", "cosine"},
                    {"warmup_ratio", "0.1"},
                    {"bf16", "true"},
                    {"ddp_timeout", "180000000"},
                    {"resume_from_checkpoint", "null"}};
  for (const auto& change : changes) {
    const auto same =
        std::find_if(keys.begin(), keys.end(), [&](const auto& key) { return key.first == change.first; });
    if (same == keys.end()) {
      keys.push_back(change);
    } else {
      same->second = change.second;
    }
  }
  return keys;
}

std::vector<Example> examples() {
  return {
      {"Full",
       with({{"dataloader_num_workers", "4"}, {"save_only_model", "false"}, {"report_to", "none"}}),
       {},
       {"plot_loss: accepted, no effect", "dataloader_num_workers: accepted, no effect"}},
      {"FullWithDeepspeed", with({{"deepspeed", "examples/deepspeed/ds_z3_config.json"}}), {"deepspeed"}, {}},
      {"Lora", with({{"finetuning_type", "lora"}, {"lora_rank", "8"}, {"lora_target", "q_proj,v_proj"}}), {}, {}},
      {"Evaluated",
       with({{"val_size", "0.1"},
             {"per_device_eval_batch_size", "1"},
             {"evaluation_strategy", "steps"},
             {"eval_steps", "500"}}),
       {},
       {"evaluation_strategy: read as eval_strategy"}},
      {"Mixed",
       with({{"mix_strategy", "interleave_over"},
             {"interleave_probs", "\"0.7, 0.3\""},
             {"neat_packing", "true"},
             {"packing", "true"}}),
       {},
       {"packing: no effect"}},
      {"Resumed", with({{"resume_from_checkpoint", "saves/llama3-8b/full/sft/checkpoint-500"}}), {}, {}},
      {"Board",
       with({{"flash_attn", "auto"},
             {"dataset_dir", "data"},
             {"learning_rate", "5.0e-05"},
             {"warmup_steps", "0"},
             {"packing", "false"},
             {"enable_thinking", "true"},
             {"include_num_input_tokens_seen", "true"},
             {"optim", "adamw_torch"},
             {"max_grad_norm", "1.0"}}),
       {},
       {"flash_attn: accepted, no effect"}},
      {"EverythingSwitchedOff",
       with({{"quantization_bit", "null"},
             {"fp16", "false"},
             {"deepspeed", "null"},
             {"shift_attn", "false"},
             {"neftune_noise_alpha", "null"},
             {"streaming", "false"},
             {"packing", "False"},
             {"resize_vocab", "no"},
             {"push_to_hub", "false"},
             {"load_in_4bit", "false"},
             {"label_smoothing_factor", "0.0"},
             {"fsdp", "\"\""},
             {"tokenized_path", "null"},
             {"interleave_probs", "null"},
             {"eval_dataset", "null"},
             {"gradient_checkpointing", "null"},
             {"lr_scheduler_kwargs", "null"},
             {"use_galore", "false"}}),
       {},
       {}},
      {"Galore",
       with({{"use_galore", "true"},
             {"galore_layerwise", "true"},
             {"galore_target", "mlp,self_attn"},
             {"galore_rank", "128"},
             {"galore_scale", "2.0"}}),
       {"use_galore"},
       {}},
      {"LongContext",
       with({{"rope_scaling", "yarn"},
             {"attn", "fa2"},
             {"enable_liger_kernel", "true"},
             {"max_samples", "null"},
             {"weight_decay", "0.03"},
             {"save_only_model", "true"},
             {"report_to", "wandb"}}),
       {"rope_scaling"},
       {}},
      {"ScheduleWithNumbers",
       with({{"lr_scheduler_type", "cosine_with_min_lr"}, {"lr_scheduler_kwargs", "'{\"min_lr\": 1e-6}'"}}),
       {},
       {}},
      {"Preprocessed", with({{"tokenized_path", "saves/dataset/sft"}}), {}, {}},
      {"Quantized",
       with({{"quantization_bit", "4"}, {"quantization_method", "bnb"}, {"double_quantization", "true"}}),
       {"quantization_bit"},
       {}},
      {"SystemMessage", with({{"default_system", "You are kind."}}), {"default_system"}, {}},
  };
}

class LlamaFactoryExample : public testing::TestWithParam<Example> {};

TEST_P(LlamaFactoryExample, LoadsAsItIsOrNamesTheKeysThatCannotBe) {
  const Example& example = GetParam();
  std::string yaml, expected_keys;
  for (const auto& [key, value] : example.keys) yaml += key + ": " + value + "\n";
  std::string faults = faults_of(yaml), keys;
  // Faults are "c.yaml:12: KEY: ...".
  for (size_t at = 0; at < faults.size(); at = std::min(faults.find('\n', at), faults.size() - 1) + 1) {
    const size_t key = faults.find(": ", at) + 2;
    keys += faults.substr(key, faults.find(": ", key) - key) + "\n";
  }
  for (const std::string& key : example.refused) expected_keys += key + "\n";
  ASSERT_EQ(keys, expected_keys) << faults;
  if (!example.refused.empty()) return;
  const LoadedConfig loaded = load_text(yaml);
  for (const std::string& note : example.notes) {
    EXPECT_THAT(loaded.notes, testing::Contains(testing::HasSubstr(note)));
  }
}

INSTANTIATE_TEST_SUITE_P(All, LlamaFactoryExample, testing::ValuesIn(examples()),
                         [](const auto& test) { return test.param.name; });

TEST(LlamaFactoryExamples, NumbersOfAScheduleAreReadFromOneTextOfJson) {
  const TrainConfig config =
      load_more("lr_scheduler_type: cosine_with_min_lr\nlr_scheduler_kwargs: '{\"min_lr\": 1e-6}'\n").config;
  EXPECT_EQ(config.lr_scheduler_kwargs.min_lr, 1e-6);
  EXPECT_EQ(faults_of_more("lr_scheduler_kwargs: '{\"minlr\": 1e-6}'\n"),
            "c.yaml:5: lr_scheduler_kwargs.minlr: unknown key; did you mean lr_scheduler_kwargs.min_lr?");
}

}  // namespace
}  // namespace qtune
