"""Writes crates/balance/tests/fixtures/uncertainty.json: uncertainty weighting as PyTorch's autograd and Adam do it, in
float64. A task that is absent from a step has no gradient, and torch.optim.Adam leaves it and its state alone.

  pip install torch
  python scripts/make_balance_fixtures.py
"""
import json
import random
from pathlib import Path

import torch

FOLDER = Path(__file__).resolve().parent.parent / "crates" / "balance" / "tests" / "fixtures"


def case(rng, tasks, steps, initial, learning_rate, absent):
    s = [torch.tensor(initial, dtype=torch.float64, requires_grad=True) for _ in range(tasks)]
    adam = torch.optim.Adam(s, lr=learning_rate, betas=(0.9, 0.999), eps=1e-8)
    losses, weights = [], []
    for _ in range(steps):
        row = [None if rng.random() < absent else 10 ** rng.uniform(-3, 2) for _ in range(tasks)]
        adam.zero_grad(set_to_none=True)
        terms = [0.5 * torch.exp(-s_i) * l + 0.5 * s_i for s_i, l in zip(s, row) if l is not None]
        weights.append([0.0 if l is None else 0.5 * torch.exp(-s_i).item() for s_i, l in zip(s, row)])
        losses.append(row)
        if terms:
            sum(terms).backward()
            adam.step()
    return {"initial": initial, "learning_rate": learning_rate, "losses": losses, "weights": weights, "s": [v.item() for v in s]}


rng = random.Random(3)
cases = [
    case(rng, 3, 60, 0.0, 0.01, 0.0),
    case(rng, 4, 60, -0.5, 0.1, 0.4),
    case(rng, 1, 20, 2.0, 0.5, 0.2),
]
FOLDER.mkdir(parents=True, exist_ok=True)
lines = ",\n".join(json.dumps(c) for c in cases)
(FOLDER / "uncertainty.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
