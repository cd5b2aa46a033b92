#!/usr/bin/env python3
"""Writes crates/train/tests/fixtures/schedules.json: the learning rates of torch + transformers' schedules.

    pip install torch transformers
    python scripts/make_schedule_fixtures.py

Each case has a schedule, the number of steps, the share that warms up, and the factor at every step, read from the
optimizer right before that step.
"""
import json
import math
import pathlib

import torch
from transformers import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

MAKE = {
    "linear": get_linear_schedule_with_warmup,
    "cosine": get_cosine_schedule_with_warmup,
    "constant": lambda optimizer, warmup, total: get_constant_schedule_with_warmup(optimizer, warmup),
}


def factors(name, total, share):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = MAKE[name](optimizer, math.ceil(share * total), total)
    seen = []
    for _ in range(total):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


cases = [
    {"schedule": name, "total": total, "warmup": share, "factors": factors(name, total, share)}
    for name in MAKE
    for total, share in [(1, 0.0), (10, 0.1), (37, 0.1), (40, 0.25), (12, 0.0), (5, 1.0)]
]
out = pathlib.Path(__file__).parent.parent / "crates/train/tests/fixtures/schedules.json"
out.write_text(json.dumps(cases, indent=None, separators=(", ", ": ")).replace("}, {", "},\n {") + "\n")
print(f"{len(cases)} cases in {out}")
