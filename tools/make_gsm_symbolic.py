#!/usr/bin/env python3
"""Writes grade-school maths problems with worked solutions as chat data: train.jsonl and heldout.jsonl.

    make_gsm_symbolic.py OUT_DIR [--train 512] [--heldout 40] [--seed 1] [--form messages|prompt_completion]
                         [--package DIR]

The text is `gsm_symbolic` of the PyPI package reasoning-gym: 85 problem templates with seeded names and numbers, about
230 tokens a sample. No problem is written twice; both files draw on the same templates. Same arguments: same files.
--package: a folder that holds reasoning_gym/ (installed with --no-deps: nothing else is needed, see `load_gsm_symbolic`).
"""
import argparse
import json
import os
import sys
import types


def load_gsm_symbolic(folder):
    """The dataset's two classes, imported around the packages' own __init__ files: those load every dataset of
    reasoning-gym, with some ten further packages that gsm_symbolic doesn't use."""
    if folder is None:
        import importlib.util
        spec = importlib.util.find_spec("reasoning_gym")
        if spec is None:
            sys.exit("make_gsm_symbolic: reasoning-gym not found ---> pip install --no-deps --target DIR reasoning-gym, "
                     "then give --package DIR")
        folder = os.path.dirname(os.path.dirname(spec.origin))
    if not os.path.isdir(os.path.join(folder, "reasoning_gym")):
        sys.exit(f"make_gsm_symbolic: {folder}: expected a folder reasoning_gym in it ---> check --package")
    for name in ("reasoning_gym", "reasoning_gym.arithmetic", "reasoning_gym.coaching"):
        package = types.ModuleType(name)
        package.__path__ = [os.path.join(folder, *name.split("."))]
        sys.modules[name] = package
    from reasoning_gym.arithmetic.gsm_symbolic import gsm_symbolic
    return gsm_symbolic.GSMSymbolicDataset, gsm_symbolic.GSMSymbolicDatasetConfig


def record(number, item, form):
    question, answer = item["question"].strip(), item["metadata"]["answer_cot"].strip()
    if form == "prompt_completion":
        return {"id": f"gsm-symbolic-{number}", "prompt": question, "completion": answer}
    return {"id": f"gsm-symbolic-{number}", "messages": [{"role": "user", "content": question},
                                                         {"role": "assistant", "content": answer}]}


def write(path, records):
    with open(path + ".tmp", "w", encoding="utf-8") as f:
        f.writelines(json.dumps(r, ensure_ascii=False) + "\n" for r in records)
    os.replace(path + ".tmp", path)
    print(f"{path}: {len(records)} samples", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--train", type=int, default=512)
    parser.add_argument("--heldout", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--form", choices=["messages", "prompt_completion"], default="messages")
    parser.add_argument("--package")
    args = parser.parse_args()
    dataset_class, config_class = load_gsm_symbolic(args.package)

    wanted = args.train + args.heldout
    # Sample i is made from seed + i, so that neighbouring seeds would share samples: they are set far apart.
    dataset = dataset_class(config_class(seed=args.seed * 1_000_003, size=2 * wanted + 1000))
    records, seen = [], set()
    for number in range(len(dataset)):
        item = dataset[number]
        if item["question"] not in seen and len(records) < wanted:
            seen.add(item["question"])
            records.append(record(number, item, args.form))
        if len(records) == wanted:
            break
    if len(records) < wanted:
        sys.exit(f"make_gsm_symbolic: expected {wanted} different problems, found {len(records)} ---> ask for fewer")
    os.makedirs(args.out, exist_ok=True)
    write(os.path.join(args.out, "heldout.jsonl"), records[:args.heldout])
    write(os.path.join(args.out, "train.jsonl"), records[args.heldout:])


if __name__ == "__main__":
    main()
