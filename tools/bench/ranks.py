#!/usr/bin/env python3
"""Several ranks on one host: what sharing a step costs, and how evenly kept samples are dealt.

    ranks.py --model FOLDER --data GSM8K_train.jsonl [--rounds 3] [--steps 2]       two ranks of one thread against one
                                                                                     rank of two, in turn
    ranks.py --model FOLDER --data GSM8K_train.jsonl --balance RANKS [--steps 20]   tokens a rank gets of the kept
                                                                                     samples, 12.5 % of 32 a rank

The steps after the first count. Ratios are of seconds a step, all phases together; imbalance is the fullest rank's
tokens over the mean, less one.
"""
import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile

from full_finetuning import QTUNE, write_data

PER_RANK = 32


def run(config, overrides, ranks, threads):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    processes = []
    for rank in range(ranks):
        env = dict(os.environ, OMP_NUM_THREADS=str(threads), OMP_WAIT_POLICY="passive")
        if ranks > 1:
            env.update(RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(ranks),
                       MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        processes.append(subprocess.Popen([QTUNE, "train", "--config", config, *overrides], env=env,
                                          stderr=subprocess.PIPE, text=True))
    said = [p.communicate()[1] for p in processes]
    if any(p.returncode != 0 for p in processes):
        sys.exit("\n".join(text[-2000:] for text in said))


def seconds_a_step(out):
    steps = [json.loads(line) for line in open(os.path.join(out, "metrics.jsonl"))][1:]
    return sum(sum(m["seconds"].values()) for m in steps) / len(steps)


def lengths_of(config):
    lines = subprocess.run([QTUNE, "inspect", "--config", config, "-n", "1000000", "--json"], check=True,
                           capture_output=True, text=True).stdout.split("\n")[:-1]
    return {sample["id"]: len(sample["input_ids"]) for sample in map(json.loads, lines)}


def imbalances(out, lengths, ranks):
    steps = {}
    for decision in map(json.loads, open(os.path.join(out, "decisions.jsonl"))):
        if decision["kept"]:
            tokens = steps.setdefault(decision["step"], [0] * ranks)
            tokens[decision["rank"]] += lengths[decision["id"]]
    return [max(tokens) * ranks / sum(tokens) - 1 for tokens in steps.values()]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True)
    ap.add_argument("--data", required=True)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--steps", type=int, default=2)
    ap.add_argument("--balance", type=int, metavar="RANKS")
    a = ap.parse_args()
    with tempfile.TemporaryDirectory() as d:
        data, config, out = (os.path.join(d, n) for n in ("data.jsonl", "config.yaml", "out"))
        write_data(a.data, data, PER_RANK * (a.balance or 1) * (a.steps + 1))
        with open(config, "w") as f:
            json.dump({"model_name_or_path": os.path.abspath(a.model), "finetuning_type": "full", "dataset": data,
                       "output_dir": out, "overwrite_output_dir": True, "per_device_train_batch_size": 8,
                       "max_steps": a.steps + 1, "learning_rate": 1e-5, "lr_scheduler_type": "constant",
                       "save_strategy": "no", "logging_steps": 1, "seed": 1, "cutoff_len": 512, "use_cpu": True}, f)
        if a.balance:
            run(config, ["gradient_accumulation_steps=4", "pruning.sample.method=qtuning"], a.balance, 1)
            found = imbalances(out, lengths_of(config), a.balance)
            print(f"{len(found)} steps on {a.balance} ranks, 4 kept samples a rank: imbalance median "
                  f"{statistics.median(found):.2%}, largest {max(found):.2%}")
            return
        ratios = []
        for k in range(a.rounds):
            run(config, ["gradient_accumulation_steps=4"], 1, 2)
            one = seconds_a_step(out)
            run(config, ["gradient_accumulation_steps=2"], 2, 1)
            two = seconds_a_step(out)
            ratios.append(one / two)
            print(f"round {k + 1}: one rank of two threads {one:.2f} s a step, two of one {two:.2f}: {ratios[-1]:.3f}",
                  flush=True)
        print(f"two ranks at {statistics.median(ratios):.3f} of one's speed (median of {a.rounds})")


if __name__ == "__main__":
    main()
