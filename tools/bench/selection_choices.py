#!/usr/bin/env python3
"""What each choice that the paper leaves open changes in the decisions, on real scores.

    selection_choices.py SCORES.jsonl [--group 32]

SCORES is what `qtune score` wrote. Samples are judged in groups of so many, in the file's order, as a run judges a step.
For each option, against the defaults: how many of the kept samples are others, how many of the tokens that train are
others (Jaccard distance over (sample, token)), and how many tokens train.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

QTUNE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../build/bin/qtune")
OPTIONS = {
    "defaults": [],
    "neighbours averaged": ["--neighbours", "mean"],
    "lambda 0: the token alone": ["--lambda", "0"],
    "lambda 1: the neighbours alone": ["--lambda", "1"],
    "highest salience kept (reversed)": ["--reverse"],
    "supplements kept whole": ["--supplement-tokens", "keep"],
    "supplements pruned": ["--supplement-tokens", "prune"],
    "ends of turns like other tokens": ["--no-keep-end-of-turn"],
    "tokens of Q2 and Q4 pruned": ["--pruned-quadrants", "Q2", "Q4"],
    "no token pruned": ["--token-keep", "1"],
    "3 bisection rounds": ["--iterations", "3"],
    "20 bisection rounds": ["--iterations", "20"],
}


def decide(lines, group, options, folder):
    """The decision on each of `lines`, in their order, judged in groups of so many."""
    decisions = []
    for first in range(0, len(lines), group):
        path = os.path.join(folder, "group.jsonl")
        with open(path, "w") as f:
            f.writelines(lines[first:first + group])
        out = subprocess.run([QTUNE, "select", path, *options], capture_output=True, text=True)
        if out.returncode != 0:
            sys.exit(out.stderr)
        decisions += map(json.loads, out.stdout.split("\n")[:-1])
    return decisions


def tokens_of(decisions):
    """The trained tokens of each sample that is kept."""
    return {d["id"]: d["kept_tokens"] for d in decisions if d["kept"]}


def distance(a, b):
    return 1 - len(a & b) / len(a | b)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("scores")
    ap.add_argument("--group", type=int, default=32)
    a = ap.parse_args()
    with open(a.scores) as f:
        lines = f.readlines()
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: tokens_of(decide(lines, a.group, options, folder)) for name, options in OPTIONS.items()}
        for size in (8, 16, a.group, len(lines)):
            runs[f"judged {size} at a time"] = tokens_of(decide(lines, size, [], folder))
    base = runs["defaults"]
    base_tokens = {(s, k) for s, tokens in base.items() for k in tokens}
    print(f"{len(lines)} samples in groups of {a.group}\n\n| | other samples | other tokens | samples | tokens |\n|---|---|---|---|---|")
    for name, kept in runs.items():
        tokens = {(s, k) for s, indices in kept.items() for k in indices}
        print(f"| {name} | {distance(set(kept), set(base)):.0%} | {distance(tokens, base_tokens):.0%} | {len(kept)} | "
              f"{len(tokens)} |")


if __name__ == "__main__":
    main()
