#!/usr/bin/env python3
"""qtune eval against lm-evaluation-harness on the same local files, in float32 on the CPU.

    tools/bench/lm_eval_compare.py --qtune build/bin/qtune --model M --gsm8k FOLDER --work W [--chat]
        [--arc-items 100] [--arc-shots 0] [--gsm8k-items 12] [--gsm8k-shots 5]

FOLDER has GSM8K's train.jsonl and test.jsonl. Made in W: an ARC-form file (four-choice questions from GSM8K's, the
solution's last line as the right choice), task files that point lm-eval at it, both programs' outputs, compare.json.
Compared: log-likelihoods item by item, predictions, scores. Needs lm-eval 0.4 and transformers.
"""
import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path

ARC_TASK = """task: arc_local
dataset_path: json
dataset_kwargs: {{data_files: {{train: {folder}/train.jsonl, test: {folder}/test.jsonl}}}}
output_type: multiple_choice
training_split: train
test_split: test
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_target: "{{{{choices.label.index(answerKey)}}}}"
doc_to_choice: "{{{{choices.text}}}}"
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}, {{metric: acc_norm, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1.0}}
"""


def arguments():
    p = argparse.ArgumentParser()
    for name in ("qtune", "model", "gsm8k", "work"):
        p.add_argument("--" + name, required=True)
    p.add_argument("--arc-items", type=int, default=100)
    p.add_argument("--arc-shots", type=int, default=0)
    p.add_argument("--gsm8k-items", type=int, default=12)
    p.add_argument("--gsm8k-shots", type=int, default=5)
    p.add_argument("--chat", action="store_true")
    return p.parse_args()


def read_lines(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(json.dumps(row) + "\n" for row in rows)


def arc_rows(rows, draw):
    """Four sentences for each question: its own solution's first line, and those of three others."""
    lines = [r["answer"].split("\n")[0].split("<<")[0].strip() or "none" for r in rows]
    out = []
    for i, row in enumerate(rows):
        order = draw.sample([i] + draw.sample([j for j in range(len(rows)) if j != i], 3), 4)
        labels = draw.choice([list("ABCD"), list("1234")])
        out.append({"id": str(i), "question": row["question"], "answerKey": labels[order.index(i)],
                    "choices": {"text": [lines[j] for j in order], "label": labels}})
    return out


def make_files(a, work):
    train, test = (read_lines(Path(a.gsm8k) / f"{split}.jsonl") for split in ("train", "test"))
    draw = random.Random(5)
    write_lines(work / "data/arc_easy/test.jsonl", arc_rows(test[:a.arc_items], draw))
    write_lines(work / "data/arc_easy/train.jsonl", arc_rows(train[:300], draw))
    write_lines(work / "data/gsm8k/test.jsonl", test[:a.gsm8k_items])
    write_lines(work / "data/gsm8k/train.jsonl", train)


def run_qtune(a, work, task, shots, limit):
    out = work / f"qtune_{task}"
    command = [a.qtune, "eval", "--model", a.model, "--tasks", task, "--data-dir", str(work / "data"), "--out", str(out),
               "--num-fewshot", str(shots), "--limit", str(limit), "--device", "cpu"]
    start = time.time()
    subprocess.run(command + (["--apply-chat-template"] if a.chat else []), check=True)
    items = {line["doc_id"]: line for line in read_lines(out / f"{task}.jsonl")}
    results = {r["metric"]: r for r in json.load(open(out / "results.json", encoding="utf-8"))}
    return [items[i] for i in sorted(items)], results, time.time() - start


def lm_eval_tasks(work):
    """The harness' own gsm8k on our files, and ARC's rules on ours."""
    import lm_eval
    import yaml

    folder = work / "tasks"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "arc_local.yaml").write_text(ARC_TASK.format(folder=work / "data/arc_easy"), encoding="utf-8")
    gsm8k = yaml.safe_load((Path(lm_eval.__file__).parent / "tasks/gsm8k/gsm8k.yaml").read_text(encoding="utf-8"))
    data = {split: f"{work}/data/gsm8k/{split}.jsonl" for split in ("train", "test")}
    gsm8k.update(task="gsm8k_local", dataset_path="json", dataset_kwargs={"data_files": data})
    del gsm8k["dataset_name"]
    (folder / "gsm8k_local.yaml").write_text(yaml.safe_dump(gsm8k), encoding="utf-8")
    return folder


def run_lm_eval(a, folder, task, shots, limit):
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    start = time.time()
    model = HFLM(pretrained=a.model, device="cpu", dtype="float32", batch_size=4)
    done = simple_evaluate(model=model, tasks=[task], num_fewshot=shots, limit=limit, log_samples=True, bootstrap_iters=0,
                           apply_chat_template=a.chat, task_manager=TaskManager(include_path=str(folder)))
    return done["samples"][task], done["results"][task], time.time() - start


def compare_arc(ours, theirs):
    by_doc = {s["doc_id"]: s for s in theirs}
    largest = 0.0
    for item in ours:
        sample = by_doc[item["doc_id"]]
        assert sample["arguments"][0][0] == item["prompt"], "another prompt"
        values = [float(r[0][0] if isinstance(r[0], (list, tuple)) else r[0]) for r in sample["resps"]]
        largest = max([largest] + [abs(x - y) for x, y in zip(values, item["logprobs"], strict=True)])
    same = sum(all(by_doc[i["doc_id"]][m] == i["metrics"][m] for m in ("acc", "acc_norm")) for i in ours)
    return {"items": len(ours), "largest_difference": largest, "same_predictions": same}


def compare_gsm8k(ours, theirs):
    report = {"items": len(ours)}
    for name in ("strict-match", "flexible-extract"):
        by_doc = {s["doc_id"]: s for s in theirs if s["filter"] == name}
        for item in ours:
            assert by_doc[item["doc_id"]]["arguments"][0][0] == item["prompt"], "another prompt"
        report["same_" + name] = sum(by_doc[i["doc_id"]]["filtered_resps"][0] == i["extracted"][name] for i in ours)
    report["same_text"] = sum(by_doc[i["doc_id"]]["resps"][0][0] == i["raw"] for i in ours)
    return report


def scores(ours, theirs):
    named = {k.replace(",none", ""): v for k, v in theirs.items() if isinstance(v, float)}
    return {metric: {"qtune": r["value"], "lm_eval": named.get(metric), "qtune_stderr": r["stderr"]} for metric, r in ours.items()}


def main():
    a = arguments()
    work = Path(a.work).absolute()
    make_files(a, work)
    folder = lm_eval_tasks(work)
    report = {}
    plan = [("arc_easy", "arc_local", a.arc_shots, a.arc_items, compare_arc),
            ("gsm8k", "gsm8k_local", a.gsm8k_shots, a.gsm8k_items, compare_gsm8k)]
    for task, local, shots, limit, compare in plan:
        if limit == 0:
            continue
        ours, our_results, our_seconds = run_qtune(a, work, task, shots, limit)
        theirs, their_results, their_seconds = run_lm_eval(a, folder, local, shots, limit)
        report[task] = {"shots": shots, **compare(ours, theirs), "scores": scores(our_results, their_results),
                        "seconds": {"qtune": round(our_seconds, 1), "lm_eval": round(their_seconds, 1)}}
        print(json.dumps(report[task], indent=1), file=sys.stderr)
    (work / "compare.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
