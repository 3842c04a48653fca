#!/usr/bin/env python3
"""Tokens a second, qtune against Hugging Face's tokenizers (tokenizer.json) and sentencepiece (tokenizer.model), in turn in
one run, each in a process of its own.

    tokenizer.py --data GSM8K_train.jsonl --tokenizer FOLDER... [--threads 1 2] [--rounds 5] [--python PYTHON]

A text is a question and its answer. Timed on either side: from texts in memory to token ids, without loading, reading and
writing. The rivals get the whole list at once (encode_batch_fast, which computes no offsets; sentencepiece's encode with
num_threads). PYTHON has tools/bench/requirements.txt installed.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
QTUNE = os.path.join(HERE, "..", "..", "build", "bin", "qtune")

RIVAL = """
import json, os, sys, time
folder, texts, threads = sys.argv[1], [json.loads(line) for line in open(sys.argv[2])], int(sys.argv[3])
path = os.path.join(folder, "tokenizer.json")
if os.path.exists(path):
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(path)
    start = time.perf_counter()
    out = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    seconds = time.perf_counter() - start
    tokens = sum(len(e.ids) for e in out)
else:
    import sentencepiece
    processor = sentencepiece.SentencePieceProcessor(model_file=os.path.join(folder, "tokenizer.model"))
    start = time.perf_counter()
    out = processor.encode(texts, num_threads=threads)
    seconds = time.perf_counter() - start
    tokens = sum(len(ids) for ids in out)
print(json.dumps({"tokens": tokens, "seconds": seconds}))
"""


def run(command, **kwargs):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command[:3])}: exit {result.returncode}\n{result.stderr[-2000:]}")
    return result


def time_qtune(qtune, folder, texts, threads):
    command = [qtune, "tokenize", "--model", folder, "--json", "--time", "--threads", str(threads)]
    with open(texts) as f:
        line = run(command, stdin=f).stderr.splitlines()[-1]  # "7473 lines, 1388693 tokens, 0.090474 s, ..."
    tokens, seconds = line.split(", ")[1:3]
    return int(tokens.split()[0]), float(seconds.split()[0])


def time_rival(python, folder, texts, threads):
    env = dict(os.environ, RAYON_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM="true" if threads > 1 else "false")
    result = json.loads(run([python, "-c", RIVAL, folder, texts, str(threads)], env=env).stdout)
    return result["tokens"], result["seconds"]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", required=True)
    ap.add_argument("--tokenizer", required=True, nargs="+", help="folders with tokenizer.json or tokenizer.model")
    ap.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--python", default=sys.executable)
    ap.add_argument("--qtune", default=QTUNE)
    a = ap.parse_args()
    with tempfile.TemporaryDirectory() as d:
        texts = os.path.join(d, "texts.jsonl")
        with open(a.data) as f, open(texts, "w") as out:
            for line in f:
                r = json.loads(line)
                out.write(json.dumps(r["question"] + "\n" + r["answer"]) + "\n")
        print(f"{'tokenizer':16}{'threads':>8}{'qtune Mtok/s':>14}{'rival Mtok/s':>14}  ratio: median (min, max)")
        for folder in a.tokenizer:
            for threads in a.threads:
                ours, theirs, ratios = [], [], []
                for _ in range(a.rounds):
                    tokens, seconds = time_qtune(a.qtune, folder, texts, threads)
                    their_tokens, their_seconds = time_rival(a.python, folder, texts, threads)
                    if tokens != their_tokens:
                        sys.exit(f"{folder}: expected {their_tokens} tokens as the rival has them, found {tokens}")
                    ours.append(tokens / seconds / 1e6)
                    theirs.append(tokens / their_seconds / 1e6)
                    ratios.append(ours[-1] / theirs[-1])
                print(f"{os.path.basename(os.path.normpath(folder)):16}{threads:8}{statistics.median(ours):14.2f}"
                      f"{statistics.median(theirs):14.2f}  {statistics.median(ratios):.2f} ({min(ratios):.2f}, "
                      f"{max(ratios):.2f})", flush=True)


if __name__ == "__main__":
    main()
