#!/usr/bin/env python3
"""GPU memory of full fine-tuning without a GPU: the run's allocations, batch by batch, through LibTorch's own caching
allocator above a stand-in of the CUDA runtime; with segments of fixed size and with segments that grow.

    gpu_memory.py --model FOLDER --data GSM8K_train.jsonl [--batch 32] [--steps 10]

FOLDER needs config.json and the tokenizer, no weights. The samples and batches are those of full_finetuning.py; bfloat16 on
float32 masters. The order of allocations follows src/model/model.cpp, src/cuda and src/optim; a change there is a change here.
Needs a build with tools/setup.sh --cuda=on (LibTorch's CUDA libraries and headers).
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

from data_order import epoch_order
from full_finetuning import QTUNE, run, write_data

HERE = os.path.dirname(os.path.abspath(__file__))
DEPS = os.path.join(HERE, "..", "..", ".deps", "torch")


class Trace:
    def __init__(self):
        self.lines, self.buffers = [], {}

    def allocate(self, name, size):
        self.lines.append(f"a {name} {size}")

    def free(self, name):
        self.lines.append(f"f {name}")

    def buffer(self, name, size):
        """src/model/workspace.h: keeps its memory, grows when it must."""
        if self.buffers.get(name, 0) >= size:
            return
        if name in self.buffers:
            self.free(name)
        self.allocate(name, size)
        self.buffers[name] = size

    def temporary(self, *sizes):
        for i, size in enumerate(sizes):
            self.allocate(f"t{i}", size)
        for i in range(len(sizes)):
            self.free(f"t{i}")


def trace_of(c, batches, batch_size):
    layers, d, f, heads, v = (c[k] for k in ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size"))
    head_dim = c.get("head_dim") or d // heads
    w, x = heads * head_dim, (heads + 2 * c["num_key_value_heads"]) * head_dim
    t = Trace()
    weights = [v * d] + layers * [d, x * d, d * w, d, 2 * f * d, d * f] + [d]
    if not c.get("tie_word_embeddings"):
        weights.append(v * d)
    for i, size in enumerate(weights):
        for what, width in (("master", 4), ("compute", 2), ("gradient", 4)):
            t.allocate(f"{what}{i}", width * size)
    for i, size in enumerate(weights):
        t.allocate(f"m{i}", 4 * size)
        t.allocate(f"v{i}", 4 * size)
    for n, m in batches:
        t.allocate("ids", 4 * (3 * n + m))
        t.buffer("layer_out", 2 * n * d)
        for i in range(layers):
            for name, size in (("x_in", 4 * n * d), ("x_mid", 4 * n * d), ("rstd_in", 4 * n), ("rstd_mid", 4 * n), ("qkv", 2 * n * x),
                               ("attention", 2 * n * w), ("logsumexp", 4 * n * heads), ("gate_up", 4 * n * f)):
                t.buffer(f"{i}.{name}", size)
            t.buffer("normed", 2 * n * d)
            t.buffer("projected", 2 * n * d)
            t.temporary(2 * n * w, 4 * n * heads)  # flash attention's results
            t.buffer("h", 2 * n * f)
        t.buffer("x_last", 4 * n * d)
        for name, size in (("x_rows", 4 * m * d), ("rstd_rows", 4 * m), ("hidden", 2 * m * d), ("dhidden", 2 * m * d)):
            t.buffer(name, size)
        t.temporary(16 * m, 4 * m, 4 * m, 4 * m, 96 << 20)  # scores, a tile of logits
        t.buffer("dx_rows", 4 * m * d)
        t.buffer("dx", 4 * n * d)
        for _ in range(layers):
            for name, size in (("dy", 2 * n * d), ("dnormed", 2 * n * d), ("dh", 2 * n * f), ("dattention", 2 * n * w), ("dqkv", 2 * n * x)):
                t.buffer(name, size)
            padded = n + 128 * batch_size
            t.temporary(16, 2 * n * w, 2 * n * w, 2 * n * w, 4 * padded * heads, 4 * padded * w)  # flash attention's
        t.free("ids")
    return "\n".join(t.lines) + "\n"


def build(folder):
    torch, cuda = os.path.join(DEPS, "torch"), os.path.join(DEPS, "nvidia", "cu13", "include")
    if not os.path.exists(os.path.join(torch, "lib", "libc10_cuda.so")):
        sys.exit(f"{torch}: expected LibTorch with CUDA, found none ---> tools/setup.sh --cuda=on")
    versions, program = os.path.join(folder, "versions"), os.path.join(folder, "replay")
    with open(versions, "w") as f:
        f.write("libcudart.so.13 { global: *; };\n")  # the names that libc10_cuda.so asks for
    flags = ["c++", "-std=c++20", "-O1", f"-I{torch}/include", f"-I{cuda}"]
    subprocess.run([*flags, "-shared", "-fPIC", os.path.join(HERE, "gpu_memory", "stand_in_runtime.cpp"), "-o", os.path.join(folder, "libcudart.so.13"),
                    "-Wl,-soname,libcudart.so.13", f"-Wl,--version-script={versions}"], check=True)
    # The program's own libcudart.so.13 is loaded first, and so the only one.
    subprocess.run([*flags, os.path.join(HERE, "gpu_memory", "replay.cpp"), "-o", program, f"-L{folder}", "-Wl,--no-as-needed", "-l:libcudart.so.13", f"-L{torch}/lib",
                    "-lc10_cuda", "-lc10", f"-Wl,-rpath,{folder}:{torch}/lib"], check=True)
    return program


def batches_of(a, folder):
    count = a.batch * (a.steps + 1)
    data, config = os.path.join(folder, "data.jsonl"), os.path.join(folder, "config.yaml")
    write_data(a.data, data, count)
    with open(config, "w") as f:
        json.dump({"model_name_or_path": os.path.abspath(a.model), "dataset": data, "output_dir": os.path.join(folder, "out"), "seed": 1, "cutoff_len": 512}, f)
    samples = [json.loads(line) for line in run([QTUNE, "inspect", "--config", config, "--json"], dict(os.environ)).splitlines()]
    sizes = [(len(s["input_ids"]), sum(label != -100 for label in s["labels"])) for s in samples]
    order = epoch_order(1, 0, count)
    return [tuple(map(sum, zip(*(sizes[k] for k in order[i:i + a.batch])))) for i in range(0, count, a.batch)]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True)
    ap.add_argument("--data", required=True)
    ap.add_argument("--batch", type=int, default=32)
    ap.add_argument("--steps", type=int, default=10)
    a = ap.parse_args()
    with open(os.path.join(a.model, "config.json")) as f:
        config = json.load(f)
    with tempfile.TemporaryDirectory() as folder:
        batches = batches_of(a, folder)
        trace, program = trace_of(config, batches, a.batch), build(folder)
        print(f"tokens of the {len(batches)} batches: {', '.join(str(n) for n, _ in batches)}")
        for settings in ("expandable_segments:False", "expandable_segments:True"):
            out = subprocess.run([program, settings], input=trace, capture_output=True, text=True)
            if out.returncode != 0:
                sys.exit(f"replay: exit {out.returncode}\n{out.stderr[-2000:]}")
            reserved, allocated = map(int, out.stdout.split())
            print(f"{settings:26} reserved {reserved / 2**20:9,.0f} MiB, allocated {allocated / 2**20:9,.0f} MiB")


if __name__ == "__main__":
    main()
