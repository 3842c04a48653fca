#!/usr/bin/env python3
"""Pairs of answers with the scores that the official scripts give them: tests/data/tasks/answers.json.

    tools/make_answer_pairs.py OUT

Needs lm-eval 0.4 (its hendrycks_math, filters and exact_match) and SQuAD's script as transformers 4 carries it
(transformers.data.metrics.squad_metrics; version 5 has it no more). The draws are Python's own. Seeded: the same file
each time.
"""
import json
import random
import sys

from lm_eval.api.metrics import exact_match_hf_evaluate
from lm_eval.filters.extraction import RegexFilter
from lm_eval.tasks.hendrycks_math.utils import is_equiv, last_boxed_only_string, process_results, remove_boxed
from transformers.data.metrics.squad_metrics import compute_exact, compute_f1, normalize_answer

WORDS = ["the", "a", "an", "The", "An", "theatre", "Paris", "1,200", "U.S.", "café", "Straße", "ÉTÉ", "İzmir", "ΟΔΟΣ",
         "north-west", "a-b", "an_x", "the\u00a0river", "it's", "“quoted”", "...", "", "$5", "co–op", "thé", "aé", "x"]
MATH = ["\\frac12", "\\frac{1}{2}", "1/2", "0.5", ".5", "\\dfrac{1}{2}", "\\tfrac1{2}", "\\sqrt3", "\\sqrt{3}", "\\sqrt",
        "5\\%", "5", "x=5", "xy=5", "abc=5", "a=b=5", "90^\\circ", "90^{\\circ}", "90", "\\$7", "7", "7\\text{ cm}",
        "7\\text{ c}\\text{ m}", "\\left(1,2\\right)", "(1,2)", "( 1 , 2 )", "(1,\\!000)", "-1/3", "1/-3", "01/3", "a/b",
        "1_0/3", "+1/3", "1/2/3", "\\frac", "\\frac1", "\\frac{3}4", "{.5}", "1 .5", "", "é/2", "\\frac é2", "\\sqrt é",
        "\n7", "\\\\frac12", "3/4", "\\frac34", "-0/1", " 3/4 ", "\\frac1b2", "12/ 13"]
NUMBERS = ["#### 72", "#### 1,200", "####72", "The answer is 7.", "$5.00", "-3", "- 3", "12", "5", ".", "$,", "#### -5.",
           "#### x #### 9", "\n", " ", "1,000,000 people", "x=3-2", "Question: 8", "3.", "#### 3.\n", "a", "--7", "2.50%"]


def squad_pairs(draw):
    pairs = []
    while len(pairs) < 500:
        golds = [" ".join(draw.choices(WORDS, k=draw.randrange(5))) for _ in range(draw.randrange(4))]
        near = golds and draw.random() < 0.6
        prediction = draw.choice(golds).upper() if near else " ".join(draw.choices(WORDS, k=draw.randrange(5)))
        answers = [g for g in golds if normalize_answer(g)] or [""]
        pairs.append({"golds": golds, "prediction": prediction, "normalized": normalize_answer(prediction),
                      "exact": max(compute_exact(g, prediction) for g in answers),
                      "f1": max(compute_f1(g, prediction) for g in answers)})
    return pairs


def math_pairs(draw):
    def expression():
        return draw.choice(["", "", "x=", " ", "-"]) + draw.choice(MATH) + draw.choice(["", "", "", "\\%", "^\\circ", "/2"])

    pairs = [{"a": "1/2", "b": "\\frac{1}{2}"}]
    while len(pairs) < 500:
        a = expression()
        pairs.append({"a": a, "b": draw.choice([a.replace("dfrac", "frac"), a + " ", expression(), draw.choice(MATH)])})
    return [{**p, "equal": is_equiv(p["a"], p["b"])} for p in pairs]


def boxed_answers():
    solutions = ["so $\\boxed{\\frac{1}{2}}$.", "\\boxed{1} then \\boxed{2}", "$\\boxed 7$ is", "none", "\\boxed{open",
                 "\\boxed 3", "\\boxed{a {b} c} \\boxed", "\\boxed{\\boxed{4}}"]
    answers = []
    for s in solutions:
        try:
            answers.append({"solution": s, "answer": remove_boxed(last_boxed_only_string(s))})
        except (AssertionError, TypeError):
            answers.append({"solution": s, "answer": None})
    return answers


def dollar_answers():
    texts = ["$5$", " 5", "$x$ and $5$", "5$", "", "we get $5$ then"]
    return [{"text": t, "right": process_results({"solution": "\\boxed{5}"}, [t])["exact_match"]} for t in texts]


def numbers(draw):
    strict = RegexFilter("#### (\\-?[0-9\\.\\,]+)")
    flexible = RegexFilter("(-?[$0-9.,]{2,})|(-?[0-9]+)", group_select=-1)
    ignored = [",", "\\$", "(?s).*#### ", "\\.$"]
    out = []
    for _ in range(300):
        text = draw.choice(["", " "]).join(draw.choices(NUMBERS, k=draw.randrange(6)))
        gold = draw.choice(["x\n#### 72", "#### 1,200", "so 5\n#### 5", "#### -5", "#### 3"])
        found = {"strict": strict.apply([[text]], [{}])[0][0], "flexible": flexible.apply([[text]], [{}])[0][0]}
        same = {k: bool(exact_match_hf_evaluate([v], [gold], regexes_to_ignore=ignored, ignore_case=True)["exact_match"])
                for k, v in found.items()}
        out.append({"text": text, "gold": gold, **found, "strict_right": same["strict"], "flexible_right": same["flexible"]})
    return out


def aliases(draw):
    words = [w for w in WORDS if w != "İzmir"]  # NumPy's lower cuts text that grows; nobody wants that rule
    out = []
    for _ in range(200):
        golds = [" ".join(draw.choices(words, k=draw.randrange(1, 3))) for _ in range(draw.randrange(1, 4))]
        prediction = draw.choice([draw.choice(golds).upper(), draw.choice(golds) + ".", draw.choice(words)]).strip()
        score = exact_match_hf_evaluate([prediction] * len(golds), golds, ignore_case=True, ignore_punctuation=True)
        out.append({"aliases": golds, "prediction": prediction, "right": bool(score["exact_match"] > 0)})
    return out


def draws():
    out = []
    for seed in (0, 1, 1234, 2**32 + 7):
        rng = random.Random(seed)
        sizes = [(7473, 5), (7473, 6), (21, 5), (22, 5), (85, 6), (86, 6), (3, 3), (1, 0), (2251, 25), (5, 2), (2**31, 4)]
        out.append({"seed": seed, "draws": [{"population": n, "sample": rng.sample(range(n), k)} for n, k in sizes]})
    return out


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    draw = random.Random(7)
    cases = {"squad": squad_pairs(draw), "math": math_pairs(draw), "boxed": boxed_answers(), "dollar": dollar_answers(),
             "numbers": numbers(draw), "aliases": aliases(draw), "draws": draws()}
    with open(sys.argv[1], "w", encoding="utf-8") as f:
        lines = (json.dumps(name) + ": [\n" + ",\n".join(json.dumps(c, ensure_ascii=False) for c in rows) + "]"
                 for name, rows in cases.items())
        f.write("{" + ",\n".join(lines) + "}\n")


if __name__ == "__main__":
    main()
