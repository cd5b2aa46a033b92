#!/usr/bin/env python3
"""Writes crates/train/tests/fixtures/optimizers.json: ten steps of torch's and lion-pytorch's optimizers.

    pip install torch lion-pytorch
    python scripts/make_optimizer_fixtures.py

Five parameters: a matrix in a layer, higher than wide, another wider than high, a table of embeddings of which a step looks up some
rows, a bias, and a head with a learning rate of its own; some have no gradient in some steps. The gradients are fixed; each step
multiplies them by `scale` (clipping) and the learning rates by a factor (the schedule). Vectors do not decay. Muon's products are in
f32 here, as ours are; torch's are in bf16. What torch does not move by Muon moves by AdamW.
"""
import json
import pathlib

import torch
from lion_pytorch import Lion

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
            seen[step + 1] = {name: p.detach().flatten().tolist() for name, p in named.items()}
    return seen


def in_f32():
    """Muon's products in f32: its only use of bfloat16 is one conversion."""
    to = torch.Tensor.to
    torch.Tensor.to = lambda self, *a, **k: to(self, *a, **{**k, **({"dtype": torch.float32} if k.get("dtype") is torch.bfloat16 else {})})


in_f32()
out = pathlib.Path(__file__).parent.parent / "crates/train/tests/fixtures/optimizers.json"
short = lambda x: None if x is None else [float(f"{v:.9g}") for v in (x.flatten().tolist() if isinstance(x, torch.Tensor) else x)]
cases = [{"config": c, "steps": {s: {n: short(v) for n, v in named.items()} for s, named in run(make).items()}} for c, make in CASES]
out.write_text(json.dumps({
    "parameters": [{"name": n, "shape": s, "start": short(START[n])} for n, s in SHAPES.items()],
    "scale": SCALE, "factors": FACTORS, "rows": ROWS,
    "gradients": [{n: short(g) for n, g in named.items()} for named in GRADIENTS], "cases": cases,
}).replace('}, {"config"', '},\n{"config"') + "\n")
print(f"{len(cases)} cases in {out}, {out.stat().st_size} bytes")
