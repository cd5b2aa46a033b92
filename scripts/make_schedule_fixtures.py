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
    get_cosine_with_hard_restarts_schedule_with_warmup,
    get_inverse_sqrt_schedule,
    get_linear_schedule_with_warmup,
    get_wsd_schedule,
)

MAKE = {
    "linear": get_linear_schedule_with_warmup,
    "cosine": get_cosine_schedule_with_warmup,
    "constant": lambda optimizer, warmup, total: get_constant_schedule_with_warmup(optimizer, warmup),
    "inverse_square_root": lambda optimizer, warmup, total: get_inverse_sqrt_schedule(optimizer, warmup),
    "warmup_stable_decay": lambda optimizer, warmup, total, decay=0.2: get_wsd_schedule(
        optimizer, warmup, min(math.ceil(decay * total), total - warmup), num_training_steps=total, decay_type="linear"),
    "cosine_restarts": lambda optimizer, warmup, total, cycles=3: get_cosine_with_hard_restarts_schedule_with_warmup(
        optimizer, warmup, total, num_cycles=cycles),
}


def factors(name, total, share, **keys):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    if name == "one_cycle":  # its share is not rounded to steps
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total, pct_start=share, cycle_momentum=False)
    else:
        schedule = MAKE[name](optimizer, math.ceil(share * total), total, **keys)
    seen = []
    for _ in range(total):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def case(name, total, share, **keys):
    return {"schedule": name, "total": total, "keys": {"warmup_ratio": share, **keys}, "factors": factors(name, total, share, **keys)}


cases = [
    case(name, total, share)
    for name in MAKE
    for total, share in [(1, 0.0), (10, 0.1), (37, 0.1), (40, 0.25), (12, 0.0), (5, 1.0)]
]
cases += [case("one_cycle", total, share) for total, share in [(10, 0.3), (37, 0.3), (40, 0.25), (41, 0.5), (12, 0.9)]]
cases += [case("warmup_stable_decay", 30, 0.1, decay=decay) for decay in (0.0, 0.05, 0.5, 0.9, 1.0)]
cases += [case("cosine_restarts", 30, 0.1, cycles=cycles) for cycles in (1, 2, 7)]
out = pathlib.Path(__file__).parent.parent / "crates/train/tests/fixtures/schedules.json"
out.write_text(json.dumps(cases, indent=None, separators=(", ", ": ")).replace("}, {", "},\n {") + "\n")
print(f"{len(cases)} cases in {out}")
