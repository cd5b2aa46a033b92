#!/usr/bin/env python3
"""Writes crates/train/tests/fixtures/plateaus.json: what torch's ReduceLROnPlateau leaves of a learning rate of 1.

    pip install torch
    python scripts/make_plateau_fixtures.py

Each case has the settings, the values of the evaluations, higher being better, and the learning rate after each.
"""
import json
import pathlib
import random

import torch

random.seed(3)
RISING = [0.1 * i for i in range(8)]
FLAT = [0.5, 0.50005, 0.50009, 0.5001, 0.50021, 0.5, 0.4, 0.5, 0.51, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
NEGATIVE = [-0.5, -0.4, -0.4, -0.45, -0.41, -0.39, -0.39, -0.39, -0.39, -0.2]
NOISE = [random.random() for _ in range(60)]


def rates(values, factor, patience, threshold, min_factor):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=factor, patience=patience, threshold=threshold, threshold_mode="abs", min_lr=min_factor)
    seen = []
    for value in values:
        optimizer.step()
        schedule.step(value)
        seen.append(optimizer.param_groups[0]["lr"])
    return seen


cases = []
for values in (RISING, FLAT, NEGATIVE, NOISE):
    for factor, patience, threshold, min_factor in [(0.5, 2, 1e-4, 0.01), (0.1, 0, 0.0, 0.3), (0.5, 1, 0.05, 0.0), (0.7, 3, 1e-4, 1.0)]:
        keys = {"factor": factor, "patience": patience, "threshold": threshold, "min_factor": min_factor}
        cases.append({"plateau": keys, "values": values, "rates": rates(values, **keys)})
out = pathlib.Path(__file__).parent.parent / "crates/train/tests/fixtures/plateaus.json"
out.write_text(json.dumps(cases).replace("}, {", "},\n {") + "\n")
print(f"{len(cases)} cases in {out}")
