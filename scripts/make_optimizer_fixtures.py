#!/usr/bin/env python3
"""Writes crates/train/tests/fixtures/optimizers.json: ten steps of torch's, lion-pytorch's and schedulefree's optimizers.

    pip install torch lion-pytorch schedulefree
    python scripts/make_optimizer_fixtures.py

Five parameters: a matrix in a layer, higher than wide, another wider than high, a table of embeddings of which a step looks up some
rows, a bias, and a head with a learning rate of its own; some have no gradient in some steps. The gradients are fixed; each step
multiplies them by `scale` (clipping) and the learning rates by a factor (the schedule). Vectors do not decay. Muon's products are in
f32 here, as ours are; torch's are in bf16. What torch does not move by Muon moves by AdamW. schedulefree counts the steps of a
group, ours those in which the parameter has a gradient: here each parameter is a group that stands still without one.
"""
import json
import pathlib

import torch
from lion_pytorch import Lion
from schedulefree import AdamWScheduleFree

SHAPES = {"backbone.layer.0.high": (6, 4), "backbone.layer.1.wide": (3, 7), "backbone.embeddings": (5, 3),
          "backbone.layer.0.bias": (4,), "head.x.weight": (2, 4)}
STEPS, SHOWN, SCALE = 10, (1, 2, 5, 10), 0.5
FACTORS = [min(1.0, (t + 1) / 3) * (1 - 0.07 * t) for t in range(STEPS)]
ROWS = [[0, 1, 2, 3, 4], [1, 3], [0, 4], [2], [0, 1, 2], [3], [0, 2, 4], [1], [4], [0, 3]]
ABSENT = {"head.x.weight": {0, 4}, "backbone.layer.1.wide": {2}}

generator = torch.Generator().manual_seed(5)
START = {name: torch.randn(shape, generator=generator) * 0.5 for name, shape in SHAPES.items()}


def gradient(name, step):
    if step in ABSENT.get(name, ()):
        return None
    g = torch.randn(SHAPES[name], generator=generator) * (1 + step % 3)
    if name == "backbone.embeddings":
        mask = torch.zeros(SHAPES[name][0], 1)
        mask[ROWS[step]] = 1
        g = g * mask
    return g


GRADIENTS = [{name: gradient(name, step) for name in SHAPES} for step in range(STEPS)]


def muon(named, lr, decay):
    inner = {n: p for n, p in named.items() if ".layer." in n and p.dim() == 2}
    others = {n: p for n, p in named.items() if n not in inner}
    return [
        torch.optim.Muon(groups(inner, lr, decay), lr=lr, weight_decay=decay, momentum=0.9, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups(others, lr, decay), lr=lr),
    ]


class ScheduleFree(AdamWScheduleFree):
    def step(self):
        if any(p.grad is not None for group in self.param_groups for p in group["params"]):
            super().step()


def schedule_free(named, lr, decay, **keys):
    optimizers = [ScheduleFree([group], lr=lr, foreach=False, **keys) for group in groups(named, lr, decay)]
    for o in optimizers:
        o.train()
    return optimizers


def groups(named, lr, decay):
    return [{"params": [p], "lr": lr * (3 if n.startswith("head") else 1), "weight_decay": decay if p.dim() == 2 else 0.0}
            for n, p in named.items()]


def config(name, lr, **keys):
    return {name: {"learning_rate": lr, "head_learning_rate": 3 * lr, **keys}}


one = lambda make, lr, decay, **keys: (lambda named: [make(groups(named, lr, decay), lr=lr, **keys)])
CASES = [
    (config("adamw", 0.02, weight_decay=0.1), one(torch.optim.AdamW, 0.02, 0.1)),
    (config("sgd", 0.05, momentum=0.0), one(torch.optim.SGD, 0.05, 0.0)),
    (config("sgd", 0.05, momentum=0.9, weight_decay=0.1), one(torch.optim.SGD, 0.05, 0.1, momentum=0.9)),
    (config("sgd", 0.05, momentum=0.8, nesterov=True, weight_decay=0.01),
     one(torch.optim.SGD, 0.05, 0.01, momentum=0.8, nesterov=True)),
    (config("lion", 0.01, weight_decay=0.1), one(Lion, 0.01, 0.1, betas=(0.9, 0.99))),
    (config("lion", 0.01, weight_decay=0.0, beta1=0.95, beta2=0.98), one(Lion, 0.01, 0.0, betas=(0.95, 0.98))),
    (config("adafactor", 0.1), one(torch.optim.Adafactor, 0.1, 0.0)),
    (config("adafactor", 0.4, weight_decay=0.1, clip=1.5), one(torch.optim.Adafactor, 0.4, 0.1, d=1.5)),
    (config("muon", 0.02, weight_decay=0.1, momentum=0.9), lambda named: muon(named, 0.02, 0.1)),
    (config("schedule_free_adamw", 0.02, weight_decay=0.1), lambda named: schedule_free(named, 0.02, 0.1)),
    (config("schedule_free_adamw", 0.05, weight_decay=0.0, beta=0.95, beta2=0.99),
     lambda named: schedule_free(named, 0.05, 0.0, betas=(0.95, 0.99))),
]


def run(make):
    named = {name: torch.nn.Parameter(value.clone()) for name, value in START.items()}
    optimizers = make(named)
    rates = [[group["lr"] for group in o.param_groups] for o in optimizers]
    seen = {}
    for step, gradients in enumerate(GRADIENTS):
        for name, p in named.items():
            p.grad = None if gradients[name] is None else gradients[name] * SCALE
        for o, own in zip(optimizers, rates):
            for group, rate in zip(o.param_groups, own):
                group["lr"] = rate * FACTORS[step]
            o.step()
        if step + 1 in SHOWN:
            seen[step + 1] = shown(named)
    if not any(isinstance(o, ScheduleFree) for o in optimizers):
        return {"steps": seen}
    for o in optimizers:
        o.eval()
    return {"steps": seen, "averaged": shown(named)}


def shown(named):
    return {name: short(p.detach()) for name, p in named.items()}


def short(x):
    return None if x is None else [float(f"{v:.9g}") for v in (x.flatten().tolist() if isinstance(x, torch.Tensor) else x)]


def in_f32():
    """Muon's products in f32: its only use of bfloat16 is one conversion."""
    to = torch.Tensor.to
    torch.Tensor.to = lambda self, *a, **k: to(self, *a, **{**k, **({"dtype": torch.float32} if k.get("dtype") is torch.bfloat16 else {})})


in_f32()
out = pathlib.Path(__file__).parent.parent / "crates/train/tests/fixtures/optimizers.json"
cases = [{"config": c, **run(make)} for c, make in CASES]
out.write_text(json.dumps({
    "parameters": [{"name": n, "shape": s, "start": short(START[n])} for n, s in SHAPES.items()],
    "scale": SCALE, "factors": FACTORS, "rows": ROWS,
    "gradients": [{n: short(g) for n, g in named.items()} for named in GRADIENTS], "cases": cases,
}).replace('}, {"config"', '},\n{"config"') + "\n")
print(f"{len(cases)} cases in {out}, {out.stat().st_size} bytes")
