#!/usr/bin/env python3
"""The rival of full_finetuning.py: plain transformers, full fine-tuning, float32 weights under bfloat16 autocast, padded
micro-batches, SDPA attention, fused AdamW. Reads the token ids that qtune prints, so that both see the same samples.

    transformers_full.py MODEL SAMPLES.jsonl BATCHES.json      prints one JSON object
"""
import json
import resource
import sys
import time

import torch
from transformers import AutoModelForCausalLM


def padded(samples):
    width = max(len(s["input_ids"]) for s in samples)
    ids = torch.zeros(len(samples), width, dtype=torch.long)
    labels = torch.full((len(samples), width), -100)
    mask = torch.zeros(len(samples), width, dtype=torch.long)
    for row, s in enumerate(samples):
        n = len(s["input_ids"])
        ids[row, :n] = torch.tensor(s["input_ids"])
        labels[row, :n] = torch.tensor(s["labels"])
        mask[row, :n] = 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def main():
    model_folder, samples_path, batches_path = sys.argv[1:4]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(2)
    samples = [json.loads(line) for line in open(samples_path)]
    batches = json.load(open(batches_path))
    model = AutoModelForCausalLM.from_pretrained(model_folder, attn_implementation="sdpa", dtype=torch.float32).to(device)
    model.config.use_cache = False
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True, weight_decay=0.0)
    steps = []
    for indices in batches:
        batch = {name: t.to(device) for name, t in padded([samples[i] for i in indices]).items()}
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        steps.append({"seconds": seconds, "tokens": int(batch["attention_mask"].sum()), "loss": loss.item()})
    on_gpu = device.type == "cuda"
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"steps": steps, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
