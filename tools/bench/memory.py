#!/usr/bin/env python3
"""The memory estimate of `qtune inspect --model` against the measured peak of `qtune train`, for full fine-tuning and
LoRA, float32 and bfloat16, with and without gradient checkpointing.

    memory.py --model FOLDER [--shape 8x256 ...] [--only lora,bfloat16] [--steps 3]     needs nothing but Python
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

QTUNE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "bin", "qtune")


def run(command):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {result.returncode}\n{result.stderr[-2000:]}")
    return result.stdout


def write_samples(path, count, length, vocabulary):
    random.seed(1)
    with open(path, "w") as f:
        for _ in range(count):
            ids = [random.randrange(vocabulary) for _ in range(length)]
            f.write(json.dumps({"input_ids": ids, "labels": [-100] * (length - length // 2) + ids[length - length // 2:]}) + "\n")


def measure(model, folder, data, row, batch, checkpointing, steps):
    config, out = os.path.join(folder, "c.yaml"), os.path.join(folder, "out")
    with open(config, "w") as f:
        json.dump({"model_name_or_path": os.path.abspath(model), "dataset": data, "output_dir": out,
                   "overwrite_output_dir": True, "finetuning_type": row["finetuning_type"],
                   "bf16": row["compute_dtype"] == "bfloat16", "per_device_train_batch_size": batch,
                   "max_steps": steps, "gradient_checkpointing": checkpointing, "save_strategy": "no"}, f)
    run([QTUNE, "train", "--config", config])
    return max(json.loads(line)["peak_memory_bytes"] for line in open(os.path.join(out, "metrics.jsonl")))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True)
    ap.add_argument("--shape", nargs="+", default=["8x256", "2x512"], help="samples x tokens of a micro-batch")
    ap.add_argument("--only", default="", help="rows whose kind has all of these, like lora,bfloat16")
    ap.add_argument("--steps", type=int, default=3)
    a = ap.parse_args()
    print(f"{'kind':28} {'shape':>8} {'estimate MiB':>13} {'measured MiB':>13} {'ratio':>7}")
    for shape in a.shape:
        batch, length = (int(n) for n in shape.split("x"))
        facts = json.loads(run([QTUNE, "inspect", "--model", a.model, "--json", "--batch-size", str(batch), "--length", str(length)]))
        for row in facts["memory"]["bytes"]:
            for checkpointing in (False, True):
                kind = f"{row['finetuning_type']} {row['compute_dtype']}{' checkpointing' if checkpointing else ''}"
                if not all(word in kind for word in a.only.split(",")):
                    continue
                with tempfile.TemporaryDirectory() as d:
                    data = os.path.join(d, "data.jsonl")
                    write_samples(data, batch * a.steps, length, facts["vocab_size"])
                    found = measure(a.model, d, data, row, batch, checkpointing, a.steps)
                estimate = row["total_gradient_checkpointing" if checkpointing else "total"]
                print(f"{kind:28} {shape:>8} {estimate / 2**20:13.0f} {found / 2**20:13.0f} {estimate / found:7.3f}", flush=True)


if __name__ == "__main__":
    main()
