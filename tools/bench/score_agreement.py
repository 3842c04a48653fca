#!/usr/bin/env python3
"""How many decisions stay the same when scores are computed in another type.

    score_agreement.py FLOAT32.jsonl OTHER.jsonl... [--group 32]

Each file is what `qtune score --dtype ...` wrote of the same samples. They are judged in groups of so many, in the file's
order, as a run judges a step, by `qtune select`'s defaults. Printed for each OTHER: samples that are kept or dropped as by
FLOAT32; samples in the same quadrant; trained tokens of samples that both keep, which are trained or masked alike; and the
mean difference of the loss of a token, in nats.
"""
import argparse
import json
import os
import tempfile

from selection_choices import decide


def mean_difference(lines, others):
    total, count = 0.0, 0
    for a, b in zip(map(json.loads, lines), map(json.loads, others)):
        total += sum(abs(x - y) for x, y in zip(a["nll"], b["nll"]))
        count += len(a["nll"])
    return total / count


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("float32")
    ap.add_argument("others", nargs="+")
    ap.add_argument("--group", type=int, default=32)
    a = ap.parse_args()
    with open(a.float32) as f:
        lines = f.readlines()
    with tempfile.TemporaryDirectory() as folder:
        base = decide(lines, a.group, [], folder)
        print(f"{len(lines)} samples in groups of {a.group}, {sum(d['kept'] for d in base)} kept\n")
        print("| | kept or dropped alike | same quadrant | tokens of samples kept by both | mean difference of a loss |\n|---|---|---|---|---|")
        for path in a.others:
            with open(path) as f:
                others = f.readlines()
            found = decide(others, a.group, [], folder)
            pairs = list(zip(base, found, map(json.loads, lines), strict=True))
            if any(x["id"] != y["id"] for x, y, _ in pairs):
                raise SystemExit(f"{path}: expected the samples of {a.float32} in its order")
            both = [(set(x["kept_tokens"]), set(y["kept_tokens"]), len(s["nll"])) for x, y, s in pairs if x["kept"] and y["kept"]]
            tokens = 1 - sum(len(x ^ y) for x, y, _ in both) / sum(n for _, _, n in both)
            print(f"| {os.path.basename(path)} | {sum(x['kept'] == y['kept'] for x, y, _ in pairs) / len(pairs):.1%} "
                  f"| {sum(x['quadrant'] == y['quadrant'] for x, y, _ in pairs) / len(pairs):.1%} | {tokens:.1%} "
                  f"| {mean_difference(lines, others):.4f} |")


if __name__ == "__main__":
    main()
