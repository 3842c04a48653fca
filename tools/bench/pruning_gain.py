#!/usr/bin/env python3
"""Q-Tuning against qtune's own full fine-tuning, in samples a second with scoring included, and against its bound.

    pruning_gain.py --model FOLDER --data GSM8K_train.jsonl [--rounds 3] [--steps 3] [--threads 2]

Both runs see the same samples in the same steps of 32 (micro-batches of 8), bfloat16 compute, in turn in one run.
bound = t_full / (t_score + f t_full + t_optimizer), the samples a second if nothing but arithmetic cost time, all phases
from the same runs; f is the kept share of the trainable tokens. The steps after the first count.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

from full_finetuning import QTUNE, write_data

SAMPLES_PER_STEP = 32


def train(config, overrides, env):
    result = subprocess.run([QTUNE, "train", "--config", config, *overrides], env=env, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit(result.stderr[-2000:])


def steps_of(folder):
    return [json.loads(line) for line in open(os.path.join(folder, "metrics.jsonl"))][1:]


def phase(steps, name):
    return sum(m["seconds"][name] for m in steps) / len(steps)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True)
    ap.add_argument("--data", required=True)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--steps", type=int, default=3)
    ap.add_argument("--threads", type=int, default=2)
    a = ap.parse_args()
    env = dict(os.environ, OMP_NUM_THREADS=str(a.threads))
    rows = []
    with tempfile.TemporaryDirectory() as d:
        data, config, out = (os.path.join(d, n) for n in ("data.jsonl", "config.yaml", "out"))
        write_data(a.data, data, SAMPLES_PER_STEP * (a.steps + 1))
        with open(config, "w") as f:
            json.dump({"model_name_or_path": os.path.abspath(a.model), "finetuning_type": "full", "dataset": data,
                       "output_dir": out, "overwrite_output_dir": True, "per_device_train_batch_size": 8,
                       "gradient_accumulation_steps": 4, "max_steps": a.steps + 1, "learning_rate": 1e-5,
                       "lr_scheduler_type": "constant", "bf16": True, "save_strategy": "no", "logging_steps": 1,
                       "seed": 1, "cutoff_len": 512}, f)
        pruning = ["pruning.sample.method=qtuning", "pruning.token.method=qtuning"]
        for k in range(a.rounds):
            train(config, [], env)
            full = steps_of(out)
            train(config, pruning, env)
            pruned = steps_of(out)
            t_full = phase(full, "train") + phase(full, "optimizer") + phase(full, "other")
            t_step = sum(sum(m["seconds"].values()) for m in pruned) / len(pruned)
            kept = sum(m["tokens_trained"] for m in pruned) / sum(m["tokens_trained"] for m in full)
            bound_seconds = phase(pruned, "score") + kept * phase(full, "train") + phase(pruned, "optimizer")
            row = {"full_s": t_full, "pruned_s": t_step, "score_s": phase(pruned, "score"),
                   "decide_s": phase(pruned, "decide"), "train_s": phase(pruned, "train"),
                   "optimizer_s": phase(pruned, "optimizer"), "other_s": phase(pruned, "other"), "kept_share": kept,
                   "gain": t_full / t_step, "bound": t_full / bound_seconds}
            row["share_of_bound"] = row["gain"] / row["bound"]
            rows.append(row)
            print(json.dumps({"round": k + 1, **row}), flush=True)
    for key in rows[0]:
        print(f"{key:16} median {statistics.median(r[key] for r in rows):8.3f}   "
              f"min {min(r[key] for r in rows):8.3f}   max {max(r[key] for r in rows):8.3f}")


if __name__ == "__main__":
    main()
