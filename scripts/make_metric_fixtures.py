"""Writes crates/metrics/tests/fixtures: what scikit-learn, scipy and seqeval say about random and awkward cases.

  pip install scikit-learn scipy seqeval
  python scripts/make_metric_fixtures.py
"""
import collections
import json
import random
import re
import string
import warnings
from pathlib import Path

import numpy as np
import sklearn
from seqeval.metrics import f1_score as span_f1, precision_score as span_precision, recall_score as span_recall
from seqeval.metrics.sequence_labeling import get_entities, precision_recall_fscore_support as span_support
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (
    accuracy_score, cohen_kappa_score, f1_score, matthews_corrcoef, mean_absolute_error, precision_recall_fscore_support,
    root_mean_squared_error,
)

warnings.simplefilter("ignore")
FOLDER = Path(__file__).resolve().parent.parent / "crates" / "metrics" / "tests" / "fixtures"


def class_case(gold, predicted, classes):
    p, r, f, s = precision_recall_fscore_support(gold, predicted, labels=range(classes), average=None, zero_division=0)
    return {
        "gold": gold, "predicted": predicted, "classes": classes,
        "accuracy": float(accuracy_score(gold, predicted)),
        "macro_f1": float(f1_score(gold, predicted, average="macro", zero_division=0)),
        "micro_f1": float(f1_score(gold, predicted, average="micro", zero_division=0)),
        "matthews": float(matthews_corrcoef(gold, predicted)),
        "precision": p.tolist(), "recall": r.tolist(), "f1": f.tolist(), "support": s.tolist(),
    }


def class_cases(rng):
    yield class_case([0], [0], 1)  # one class only
    yield class_case([0, 0, 0], [0, 0, 0], 3)  # two of three classes never occur
    yield class_case([0, 0, 0], [1, 1, 2], 3)  # nothing right
    yield class_case([0, 1, 0, 1], [1, 0, 1, 0], 2)  # always opposite
    yield class_case([0, 1, 2, 0, 1, 2], [0, 0, 0, 0, 0, 0], 3)  # classes never predicted
    yield class_case([4, 4, 4, 4], [4, 0, 2, 4], 7)  # classes predicted that never occur
    yield class_case([1] * 50 + [0], [1] * 51, 2)  # a majority that hides the other class
    for classes in (2, 3, 5, 11):
        for skill in (0.0, 0.3, 0.6, 0.9, 1.0):
            for n in (2, 7, 60):
                weights = [rng.random() ** 3 for _ in range(classes)]
                gold = rng.choices(range(classes), weights, k=n)
                yield class_case(gold, [g if rng.random() < skill else rng.randrange(classes) for g in gold], classes)


def set_case(gold, predicted, labels):
    matrix = lambda rows: np.array([[int(label in row) for label in range(labels)] for row in rows])
    f1 = lambda average: float(f1_score(matrix(gold), matrix(predicted), average=average, zero_division=0))
    return {
        "gold": gold, "predicted": predicted, "labels": labels,
        "macro_f1": f1("macro"), "micro_f1": f1("micro"), "sample_f1": f1("samples"),
    }


def set_cases(rng):
    yield set_case([[], []], [[], []], 2)  # nothing anywhere
    yield set_case([[0, 1], []], [[0, 1], []], 2)  # all right, one row without labels
    yield set_case([[], [1]], [[0], []], 3)  # nothing right, a label that never occurs
    yield set_case([[2, 0], [1]], [[0, 2], [0]], 3)  # the order in a set means nothing
    for labels in (2, 3, 28):
        for skill in (0.0, 0.3, 0.8, 1.0):
            for n in (1, 5, 60):
                share = [rng.random() ** 3 for _ in range(labels)]
                draw = lambda: [label for label in range(labels) if rng.random() < share[label]]
                gold = [draw() for _ in range(n)]
                yield set_case(gold, [g if rng.random() < skill else draw() for g in gold], labels)


def number_case(gold, predicted):
    r = lambda statistic: 0.0 if np.isnan(statistic) else float(statistic)  # scipy: NaN for a constant side
    return {
        "gold": gold, "predicted": predicted,
        "pearson": r(pearsonr(gold, predicted).statistic), "spearman": r(spearmanr(gold, predicted).statistic),
        "rmse": float(root_mean_squared_error(gold, predicted)),
    }


def number_cases(rng):
    yield number_case([1.0, 2.0], [5.0, 3.0])
    yield number_case([0.1] * 7, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])  # constant, and no mean is exactly 0.1
    yield number_case([1.0, 2.0, 3.0], [0.3, 0.3, 0.3])
    yield number_case([1.0, 1.0, 2.0, 2.0, 3.0], [2.0, 1.0, 2.0, 2.0, 5.0])  # ties on both sides
    yield number_case([1e9 + 1, 1e9 + 2, 1e9 + 4], [3.0, 1.0, 2.0])  # a large offset
    for n in (3, 10, 200):
        for noise in (0.0, 0.5, 3.0):
            for digits in (0, 1, 12):  # few digits make ties
                gold = [round(rng.gauss(0, 2), digits) for _ in range(n)]
                yield number_case(gold, [round(2 * g - 1 + noise * rng.gauss(0, 1), digits) for g in gold])


def order_case(gold, predicted):
    # Without labels scikit-learn would leave classes out that never occur, and so shrink distances.
    kappa = cohen_kappa_score(gold, predicted, labels=range(max(gold + predicted) + 1), weights="quadratic")
    return {
        "gold": gold, "predicted": predicted,
        "quadratic_kappa": 0.0 if np.isnan(kappa) else float(kappa),  # scikit-learn: NaN for one class only
        "mean_absolute_error": float(mean_absolute_error(gold, predicted)),
    }


def order_cases(rng):
    yield order_case([2, 2, 2], [2, 2, 2])  # one class only
    yield order_case([0, 1, 2, 3], [3, 2, 1, 0])  # as wrong as can be
    yield order_case([0, 1, 2, 3], [1, 1, 1, 1])  # always the same
    yield order_case([0, 4, 4, 0], [0, 4, 0, 0])  # classes between that never occur
    for classes in (2, 3, 5, 10):
        for skill in (0.0, 0.5, 0.9, 1.0):
            for n in (2, 9, 100):
                gold = [rng.randrange(classes) for _ in range(n)]
                yield order_case(gold, [g if rng.random() < skill else rng.randrange(classes) for g in gold])


def squad_words(answer):
    """normalize_answer and get_tokens of SQuAD's evaluate-v2.0.py."""
    plain = "".join(c for c in answer.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def squad_f1(gold, predicted):
    """compute_f1 of SQuAD's evaluate-v2.0.py."""
    gold, predicted = squad_words(gold), squad_words(predicted)
    if not gold or not predicted:
        return float(gold == predicted)
    same = sum((collections.Counter(gold) & collections.Counter(predicted)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(predicted), same / len(gold)
    return 2 * precision * recall / (precision + recall)


def answer_case(gold, predicted):
    answers = [answers or [""] for answers in gold]
    exact = [max(float(squad_words(a) == squad_words(p)) for a in gs) for gs, p in zip(answers, predicted)]
    f1 = [max(squad_f1(a, p) for a in gs) for gs, p in zip(answers, predicted)]
    mean = lambda values: sum(values) / len(values)
    return {"gold": gold, "predicted": predicted, "exact_match": mean(exact), "answer_f1": mean(f1)}


def answer_cases(rng):
    yield answer_case([["The Eiffel Tower"]], ["eiffel tower."])
    yield answer_case([[], []], ["", "something"])  # no answer in the text
    yield answer_case([["in 1889", "1889"]], ["1889"])
    yield answer_case([["a"], ["the"], ["x"]], ["", "an", "the"])  # nothing but articles
    yield answer_case([["the the cat"], ["theatre"]], ["cat cat", "the atre"])
    yield answer_case([["l'été à Genève"], ["東京 タワー"]], ["été Genève", "東京"])
    yield answer_case([["a-b the_c (d)"], ["“quoted”"]], ["ab the_c d", "quoted"])
    vocabulary = ["a", "the", "An", "cat", "Cat,", "dog", "1889", "été", "x.y", "東京", "-"]
    for _ in range(40):
        draw = lambda most: " ".join(rng.choices(vocabulary, k=rng.randrange(0, most)))
        gold = [[draw(6) for _ in range(rng.randrange(0, 3))] for _ in range(5)]
        yield answer_case(gold, [(rng.choice(g) if g and rng.random() < 0.4 else draw(6)) for g in gold])


def span_case(gold, predicted):
    labels = sorted({t for t, _, _ in get_entities(gold)} | {t for t, _, _ in get_entities(predicted)})
    p, r, f, s = span_support(gold, predicted, average=None)
    by_type = {t: [float(p[i]), float(r[i]), float(f[i]), int(s[i])] for i, t in enumerate(labels)}
    rows = lambda tags: [[[t, int(a), int(b) + 1] for t, a, b in get_entities(row)] for row in tags]
    return {
        "gold": [" ".join(row) for row in gold], "predicted": [" ".join(row) for row in predicted],
        "gold_spans": rows(gold), "predicted_spans": rows(predicted),
        "precision": float(span_precision(gold, predicted)), "recall": float(span_recall(gold, predicted)),
        "f1": float(span_f1(gold, predicted)),
        "macro_f1": float(span_f1(gold, predicted, average="macro")) if labels else 0.0,
        "by_type": by_type,
    }


AWKWARD = [  # gold row, predicted row
    ("O O O", "O O O"),
    ("O", "B-PER"),
    ("B-PER", "O"),
    ("O I-PER I-PER O", "O B-PER I-PER O"),  # I after O starts a span
    ("B-PER I-LOC", "B-PER B-LOC"),  # the type changes inside a span
    ("I-PER I-LOC I-PER", "B-PER B-LOC B-PER"),
    ("B-PER B-PER I-PER", "B-PER I-PER I-PER"),
    ("B-PER I-PER", "I-PER I-PER"),
    ("I-A B-A I-A O I-A", "B-A I-A I-A O B-A"),
    ("B-PER I-PER I-PER", "B-PER I-PER"),  # made equally long below
    ("S-PER S-PER O", "S-PER O S-PER"),
    ("B-PER E-PER O", "B-PER I-PER O"),
    ("B-PER I-PER E-PER", "B-PER I-PER I-PER"),
    ("E-PER E-PER I-PER", "S-PER S-PER S-PER"),
    ("O E-PER I-PER O", "O S-PER S-PER O"),
    ("S-PER I-PER E-PER", "S-PER B-PER E-PER"),
    ("B-PER S-PER E-PER", "B-PER E-PER S-PER"),
    ("B-PER O E-PER", "S-PER O S-PER"),
    ("B I I O B", "B-_ I-_ I-_ O B-_"),  # no type at all
    ("B-geo-loc I-geo-loc O", "B-geo-loc I-loc O"),  # hyphens in the type
    ("B- I- O", "B I O"),
    ("B-人名 I-人名 O B-地名", "B-人名 I-人名 O B-人名"),
    ("O-PER B-PER I-PER", "O B-PER I-PER"),
]


def span_cases(rng):
    for gold, predicted in AWKWARD:
        gold, predicted = gold.split(" "), predicted.split(" ")
        yield span_case([gold], [predicted + ["O"] * (len(gold) - len(predicted))])
    yield span_case([[], ["B-PER", "I-PER"], []], [[], ["B-PER", "I-PER"], []])  # empty rows
    yield span_case([[]], [[]])
    yield span_case([["I-PER"], ["I-PER"]], [["B-PER"], ["I-PER"]])  # a row's edge ends a span
    for letters in ("BI", "BIES"):
        for types in (["A"], ["A", "B"], ["PER", "LOC", "geo-loc"]):
            tags = ["O"] * 2 + [f"{letter}-{t}" for letter in letters for t in types]
            for noise in (0.0, 0.1, 0.4, 1.0):
                for _ in range(4):
                    gold = [rng.choices(tags, k=rng.randrange(0, 9)) for _ in range(rng.randrange(1, 5))]
                    yield span_case(gold, [[rng.choice(tags) if rng.random() < noise else t for t in row] for row in gold])


def write(name, cases):
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (FOLDER / name).write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(name, lines.count("\n") + 1, "cases")


FOLDER.mkdir(parents=True, exist_ok=True)
print("scikit-learn", sklearn.__version__)
write("classes.json", class_cases(random.Random(1)))
write("sets.json", set_cases(random.Random(3)))
write("numbers.json", number_cases(random.Random(4)))
write("orders.json", order_cases(random.Random(5)))
write("answers.json", answer_cases(random.Random(6)))
write("spans.json", span_cases(random.Random(2)))
