#!/usr/bin/env python3
"""Writes tiny.gguf, a two-layer llama with every stored type that qtune reads, and what converting it must give.

    python make_tiny.py        (made with gguf 0.19.0, numpy 2.4.6, safetensors 0.8.0, tokenizers 0.23.3)

expected.safetensors: fp32, Hugging Face's names; values by the gguf package's own de-quantisation.
tokenizer.json: saved by the tokenizers library from the same vocabulary.
"""
import os

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import GGUFWriter, dequantize, quantize
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

HERE = os.path.dirname(os.path.abspath(__file__))
HIDDEN, HEADS, KV_HEADS, HEAD_DIM, FFN, LAYERS = 32, 2, 1, 16, 64, 2
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", '"', "\\", "a", "b", "c", "d", "e", "Ġ", "Ċ", "1",
          "é", "ab", "abc", "Ġd", "Ġde", "Ġab"]
TYPES = [3, 3, 3, 4] + [1] * 16
MERGES = ["a b", "ab c", "Ġ d", "Ġd e", "Ġ ab"]
LAYER = [  # gguf name, Hugging Face name, rows, columns, stored type in layer 0 and in layer 1, heads to permute
    ("attn_norm", "input_layernorm", 0, HIDDEN, T.F32, T.F32, 0),
    ("ffn_norm", "post_attention_layernorm", 0, HIDDEN, T.F32, T.F32, 0),
    ("attn_q", "self_attn.q_proj", HEADS * HEAD_DIM, HIDDEN, T.Q8_0, T.Q4_0, HEADS),
    ("attn_k", "self_attn.k_proj", KV_HEADS * HEAD_DIM, HIDDEN, T.Q4_1, T.F16, KV_HEADS),
    ("attn_v", "self_attn.v_proj", KV_HEADS * HEAD_DIM, HIDDEN, T.Q4_0, T.F32, 0),
    ("attn_output", "self_attn.o_proj", HIDDEN, HEADS * HEAD_DIM, T.F16, T.Q4_1, 0),
    ("ffn_gate", "mlp.gate_proj", FFN, HIDDEN, T.BF16, T.Q8_0, 0),
    ("ffn_up", "mlp.up_proj", FFN, HIDDEN, T.Q4_1, T.Q4_0, 0),
    ("ffn_down", "mlp.down_proj", HIDDEN, FFN, T.F32, T.BF16, 0),
]


def add_tensor(writer, expected, rng, gguf_name, hf_name, rows, columns, stored, heads):
    shape = (rows, columns) if rows else (columns,)
    stored_bytes = quantize(rng.standard_normal(shape, dtype=np.float32), stored)
    writer.add_tensor(gguf_name, stored_bytes, raw_dtype=stored)
    values = dequantize(stored_bytes, stored).reshape(shape).astype(np.float32)
    if heads:  # rows 2j and 2j + 1 of a head are its rows j and j + h/2
        half = rows // heads // 2
        plain = np.empty_like(values)
        for head in range(heads):
            for j in range(half):
                plain[head * 2 * half + j] = values[head * 2 * half + 2 * j]
                plain[head * 2 * half + half + j] = values[head * 2 * half + 2 * j + 1]
        values = plain
    expected[hf_name] = np.ascontiguousarray(values)


def write_model():
    rng = np.random.default_rng(7)
    writer = GGUFWriter(os.path.join(HERE, "tiny.gguf"), "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(50000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types(TYPES)
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template("{{ messages[0]['content'] }}\n")
    expected = {}
    rows = len(TOKENS) + 4  # an embedding may have more rows than there are tokens
    add_tensor(writer, expected, rng, "token_embd.weight", "model.embed_tokens.weight", rows, HIDDEN, T.Q8_0, 0)
    add_tensor(writer, expected, rng, "output_norm.weight", "model.norm.weight", 0, HIDDEN, T.F32, 0)
    add_tensor(writer, expected, rng, "output.weight", "lm_head.weight", rows, HIDDEN, T.F16, 0)
    for i in range(LAYERS):
        for left, right, rows_, columns, first, second, heads in LAYER:
            add_tensor(writer, expected, rng, f"blk.{i}.{left}.weight", f"model.layers.{i}.{right}.weight", rows_, columns,
                       second if i else first, heads)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(expected, os.path.join(HERE, "expected.safetensors"), metadata={"format": "pt"})
    os.chmod(os.path.join(HERE, "expected.safetensors"), 0o644)


def write_tokenizer():
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(TOKENS)}, [tuple(m.split(" ")) for m in MERGES]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t, k in zip(TOKENS, TYPES) if k == 3])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t, k in zip(TOKENS, TYPES) if k == 4])
    tokenizer.save(os.path.join(HERE, "tokenizer.json"))


write_model()
write_tokenizer()
