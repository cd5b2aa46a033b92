#!/usr/bin/env python3
"""Writes crates/train/tests/fixtures/affinity.json: how the two tasks of training.json agree after some steps, in NumPy.

    pip install numpy
    python scripts/make_affinity_fixture.py

The model, rows and settings are those of make_training_fixture.py. Gradients are derived by hand, and AdamW is written out as in
PyTorch's documentation; the script ends with an error unless losses and gradient norms on the way equal those that PyTorch has in
training.json. Then, from the gradient of each task's mean loss over the table of embeddings, which both share: norms, cosine, the
cosine between two parts of a task's rows for every way to divide them, and Z[i -> j] = 1 - L_j after / L_j before (TAG, Fifty et
al. 2021, equation 1) for a step of gradient descent and for one of AdamW with its moments; and that of AdamW with a gradient of 0.
"""
import itertools
import json
import math
import pathlib

import numpy as np

FIXTURES = pathlib.Path(__file__).parent.parent / "crates/train/tests/fixtures"
f = json.loads((FIXTURES / "training.json").read_text())
AFTER, SGD_RATE = 3, 0.5
TABLE = "backbone.embeddings"
topics = sorted({topic for topic in f["topics"] if topic})
tags = sorted({tag for row in f["tags"] for tag in row})
shapes = {TABLE: (f["vocabulary"], f["width"])}
shapes |= {f"head.{task}.weight": (3, f["width"]) for task in ("topic", "tags")}
p = {name: np.array(values).reshape(shapes.get(name, -1)) for name, values in f["initial"].items()}


def units(p, task, rows):
    """What the task classifies: the tokens, or the sets of tokens, and the classes."""
    if task == "topic":
        return [(f["rows"][i], topics.index(f["topics"][i])) for i in rows if f["topics"][i]]
    return [([token], tags.index(tag)) for i in rows for token, tag in zip(f["rows"][i], f["tags"][i])]


def loss_and_gradient(p, task, rows):
    weight, bias = f"head.{task}.weight", f"head.{task}.bias"
    g = {name: np.zeros_like(p[name]) for name in (TABLE, weight, bias)}
    of = units(p, task, rows)
    loss = 0.0
    for tokens, label in of:
        x = p[TABLE][tokens].mean(0)
        logits = p[weight] @ x + p[bias]
        probability = np.exp(logits - logits.max())
        probability /= probability.sum()
        loss -= math.log(probability[label]) / len(of)
        d = (probability - np.eye(len(logits))[label]) / len(of)
        g[weight] += np.outer(d, x)
        g[bias] += d
        for token in tokens:
            g[TABLE][token] += p[weight].T @ d / len(tokens)
    return loss, g


def factor(step):
    warm = math.ceil(f["warmup"] * f["steps"])
    return step / warm if step < warm else (f["steps"] - step) / (f["steps"] - warm)


def rate(name):
    return f["tags_learning_rate"] if "tags" in name else f["head_learning_rate"] if "head" in name else f["learning_rate"]


def adamw(w, g, m, v, step, name):
    """torch.optim.AdamW with betas 0.9 and 0.999 and eps 1e-8; `step` from 1 on. The new weight and moments."""
    lr = rate(name) * factor(step - 1)
    w = w * (1 - lr * (f["weight_decay"] if w.ndim > 1 else 0))
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    denominator = np.sqrt(v) / math.sqrt(1 - 0.999**step) + 1e-8
    return w - lr / (1 - 0.9**step) * m / denominator, m, v


def clipped(g):
    norm = math.sqrt(sum((x * x).sum() for x in g.values()))
    return norm, {name: x * min(1.0, f["clip_norm"] / (norm + 1e-6)) for name, x in g.items()}


every, names = range(len(f["rows"])), ("topic", "tags")
moments = {name: (np.zeros_like(w), np.zeros_like(w)) for name, w in p.items()}
for step in range(AFTER):
    g, losses = {name: np.zeros_like(w) for name, w in p.items()}, {}
    for task in names:
        losses[task], of = loss_and_gradient(p, task, every)
        for name, x in of.items():
            g[name] += x
    norm, g = clipped(g)
    right = f["cases"][0]["steps"][step]
    assert abs(norm - right["gradient_norm"]) < 1e-9 and all(abs(losses[t] - right["losses"][t]) < 1e-9 for t in names)
    for name in p:
        p[name], *moments[name] = adamw(p[name], g[name], *moments[name], step + 1, name)


def gradient(task, rows):
    return loss_and_gradient(p, task, rows)[1][TABLE]


def cosine(a, b):
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


def z(table, task):
    return 1 - loss_and_gradient(p | {TABLE: table}, task, every)[0] / loss_and_gradient(p, task, every)[0]


def splits(task):
    rows = [i for i in every if units(p, task, [i])]
    for half in itertools.combinations(rows, (len(rows) + 1) // 2):
        yield cosine(gradient(task, half), gradient(task, [i for i in rows if i not in half]))


def moved(g):
    _, of = clipped({TABLE: g})
    return adamw(p[TABLE], of[TABLE], *moments[TABLE], AFTER + 1, TABLE)[0]


full = {task: gradient(task, every) for task in names}
pairs = list(itertools.product(names, names))
result = {
    "after": AFTER, "sgd_rate": SGD_RATE,
    "losses": {task: loss_and_gradient(p, task, every)[0] for task in names},
    "norms": {task: float(np.linalg.norm(full[task])) for task in names},
    "cosine": cosine(full["topic"], full["tags"]),
    "reliability": {task: list(splits(task)) for task in names},
    "adamw": [[i, j, z(moved(full[i]), j)] for i, j in pairs],
    "without_gradient": {j: z(moved(np.zeros_like(p[TABLE])), j) for j in names},
}
# Gradient descent: one step on the sum of the losses, then the same measurement. The head of `tags` keeps its own rate.
p = {name: np.array(values).reshape(shapes.get(name, -1)) for name, values in f["initial"].items()}
step = {name: sum(loss_and_gradient(p, task, every)[1].get(name, 0) for task in names) for name in p}
p = {name: w - (f["tags_learning_rate"] if "tags" in name else SGD_RATE) * step[name] for name, w in p.items()}
result["sgd"] = [[i, j, z(p[TABLE] - SGD_RATE * gradient(i, every), j)] for i, j in pairs]
(FIXTURES / "affinity.json").write_text(json.dumps(result).replace('], "', '],\n"') + "\n")
print(result)
