#!/usr/bin/env python3
"""A model folder with random weights, for measuring speed and memory where no checkpoint is at hand.

    random_model.py OUT --tokenizer FOLDER [--shape tiny | smollm2-135m | smollm2-1.7b]

Shapes as in the published config.json files (tiny: SmolLM2's vocabulary on two small layers); tokenizer files are copied from FOLDER.
"""
import argparse
import pathlib
import shutil

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

SHAPES = {
    "tiny": {"hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "rope_theta": 100000.0},
    "smollm2-135m": {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
                     "num_key_value_heads": 3, "rope_theta": 100000.0},
    "smollm2-1.7b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24, "num_attention_heads": 32,
                     "num_key_value_heads": 32, "rope_theta": 130000.0},
}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out", type=pathlib.Path)
    ap.add_argument("--tokenizer", type=pathlib.Path, required=True)
    ap.add_argument("--shape", choices=SHAPES, default="smollm2-135m")
    a = ap.parse_args()
    torch.manual_seed(1)
    config = LlamaConfig(vocab_size=49152, max_position_embeddings=8192, rms_norm_eps=1e-5, tie_word_embeddings=True,
                         bos_token_id=1, eos_token_id=2, **SHAPES[a.shape])  # no pad token: its embedding would be 0
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(a.out)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(a.tokenizer / name, a.out / name)


if __name__ == "__main__":
    main()
