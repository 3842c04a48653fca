#!/usr/bin/env python3
"""Writes cases.jsonl: conversations rendered by transformers' apply_chat_template with the templates of this folder.

Each line: template, tokens (tokenizer_config.json's), messages, and what came out: text (and prompt, with the
assistant's header), or error (the template's own message). trained: for each answer what counts as trained, told here
by hand. Today's date is written as {DATE}.
"""
import datetime
import json
import pathlib
import random

import tokenizers
import transformers

HERE = pathlib.Path(__file__).parent
CHATML = {"eos_token": "<|im_end|>"}
LLAMA = {"bos_token": "<s>", "eos_token": "</s>"}


def thoughtless(content):
    return content.split("</think>")[-1].lstrip("\n") if "</think>" in content else content


def qwen3(content, last):
    if not last:
        return thoughtless(content) + "<|im_end|>"
    if "</think>" not in content:
        return content.lstrip("\n") + "<|im_end|>"
    thought = content.split("</think>")[0].rstrip("\n").split("<think>")[-1].lstrip("\n").strip("\n")
    before = "<think>\n" if content.startswith("<think>\n") else ""
    return before + thought + "\n</think>\n\n" + thoughtless(content) + "<|im_end|>"


# tokens, and the trained text of an answer
TEMPLATES = {
    "smollm2": (CHATML, lambda c, last: c + "<|im_end|>"),
    "llama2": (LLAMA, lambda c, last: c.strip() + " </s>"),
    "llama31": ({"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}, lambda c, last: c.strip() + "<|eot_id|>"),
    "qwen25": (CHATML, lambda c, last: c + "<|im_end|>"),
    "qwen3": (CHATML, qwen3),
    "mistral_v1": (LLAMA, lambda c, last: c + "</s>"),
    "mistral_v3": (LLAMA, lambda c, last: c.strip() + "</s>"),
    "gemma": ({"bos_token": "<bos>", "eos_token": "<end_of_turn>"}, lambda c, last: c.strip() + "<end_of_turn>"),
    "phi": ({"eos_token": "<|end|>"}, lambda c, last: c + "<|end|>"),
    "deepseek": ({"bos_token": "<|begin|>", "eos_token": "<|end of sentence|>"},
                 lambda c, last: c.split("</think>")[-1] + "<|end of sentence|>"),
    "zephyr": (LLAMA, lambda c, last: c + "</s>"),
    "generation": (CHATML, lambda c, last: c + "<|im_end|>"),
}
ORDINARY = ["What is 2+2?", "Paris.", "  leading", "trailing  ", "line\n\nbreak", "日本語 🙂", "{{ x }}", '{"a": [1]}', "é\tü"]
THOUGHTS = ["<think>\nadd them\n</think>\n\nIt is 4.", "<think>\n\n</think>\n\nFour."]


def conversation(rng, name, case):
    messages = []
    if rng.random() < 0.4:
        messages.append({"role": "system", "content": rng.choice(ORDINARY)})
    for _ in range(rng.randint(1, 3)):
        messages.append({"role": "user", "content": rng.choice(ORDINARY)})
        if name in ("qwen25", "qwen3", "llama31", "mistral_v3", "generation") and rng.random() < 0.15:
            messages.append({"role": "tool", "content": rng.choice(ORDINARY)})
        answers = ORDINARY + THOUGHTS * 3 if name in ("qwen3", "deepseek") else ORDINARY
        messages.append({"role": "assistant", "content": rng.choice(answers)})
    if case % 10 == 9:  # roles that some templates refuse
        messages.insert(rng.randrange(len(messages)), {"role": "assistant", "content": "Oh."})
    return messages


def main():
    rng = random.Random(5)
    today = datetime.datetime.now().strftime("%d %b %Y")
    with open(HERE / "cases.jsonl", "w", encoding="utf-8") as out:
        for name, (tokens, trained) in TEMPLATES.items():
            source = (HERE / f"{name}.jinja").read_text(encoding="utf-8")
            tokenizer = transformers.PreTrainedTokenizerFast(
                tokenizer_object=tokenizers.Tokenizer(tokenizers.models.BPE()), chat_template=source, **tokens)
            for case in range(20):
                messages = conversation(rng, name, case)
                line = {"template": name, "tokens": tokens, "messages": messages}
                try:
                    line["text"] = tokenizer.apply_chat_template(messages, tokenize=False).replace(today, "{DATE}")
                    line["prompt"] = tokenizer.apply_chat_template(
                        messages, tokenize=False, add_generation_prompt=True).replace(today, "{DATE}")
                    last_query = max([i for i, m in enumerate(messages) if m["role"] == "user"])
                    line["trained"] = [trained(m["content"], i > last_query and i == len(messages) - 1)
                                       for i, m in enumerate(messages) if m["role"] == "assistant"]
                except Exception as e:
                    line = {k: line[k] for k in ("template", "tokens", "messages")} | {"error": str(e)}
                out.write(json.dumps(line, ensure_ascii=False) + "\n")


main()
