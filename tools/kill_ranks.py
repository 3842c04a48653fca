#!/usr/bin/env python3
"""Kills or stops one rank of a small training at random points, again and again, and holds what comes of it against
docs/distributed.md: every other rank ends with code 5 within the timeout and 10 s, the rank is named, and the same
command then ends with the bits of an undisturbed run.

    tools/kill_ranks.py [--points 30] [--ranks 3] [--timeout 5] [--seed 1]

Needs build/bin/qtune. Uses the small model of tests/data and samples that it makes. Prints a line a point.
"""
import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
QTUNE = os.path.join(ROOT, "build/bin/qtune")
MODEL = os.path.join(ROOT, "tests/data/models/llama_tied")


def write_job(folder, timeout):
    rng = random.Random(0)
    with open(os.path.join(folder, "data.jsonl"), "w") as f:
        for i in range(96):
            ids = [rng.randrange(3, 331) for _ in range(rng.randrange(8, 60))]
            f.write(json.dumps({"id": f"s{i}", "input_ids": ids}) + "\n")
    config = {
        "model_name_or_path": MODEL, "dataset": os.path.join(folder, "data.jsonl"), "finetuning_type": "full",
        "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "max_steps": 150, "save_strategy": "steps",
        "save_steps": 10, "save_total_limit": 2, "ddp_timeout": timeout, "use_cpu": True,
    }
    with open(os.path.join(folder, "job.yaml"), "w") as f:
        f.writelines(f"{key}: {json.dumps(value)}\n" for key, value in config.items())
        f.write("pruning: {sample: {method: qtuning, keep: 0.5}, token: {method: qtuning, keep: 0.5}}\n")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(folder, name, ranks):
    port, processes = free_port(), []
    for rank in range(ranks):
        env = dict(os.environ, RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_RANK=str(rank),
                   LOCAL_WORLD_SIZE=str(ranks), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS="1",
                   OMP_WAIT_POLICY="passive", QTUNE_CACHE="")
        with open(os.path.join(folder, f"{name}.{rank}.log"), "w") as log:
            processes.append(subprocess.Popen(
                [QTUNE, "train", "--config", os.path.join(folder, "job.yaml"),
                 "output_dir=" + os.path.join(folder, name)], env=env, stderr=log))
    return processes


def weights(folder, name):
    with open(os.path.join(folder, name, "checkpoint-150", "model.safetensors"), "rb") as f:
        return f.read()


def errors(folder, name, ranks):
    lines = []
    for rank in ranks:
        with open(os.path.join(folder, f"{name}.{rank}.log")) as f:
            lines += [line for line in f if line.startswith("error")]
    return lines


def wait(process, seconds):
    try:
        return process.wait(timeout=max(0.1, seconds))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return "hung"


def one_point(folder, name, a, victim, kind, delay, reference):
    """Returns what happened in words, and whether all of it is as promised; None where the run was over already."""
    processes = start(folder, name, a.ranks)
    time.sleep(delay)
    if processes[victim].poll() is not None:
        for p in processes:
            p.wait()
        return "over already", None
    begin = time.time()
    processes[victim].send_signal(kind)
    codes = [wait(p, a.timeout + 10 - (time.time() - begin)) for r, p in enumerate(processes) if r != victim]
    took = time.time() - begin
    if codes == [0] * len(codes):  # the victim had done its work, too
        processes[victim].send_signal(signal.SIGCONT)
        return f"over already, code {wait(processes[victim], 20)}", None
    if kind == signal.SIGSTOP:
        processes[victim].send_signal(signal.SIGCONT)
    wait(processes[victim], 20)
    said = errors(folder, name, [r for r in range(a.ranks) if r != victim])
    named = bool(said) and all(f"rank {victim}" in line or f"none of {victim}" in line for line in said)
    again = [wait(p, 120) for p in start(folder, name, a.ranks)]
    equal = again == [0] * a.ranks and weights(folder, name) == reference
    ok = all(code == 5 for code in codes) and named and equal
    text = f"codes {codes}, {took:.1f} s, {len(said)} messages, named: {named}, same command bit-equal: {equal}"
    return text + ("" if ok else "\n  " + "  ".join(said)), ok


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--points", type=int, default=30)
    parser.add_argument("--ranks", type=int, default=3)
    parser.add_argument("--timeout", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    a = parser.parse_args()
    random.seed(a.seed)
    with tempfile.TemporaryDirectory() as folder:
        write_job(folder, a.timeout)
        begin = time.time()
        if any(p.wait() != 0 for p in start(folder, "whole", a.ranks)):
            sys.exit("the undisturbed run failed:\n" + "".join(errors(folder, "whole", range(a.ranks))))
        seconds, reference = time.time() - begin, weights(folder, "whole")
        print(f"an undisturbed run takes {seconds:.1f} s")
        hits = faults = 0
        for i in range(a.points):
            kind = (signal.SIGKILL, signal.SIGSTOP)[i // a.ranks % 2]
            delay = random.uniform(0.05, seconds * 0.95)
            text, ok = one_point(folder, f"point{i}", a, i % a.ranks, kind, delay, reference)
            hits += ok is not None
            faults += ok is False
            print(f"{i}: {kind.name} of rank {i % a.ranks} after {delay:.1f} s: {text}", flush=True)
        print(f"{hits} points hit the run, {faults} faults")
        sys.exit(faults > 0)


if __name__ == "__main__":
    main()
