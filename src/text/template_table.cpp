#include "template_table.h"

namespace qtune {
namespace {

NamedTemplate chatml(const std::string& name, const std::string& default_system = "") {
  return {.name = name,
          .default_system = default_system,
          .system_before = "<|im_start|>system\n",
          .system_after = "<|im_end|>\n",
          .user_before = "<|im_start|>user\n",
          .user_after = "<|im_end|>\n<|im_start|>assistant\n",
          .end_of_turn = "<|im_end|>",
          .answer_after = "\n"};
}

std::vector<NamedTemplate> make_table() {
  std::vector<NamedTemplate> table = {
      {.name = "alpaca",
       .default_system = "Below is an instruction that describes a task. "
                         "Write a response that appropriately completes the request.\n\n",
       .user_before = "### Instruction:\n",
       .user_after = "\n\n### Response:\n",
       .end_of_turn = "{eos}",
       .answer_after = "\n\n"},
      {.name = "default",
       .system_before = "System: ",
       .system_after = "{eos}\n",
       .user_before = "Human: ",
       .user_after = "{eos}\nAssistant:",
       .end_of_turn = "{eos}",
       .answer_after = "\n"},
      {.name = "empty"},
      {.name = "llama2",
       .system_before = "<<SYS>>\n",
       .system_after = "\n<</SYS>>\n\n",
       .user_before = "{bos}[INST] ",
       .user_after = " [/INST]",
       .end_of_turn = "{eos}",
       .system_in_user = true},
      {.name = "llama3",
       .prefix = "{bos}",
       .system_before = "<|start_header_id|>system<|end_header_id|>\n\n",
       .system_after = "<|eot_id|>",
       .user_before = "<|start_header_id|>user<|end_header_id|>\n\n",
       .user_after = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
       .end_of_turn = "<|eot_id|>"},
      {.name = "mistral",
       .prefix = "{bos}",
       .system_after = "\n\n",
       .user_before = "[INST] ",
       .user_after = "[/INST]",
       .answer_before = " ",
       .end_of_turn = "{eos}",
       .system_in_user = true},
      {.name = "mistral_small",
       .prefix = "{bos}",
       .system_before = "[SYSTEM_PROMPT]",
       .system_after = "[/SYSTEM_PROMPT]",
       .user_before = "[INST]",
       .user_after = "[/INST]",
       .end_of_turn = "{eos}"},
      {.name = "vicuna",
       .default_system = "A chat between a curious user and an artificial intelligence assistant. "
                         "The assistant gives helpful, detailed, and polite answers to the user's questions.",
       .user_before = "USER: ",
       .user_after = " ASSISTANT:",
       .end_of_turn = "{eos}"},
      chatml("chatml"),
      chatml("qwen", "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
      chatml("qwen3"),
      chatml("qwen3_nothink"),
      chatml("smollm"),
      chatml("smollm2", "You are a helpful AI assistant named SmolLM, trained by Hugging Face."),
  };
  for (NamedTemplate& t : table) {
    if (t.name == "qwen3") t.empty_thought = "<think>\n\n</think>\n\n";
  }
  return table;
}

}  // namespace

std::span<const NamedTemplate> template_table() {
  static const std::vector<NamedTemplate> table = make_table();
  return table;
}

}  // namespace qtune
