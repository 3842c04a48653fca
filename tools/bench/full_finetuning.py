#!/usr/bin/env python3
"""Full fine-tuning, qtune against plain transformers: the same samples in the same batches, bfloat16 compute on float32
masters, in turn in one run.

    full_finetuning.py --model FOLDER --data GSM8K_train.jsonl [--rounds 3] [--steps 4] [--batch 8] [--threads 2]
                       [--gpu] [--python PYTHON]

Real tokens a second (no padding counted), the median of the steps after the first; peak resident memory of the whole process, with
--gpu the largest sum of tensors on the GPU.
PYTHON has tools/bench/requirements.txt installed.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

from data_order import epoch_order

HERE = os.path.dirname(os.path.abspath(__file__))
QTUNE = os.environ.get("QTUNE", os.path.join(HERE, "..", "..", "build", "bin", "qtune"))


def write_data(source, target, count):
    with open(source) as f, open(target, "w") as out:
        for _ in range(count):
            r = json.loads(next(f))
            messages = [{"role": "user", "content": r["question"]}, {"role": "assistant", "content": r["answer"]}]
            out.write(json.dumps({"messages": messages}) + "\n")


def run(command, env):
    result = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {result.returncode}\n{result.stderr[-2000:]}")
    return result.stdout


def speed(steps):
    # The first pays for caches and code generation.
    return statistics.median(s["tokens"] / s["seconds"] for s in steps[1:])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True)
    ap.add_argument("--data", required=True)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--steps", type=int, default=4)
    ap.add_argument("--batch", type=int, default=8)
    ap.add_argument("--gpu", action="store_true")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--python", default=sys.executable)
    a = ap.parse_args()
    env = dict(os.environ, OMP_NUM_THREADS=str(a.threads), HF_HUB_OFFLINE="1")
    if not a.gpu:
        env["CUDA_VISIBLE_DEVICES"] = ""
    with tempfile.TemporaryDirectory() as d:
        data, samples, batches, out = (os.path.join(d, n) for n in ("data.jsonl", "samples.jsonl", "batches.json", "out"))
        count = a.batch * (a.steps + 1)
        write_data(a.data, data, count)
        config = os.path.join(d, "config.yaml")
        with open(config, "w") as f:
            json.dump({"model_name_or_path": os.path.abspath(a.model), "finetuning_type": "full", "dataset": data,
                       "output_dir": out, "overwrite_output_dir": True, "per_device_train_batch_size": a.batch,
                       "max_steps": a.steps + 1, "learning_rate": 1e-5, "use_cpu": not a.gpu, "lr_scheduler_type": "constant", "bf16": True,
                       "save_strategy": "no", "logging_steps": 1, "seed": 1, "cutoff_len": 512}, f)
        with open(samples, "w") as f:
            f.write(run([QTUNE, "inspect", "--config", config, "--json"], env))
        order = epoch_order(1, 0, count)
        json.dump([order[i:i + a.batch] for i in range(0, count, a.batch)], open(batches, "w"))

        rows = []
        for k in range(a.rounds):
            run([QTUNE, "train", "--config", config], env)
            ours = [json.loads(line) for line in open(os.path.join(out, "metrics.jsonl"))]
            mine = [{"tokens": m["tokens_seen"], "seconds": sum(m["seconds"].values()), "loss": m["loss"]} for m in ours]
            theirs = json.loads(run([a.python, os.path.join(HERE, "transformers_full.py"), a.model, samples, batches], env))
            row = {"qtune_tokens_s": speed(mine), "transformers_tokens_s": speed(theirs["steps"]),
                   "qtune_peak_mib": max(m["peak_memory_bytes"] for m in ours) / 2**20,
                   "transformers_peak_mib": theirs["peak_bytes"] / 2**20,
                   "qtune_losses": [round(s["loss"], 4) for s in mine],
                   "transformers_losses": [round(s["loss"], 4) for s in theirs["steps"]]}
            row["speed_ratio"] = row["qtune_tokens_s"] / row["transformers_tokens_s"]
            row["memory_ratio"] = row["qtune_peak_mib"] / row["transformers_peak_mib"]
            rows.append(row)
            print(json.dumps({"round": k + 1, **row}), flush=True)
        for key in ("qtune_tokens_s", "transformers_tokens_s", "speed_ratio", "qtune_peak_mib", "transformers_peak_mib", "memory_ratio"):
            print(f"{key:24} median {statistics.median(r[key] for r in rows):10.3f}   "
                  f"min {min(r[key] for r in rows):10.3f}   max {max(r[key] for r in rows):10.3f}")


if __name__ == "__main__":
    main()
