#!/usr/bin/env python3
"""Writes crates/train/tests/fixtures/training.json: some steps of training in PyTorch, number by number.

    pip install torch
    python scripts/make_training_fixture.py

A table of embeddings is the trunk; `topic` classifies the mean of a row's states, `tags` every token. The losses are
summed, the gradient is clipped, torch.optim.AdamW moves trunk and heads with learning rates of their own under warm-up
and a straight line down, without decay on biases. Two ways to make a step: all rows in one pack, and one row a pack with
the gradient averaged over the packs.
"""
import json
import math
import pathlib

import torch

VOCABULARY, WIDTH, STEPS, WARMUP, CLIP = 20, 6, 8, 0.3, 0.4
TRUNK_RATE, HEAD_RATE, TAGS_RATE, DECAY = 2e-2, 5e-2, 3e-2, 0.1
TOPICS, TAGS = ["art", "sport", "vote"], ["B-X", "I-X", "O"]

torch.manual_seed(3)
torch.set_default_dtype(torch.float64)
rows = [torch.randint(0, VOCABULARY, (n,)).tolist() for n in (3, 1, 7, 4, 2, 5)]
topics = [0, 2, 1, 1, 0, None]
tags = [torch.randint(0, len(TAGS), (len(row),)).tolist() for row in rows]
initial = {
    "backbone.embeddings": torch.randn(VOCABULARY, WIDTH),
    "head.topic.weight": torch.randn(len(TOPICS), WIDTH),
    "head.topic.bias": torch.randn(len(TOPICS)),
    "head.tags.weight": torch.randn(len(TAGS), WIDTH),
    "head.tags.bias": torch.randn(len(TAGS)),
}
initial = {name: value.float().double() for name, value in initial.items()}


def losses(p, which):
    """The mean loss of each task over some rows; None without labels."""
    entropy = torch.nn.functional.cross_entropy
    states = [p["backbone.embeddings"][rows[i]] for i in which]
    labelled = [(s.mean(0), topics[i]) for i, s in zip(which, states) if topics[i] is not None]
    topic = None
    if labelled:
        pooled = torch.stack([s for s, _ in labelled])
        logits = pooled @ p["head.topic.weight"].T + p["head.topic.bias"]
        topic = entropy(logits, torch.tensor([t for _, t in labelled]))
    logits = torch.cat(states) @ p["head.tags.weight"].T + p["head.tags.bias"]
    return {"topic": topic, "tags": entropy(logits, torch.tensor([t for i in which for t in tags[i]]))}


def train(packs):
    p = {name: value.clone().requires_grad_() for name, value in initial.items()}
    rate = lambda name: TAGS_RATE if "tags" in name else HEAD_RATE if "head" in name else TRUNK_RATE
    groups = [
        {"params": [v], "lr": rate(name), "weight_decay": 0.0 if v.dim() == 1 else DECAY} for name, v in p.items()
    ]
    optimizer = torch.optim.AdamW(groups)
    peak = [group["lr"] for group in groups]
    warm, steps = math.ceil(WARMUP * STEPS), []
    for step in range(STEPS):
        factor = step / warm if step < warm else (STEPS - step) / (STEPS - warm)
        for group, full in zip(optimizer.param_groups, peak):
            group["lr"] = full * factor
        optimizer.zero_grad(set_to_none=True)
        seen = {"topic": [], "tags": []}
        for pack in packs:
            of = {task: loss for task, loss in losses(p, pack).items() if loss is not None}
            (sum(of.values()) / len(packs)).backward()
            for task, loss in of.items():
                seen[task].append(loss.item())
        norm = torch.nn.utils.clip_grad_norm_(p.values(), CLIP).item()
        optimizer.step()
        steps.append({"losses": {t: sum(v) / len(v) for t, v in seen.items()}, "gradient_norm": norm})
    return {"packs": len(packs), "steps": steps, "weights": {n: v.detach().flatten().tolist() for n, v in p.items()}}


result = {
    "vocabulary": VOCABULARY, "width": WIDTH, "steps": STEPS, "warmup": WARMUP, "clip_norm": CLIP,
    "learning_rate": TRUNK_RATE, "head_learning_rate": HEAD_RATE, "tags_learning_rate": TAGS_RATE, "weight_decay": DECAY,
    "rows": rows, "topics": [None if t is None else TOPICS[t] for t in topics], "tags": [[TAGS[t] for t in r] for r in tags],
    "initial": {name: value.flatten().tolist() for name, value in initial.items()},
    "cases": [train([list(range(len(rows)))]), train([[i] for i in range(len(rows))])],
}
out = pathlib.Path(__file__).parent.parent / "crates/train/tests/fixtures/training.json"
out.write_text(json.dumps(result).replace('], "', '],\n"').replace('}, {', '},\n{') + "\n")
print([case["steps"][0] for case in result["cases"]], out.stat().st_size)
