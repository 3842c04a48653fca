#!/usr/bin/env python3
"""Writes small model folders, and what llama.cpp's own converter makes of them (expected.gguf).

    python make.py LLAMA_CPP        (made with llama.cpp of October 2026, transformers 5.23, sentencepiece 0.2.3)

LLAMA_CPP: a checkout of llama.cpp. Its converter knows a pre-tokenizer by the ids that published vocabularies give to a
text; for these small ones its name is given here.
"""
import json
import os
import runpy
import shutil
import sys

import sentencepiece
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

HERE = os.path.dirname(os.path.abspath(__file__))
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXT = ["Once upon a time there was a little cat. It's 1234 tokens, isn't it?\n\n", "the answer is 42; the end.\n",
        "a time and a place for the little answer\n"] * 20
CHAT = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
NUMBERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CARD = """---
license: apache-2.0
license_link: https://example.com/license
language:
- en
- no
tags: [chat, sft]
pipeline_tag: text-generation
base_model:
- HuggingFaceTB/SmolLM2-135M-Instruct
- https://huggingface.co/some-org/some-model-v1
datasets: tatsu-lab/alpaca
model_creator: somebody
---
# A card
"""


def byte_level(cut, ignore_merges=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    parts = {"llama3": [pre_tokenizers.Split(Regex(NUMBERS % "{1,3}"), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)],
             "qwen2": [pre_tokenizers.Split(Regex(NUMBERS % ""), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)],
             "smollm2": [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(False)]}
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts[cut])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=280, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    tokenizer.add_tokens([AddedToken("<think>", normalized=False), AddedToken("<|tool|>", normalized=False)])
    return tokenizer


def save(name, config, dtype, tokenizer, tokenizer_config, **files):
    folder = os.path.join(HERE, name)
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(len(name))
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        parameter.data.copy_(torch.randn_like(parameter))
    block = model.model.layers[0].mlp.up_proj.weight.data
    block[0] = 0                                                      # a block of zeros
    block[1, :32] = torch.arange(32) - 7.5                           # quotients that are halves
    block[1, 0] = 127
    model.to(dtype).save_pretrained(folder)
    if isinstance(tokenizer, Tokenizer):
        tokenizer.save(os.path.join(folder, "tokenizer.json"))
    else:
        shutil.copy(tokenizer, os.path.join(folder, "tokenizer.model"))
    files["tokenizer_config.json"] = json.dumps(tokenizer_config, indent=1)
    for file, text in files.items():
        with open(os.path.join(folder, file.replace("__", ".")), "w") as out:
            out.write(text)
    os.chmod(os.path.join(folder, "model.safetensors"), 0o644)


def convert(llama_cpp, name, outtype, pre):
    sys.path[:0] = [llama_cpp, os.path.join(llama_cpp, "gguf-py")]
    from conversion import base
    base.TextModel.get_vocab_base_pre = lambda self, tokenizer: pre
    folder = os.path.join(HERE, name)
    sys.argv = ["convert_hf_to_gguf.py", folder, "--outtype", outtype, "--outfile", os.path.join(folder, "expected.gguf")]
    runpy.run_path(os.path.join(llama_cpp, "convert_hf_to_gguf.py"), run_name="__main__")


def main(llama_cpp):
    size = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                max_position_embeddings=256, vocab_size=288, bos_token_id=281, eos_token_id=282, pad_token_id=280)
    names = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    llama3 = byte_level("llama3", ignore_merges=True)
    llama3.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|im_start|> $A", pair="<|im_start|> $A <|im_start|> $B", special_tokens=[("<|im_start|>", 281)])])
    rope = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)
    save("llama3-tuned-8b", LlamaConfig(**size, rope_parameters=rope), torch.bfloat16, llama3, names,
         README__md=CARD, chat_template__jinja=CHAT,
         generation_config__json=json.dumps({"eos_token_id": [282, 280], "temperature": 0.6, "top_p": 0.9, "top_k": 20, "do_sample": True}))
    convert(llama_cpp, "llama3-tuned-8b", "bf16", "llama-bpe")

    qwen2 = byte_level("qwen2")
    qwen2.normalizer = normalizers.NFC()
    save("qwen2", Qwen2Config(**size, tie_word_embeddings=True), torch.float16, qwen2,
         {**names, "add_bos_token": False, "chat_template": CHAT})
    convert(llama_cpp, "qwen2", "q8_0", "qwen2")

    save("qwen3", Qwen3Config(**{**size, "head_dim": 24, "intermediate_size": 80}, tie_word_embeddings=True), torch.float32, byte_level("smollm2"),
         {**names, "chat_template": [{"name": "default", "template": CHAT}, {"name": "tool use", "template": "x"}]})
    convert(llama_cpp, "qwen3", "q8_0", "smollm")

    model = os.path.join(HERE, "spm")
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(TEXT), model_prefix=model, vocab_size=320, model_type="bpe",
                                             byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
                                             character_coverage=1.0, minloglevel=2)
    decoder = {str(i): {"content": t, "special": True, "lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
               for i, t in enumerate(["<unk>", "<s>", "</s>"])}
    decoder["320"] = {**decoder["0"], "content": "<turn>", "special": False}
    mistral = {**size, "vocab_size": 324, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None, "unk_token_id": 0}
    save("mistral", MistralConfig(**mistral, sliding_window=32), torch.float32, model + ".model",
         {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True, "add_eos_token": False,
          "tokenizer_class": "LlamaTokenizer", "added_tokens_decoder": decoder})
    convert(llama_cpp, "mistral", "f16", "")
    for end in (".model", ".vocab"):
        os.remove(model + end)


main(os.path.abspath(sys.argv[1]))
