#!/usr/bin/env python3
"""Greedy generation, qtune against transformers: the same questions through the model's chat template, in turn in one
run. Every answer is checked to be the same.

    generation.py --model FOLDER --data GSM8K_test.jsonl [--rounds 3] [--questions 16] [--tokens 64] [--batches 1 16]
                  [--dtype float32] [--threads 2] [--python PYTHON]

New tokens a second, prompts included, loading the model not. PYTHON has tools/bench/requirements.txt installed.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
QTUNE = os.path.join(HERE, "..", "..", "build", "bin", "qtune")


def run(command, env):
    result = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {result.returncode}\n{result.stderr[-2000:]}")
    return result


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True)
    ap.add_argument("--data", required=True)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--questions", type=int, default=16)
    ap.add_argument("--tokens", type=int, default=64)
    ap.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    ap.add_argument("--dtype", default="float32")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--python", default=sys.executable)
    a = ap.parse_args()
    env = dict(os.environ, OMP_NUM_THREADS=str(a.threads), HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="")
    with tempfile.TemporaryDirectory() as d:
        questions = os.path.join(d, "questions.jsonl")
        with open(a.data) as f, open(questions, "w") as out:
            for _ in range(a.questions):
                out.write(json.dumps({"prompt": json.loads(next(f))["question"]}) + "\n")
        for batch in a.batches:
            rows = []
            for k in range(a.rounds):
                ours = run([QTUNE, "generate", "--model", a.model, "--prompts", questions, "--max-new-tokens",
                            str(a.tokens), "--batch-size", str(batch), "--dtype", a.dtype], env)
                tokens, seconds = re.search(r"(\d+) tokens in ([\d.]+) s", ours.stderr).groups()
                text = run([a.python, os.path.join(HERE, "transformers_generate.py"), a.model, questions, str(a.tokens),
                            str(batch), a.dtype], env).stdout
                theirs = json.loads(text.split("RESULT ", 1)[1])
                answers = [json.loads(line)["tokens"] for line in ours.stdout.splitlines()]
                row = {"qtune": int(tokens) / float(seconds), "transformers": theirs["tokens"] / theirs["seconds"],
                       "same_answers": sum(x == y for x, y in zip(answers, theirs["answers"]))}
                row["ratio"] = row["qtune"] / row["transformers"]
                rows.append(row)
                print(f"batch {batch}, round {k + 1}: {json.dumps(row)}", flush=True)
            ratios = [r["ratio"] for r in rows]
            print(f"batch {batch}: tokens/s {statistics.median(r['qtune'] for r in rows):.1f} against "
                  f"{statistics.median(r['transformers'] for r in rows):.1f}; ratio {statistics.median(ratios):.2f} "
                  f"({min(ratios):.2f}, {max(ratios):.2f}); answers equal {min(r['same_answers'] for r in rows)} of "
                  f"{a.questions}", flush=True)


if __name__ == "__main__":
    main()
