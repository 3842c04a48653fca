#!/usr/bin/env python3
"""The rival's side of generation.py: transformers' generate on the CPU, greedy, padded on the left.

    transformers_generate.py FOLDER QUESTIONS.jsonl TOKENS BATCH DTYPE
"""
import json
import os
import sys
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    folder, questions, num_tokens, batch, dtype = sys.argv[1:]
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    ends = model.generation_config.eos_token_id
    ends = set(ends if isinstance(ends, list) else [ends])
    prompts = [tokenizer.apply_chat_template([{"role": "user", "content": json.loads(line)["prompt"]}], tokenize=False,
                                             add_generation_prompt=True) for line in open(questions)]
    answers = []
    start = time.perf_counter()
    for first in range(0, len(prompts), int(batch)):
        inputs = tokenizer(prompts[first:first + int(batch)], return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.inference_mode():
            out = model.generate(**inputs, do_sample=False, max_new_tokens=int(num_tokens))
        for row in out[:, inputs["input_ids"].shape[1]:].tolist():
            end = next((k + 1 for k, t in enumerate(row) if t in ends), len(row))
            answers.append(row[:end])
    seconds = time.perf_counter() - start
    print("RESULT", json.dumps({"seconds": seconds, "tokens": sum(map(len, answers)), "answers": answers}))


if __name__ == "__main__":
    main()
