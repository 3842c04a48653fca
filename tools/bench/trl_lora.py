#!/usr/bin/env python3
"""The rival of lora.py: TRL's SFTTrainer with PEFT, LoRA on all linear layers, bfloat16 autocast, padded micro-batches.
Reads the token ids that qtune prints, so that both see the same samples in the same batches.

    trl_lora.py MODEL SAMPLES.jsonl BATCHES.json float32|bfloat16     type of the frozen weights; prints one JSON object
"""
import json
import resource
import sys
import tempfile
import time

import torch
from datasets import Dataset
from peft import LoraConfig
from torch.utils.data import SequentialSampler
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer


class InOrder(SFTTrainer):
    def _get_train_sampler(self, *_):
        return SequentialSampler(self.train_dataset)


class Times(TrainerCallback):
    def __init__(self):
        self.seconds, self.losses = [], []

    def on_step_begin(self, *_, **__):
        self.start = time.perf_counter()

    def on_step_end(self, *_, **__):
        self.seconds.append(time.perf_counter() - self.start)

    def on_log(self, args, state, control, logs=None, **__):
        if "loss" in logs:
            self.losses.append(logs["loss"])


def main():
    model, samples_path, batches_path, dtype = sys.argv[1:5]
    torch.set_num_threads(2)
    samples = [json.loads(line) for line in open(samples_path)]
    batches = json.load(open(batches_path))
    ordered = [samples[i] for batch in batches for i in batch]
    data = Dataset.from_dict({
        "input_ids": [s["input_ids"] for s in ordered],
        "labels": [s["labels"] for s in ordered]})
    times = Times()
    with tempfile.TemporaryDirectory() as out:
        trainer = InOrder(
            model=model,
            args=SFTConfig(
                output_dir=out, model_init_kwargs={"dtype": dtype}, use_cpu=True, bf16=True,
                per_device_train_batch_size=len(batches[0]), gradient_accumulation_steps=1, max_steps=len(batches),
                learning_rate=1e-4, lr_scheduler_type="constant", gradient_checkpointing=False, max_length=None,
                logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True,
                dataloader_pin_memory=False),
            train_dataset=data,
            peft_config=LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[times])
        trainer.train()
    trained = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    tokens = [sum(len(samples[i]["input_ids"]) for i in batch) for batch in batches]
    steps = [{"seconds": s, "tokens": n, "loss": loss} for s, n, loss in zip(times.seconds, tokens, times.losses)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print("RESULT " + json.dumps({"steps": steps, "peak_bytes": peak, "trained": trained}))


if __name__ == "__main__":
    main()
