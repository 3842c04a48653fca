#!/usr/bin/env python3
"""Writes the seeds of the fuzzers' corpora, small files of each format:  tests/fuzz/make_corpus.py

They are named seed_*; what the fuzzers found themselves lies beside them under other names and is left alone.
"""
import json
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(os.path.dirname(HERE), "data")


def write(target, name, content):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "seed_" + name), "wb") as f:
        f.write(content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode())


def read(*path):
    with open(os.path.join(DATA, *path), "rb") as f:
        return f.read()


def models():
    return sorted(os.listdir(os.path.join(DATA, "models")))


def safetensors(header, num_bytes):
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + bytes(i % 251 for i in range(num_bytes))


def make_safetensors():
    sizes = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "F16": 2, "BF16": 2, "I32": 4, "F32": 4, "F64": 8, "I64": 8}
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for dtype, size in sizes.items():
        header[dtype.lower()] = {"dtype": dtype, "shape": [2, 3], "data_offsets": [end, end + 6 * size]}
        end += 6 * size
    write("safetensors", "all_dtypes", safetensors(header, end))
    write("safetensors", "empty", safetensors({}, 0))
    odd = {"scalar": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
           "none": {"dtype": "F32", "shape": [0, 7], "data_offsets": [4, 4]}}
    write("safetensors", "scalar_and_none", safetensors(odd, 4))
    hole = {"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}}
    write("safetensors", "hole", safetensors(hole, 2))
    shards = ["model-0000%d-of-00002.safetensors" % i for i in (1, 2)]
    whole = {"metadata": {"total_size": 36}, "weight_map": {"a": shards[0], "b": shards[0], "c": shards[1]}}
    write("safetensors_index", "whole", whole)
    module = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    adapter = {module + "A.weight": {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]},
               module + "B.weight": {"dtype": "BF16", "shape": [3, 2], "data_offsets": [32, 44]}}
    write("adapter_weights", "one_module", safetensors(adapter, 44))
    write("safetensors_index", "part", {"weight_map": {"c": shards[1]}})
    write("safetensors_index", "outside", {"weight_map": {"a": "../a.safetensors"}})


# Value types of GGUF's metadata.
U8, I8, U16, I16, U32, I32, F32, BOOL, TEXT, ARRAY, U64, I64, F64 = range(13)
PACK = {U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<?", U64: "<Q", I64: "<q",
        F64: "<d"}
# ggml's types: values and bytes of a block.
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 8: (32, 34), 30: (1, 2)}


def gguf_text(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf_value(kind, value):
    if isinstance(value, list):
        head = struct.pack("<IIQ", ARRAY, kind, len(value))
        return head + b"".join(gguf_value(kind, v)[4:] for v in value)
    return struct.pack("<I", kind) + (gguf_text(value) if kind == TEXT else struct.pack(PACK[kind], value))


def gguf(metadata, tensors, version=3):
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, (kind, value) in metadata.items():
        out += gguf_text(key) + gguf_value(kind, value)
    values = b""
    for name, (dimensions, kind) in tensors.items():
        count = 1
        for size in dimensions:
            count *= size
        out += gguf_text(name) + struct.pack("<I", len(dimensions)) + struct.pack("<%dQ" % len(dimensions), *dimensions)
        out += struct.pack("<IQ", kind, len(values))
        num_bytes = count // BLOCKS[kind][0] * BLOCKS[kind][1]
        values += bytes(i % 61 for i in range(num_bytes))
        values += bytes(-len(values) % 32)
    return out + bytes(-len(out) % 32) + values


def llama(hidden, kinds, **more):
    tokens = ["<s>", "</s>"] + [chr(c) for c in range(ord("!"), ord("~") + 1)] + ["Ġ", "Ċ", "ab", "aba"]
    metadata = {"general.architecture": (TEXT, "llama"),
                "llama.embedding_length": (U32, hidden),
                "llama.attention.head_count": (U32, 2),
                "llama.attention.head_count_kv": (U32, 1),
                "llama.feed_forward_length": (U32, hidden),
                "llama.block_count": (U32, 1),
                "llama.context_length": (U32, 64),
                "llama.rope.freq_base": (F32, 10000.0),
                "llama.attention.layer_norm_rms_epsilon": (F32, 1e-6),
                "tokenizer.ggml.model": (TEXT, "gpt2"),
                "tokenizer.ggml.pre": (TEXT, "smollm"),
                "tokenizer.ggml.tokens": (TEXT, tokens),
                "tokenizer.ggml.token_type": (I32, [3, 3] + [1] * (len(tokens) - 2)),
                "tokenizer.ggml.merges": (TEXT, ["a b", "ab a"]),
                "tokenizer.ggml.bos_token_id": (U32, 0),
                "tokenizer.ggml.eos_token_id": (U32, 1),
                "tokenizer.chat_template": (TEXT, "{% for m in messages %}{{ m.content }}{% endfor %}")}
    metadata.update(more)
    tensors = {"token_embd.weight": ([hidden, len(tokens)], kinds[0]), "output_norm.weight": ([hidden], 0)}
    shapes = {"attn_norm": [hidden], "ffn_norm": [hidden], "attn_q": [hidden, hidden], "attn_k": [hidden, hidden // 2],
              "attn_v": [hidden, hidden // 2], "attn_output": [hidden, hidden], "ffn_gate": [hidden, hidden],
              "ffn_up": [hidden, hidden], "ffn_down": [hidden, hidden]}
    for i, (name, shape) in enumerate(shapes.items()):
        tensors["blk.0.%s.weight" % name] = (shape, 0 if len(shape) == 1 else kinds[i % len(kinds)])
    return metadata, tensors


def make_gguf():
    write("gguf", "floats", gguf(*llama(4, [0, 1, 30])))
    write("gguf", "version_2", gguf(*llama(4, [30]), version=2))
    write("gguf", "blocks", gguf(*llama(32, [8, 2, 3])))
    kinds = {"k%d" % kind: (kind, 1) for kind in PACK}
    lists = {"l%d" % kind: (kind, [1, 0]) for kind in PACK}
    write("gguf", "all_values", gguf({**kinds, **lists, "general.alignment": (U32, 32)}, {"t": ([2, 2, 2, 1], 0)}))


def make_configs():
    for model in models():
        write("config", model, read("models", model, "config.json"))
        write("adapter_config", model, read("models", model, "adapter_trained", "adapter_config.json"))
    write("adapter_config", "plain", {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "lora_dropout": 0.1, "bias": "none",
                                      "use_rslora": True, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"})
    for model in ("llama3-tuned-8b", "mistral", "qwen2", "qwen3"):
        write("config", "hf_" + model, read("gguf_out", model, "config.json"))


def cut_tokenizer(tokenizer, num_tokens):
    """The same tokenizer with a vocabulary of about so many tokens."""
    model = tokenizer["model"]
    by_id = sorted(model["vocab"].items(), key=lambda entry: entry[1])
    kept = {token for token, _ in by_id[:num_tokens]}
    model["vocab"] = {token: id for id, (token, _) in enumerate(by_id[:num_tokens])}
    pairs = [merge if isinstance(merge, list) else merge.split(" ") for merge in model["merges"]]
    model["merges"] = [pair for pair in pairs if {*pair, "".join(pair)} <= kept]
    tokenizer["added_tokens"] = tokenizer["added_tokens"][:20]
    next_id = num_tokens
    for token in tokenizer["added_tokens"]:
        token["id"] = model["vocab"].get(token["content"], next_id)
        next_id += token["content"] not in model["vocab"]
    return tokenizer


def small_tokenizer(**sections):
    vocab = {token: id for id, token in enumerate(["<unk>", "a", "b", "ab", "▁", "▁a", "<0x0A>", "1", "é"])}
    out = {"added_tokens": [{"id": 0, "content": "<unk>", "special": True}, {"id": 9, "content": "aba", "lstrip": True}],
           "normalizer": None, "pre_tokenizer": None, "decoder": None,
           "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "vocab": vocab,
                     "merges": [["a", "b"], "▁ a"]}}
    out.update(sections)
    return out


def make_tokenizers():
    write("tokenizer_json", "gguf", read("gguf", "tokenizer.json"))
    for name in ("llama2", "llama3", "qwen2", "smollm2"):
        write("tokenizer_json", name, cut_tokenizer(json.loads(read("tokenizers", name, "tokenizer.json")), 300))
    write("tokenizer_json", "small", small_tokenizer())
    steps = [{"type": "NFC"}, {"type": "Prepend", "prepend": "▁"},
             {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]
    back = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]
    write("tokenizer_json", "normalizers", small_tokenizer(normalizer={"type": "Sequence", "normalizers": steps},
                                                           decoder={"type": "Sequence", "decoders": back}))
    cuts = [{"type": "Digits", "individual_digits": True}, {"type": "Whitespace"}, {"type": "WhitespaceSplit"},
            {"type": "Split", "pattern": {"String": "b"}, "behavior": "MergedWithNext", "invert": False},
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}]
    write("tokenizer_json", "pre_tokenizers", small_tokenizer(
        pre_tokenizer={"type": "Sequence", "pretokenizers": cuts},
        decoder={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}))
    write("tokenizer_model", "mistral", read("gguf_out", "mistral", "tokenizer.model"))
    write("tokenizer_model", "spm", read("tokenizers", "spm", "tokenizer.model"))


make_safetensors()
make_gguf()
make_configs()
make_tokenizers()
