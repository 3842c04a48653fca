#!/usr/bin/env python3
"""LoRA of rank 8 on all linear layers, qtune against TRL with PEFT: the same samples in the same batches, bfloat16
compute, in turn in one run. TRL runs twice a round, with its frozen weights in bfloat16 and in float32 (its default).

    lora.py --model FOLDER --data GSM8K_train.jsonl [--rounds 3] [--steps 4] [--threads 2] [--python PYTHON]

Real tokens a second (no padding counted) of the steps after the first; peak resident memory of the whole process.
PYTHON has tools/bench/requirements.txt installed.
"""
import argparse
import json
import os
import statistics
import sys
import tempfile

from data_order import epoch_order
from full_finetuning import BATCH, HERE, QTUNE, run, speed, write_data


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True)
    ap.add_argument("--data", required=True)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--steps", type=int, default=4)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--python", default=sys.executable)
    a = ap.parse_args()
    env = dict(os.environ, OMP_NUM_THREADS=str(a.threads), HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="")
    with tempfile.TemporaryDirectory() as d:
        data, samples, batches, out = (os.path.join(d, n) for n in ("data.jsonl", "samples.jsonl", "batches.json", "out"))
        count = BATCH * (a.steps + 1)
        write_data(a.data, data, count)
        config = os.path.join(d, "config.yaml")
        with open(config, "w") as f:
            json.dump({"model_name_or_path": os.path.abspath(a.model), "finetuning_type": "lora", "lora_rank": 8,
                       "lora_alpha": 16, "lora_target": "all", "dataset": data, "output_dir": out,
                       "overwrite_output_dir": True, "per_device_train_batch_size": BATCH, "max_steps": a.steps + 1,
                       "learning_rate": 1e-4, "lr_scheduler_type": "constant", "bf16": True, "save_strategy": "no",
                       "logging_steps": 1, "seed": 1, "cutoff_len": 512, "gradient_checkpointing": False}, f)
        with open(samples, "w") as f:
            f.write(run([QTUNE, "inspect", "--config", config, "--json"], env))
        order = epoch_order(1, 0, count)
        json.dump([order[i:i + BATCH] for i in range(0, count, BATCH)], open(batches, "w"))

        rows = []
        for k in range(a.rounds):
            run([QTUNE, "train", "--config", config], env)
            ours = [json.loads(line) for line in open(os.path.join(out, "metrics.jsonl"))]
            mine = [{"tokens": m["tokens_seen"], "seconds": sum(m["seconds"].values())} for m in ours]
            row = {"qtune_tokens_s": speed(mine), "qtune_peak_mib": max(m["peak_memory_bytes"] for m in ours) / 2**20}
            losses = {"qtune": [round(m["loss"], 4) for m in ours]}
            for dtype in ("bfloat16", "float32"):
                text = run([a.python, os.path.join(HERE, "trl_lora.py"), a.model, samples, batches, dtype], env)
                theirs = json.loads(text.split("RESULT ", 1)[1])
                name = f"trl_{dtype}"
                row[f"{name}_tokens_s"] = speed(theirs["steps"])
                row[f"{name}_peak_mib"] = theirs["peak_bytes"] / 2**20
                row[f"speed_ratio_{dtype}"] = row["qtune_tokens_s"] / row[f"{name}_tokens_s"]
                row[f"memory_ratio_{dtype}"] = row["qtune_peak_mib"] / row[f"{name}_peak_mib"]
                losses[name] = [round(s["loss"], 4) for s in theirs["steps"]]
            rows.append(row)
            print(json.dumps({"round": k + 1, **row, "losses": losses}), flush=True)
        for key in rows[0]:
            values = [r[key] for r in rows]
            print(f"{key:26} median {statistics.median(values):10.3f}   min {min(values):10.3f}   max {max(values):10.3f}")


if __name__ == "__main__":
    main()
