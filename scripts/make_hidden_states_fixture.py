"""Writes crates/tasks/tests/fixtures/hidden_states.json: the losses of hidden states and their gradients as PyTorch's autograd
computes them in float64.

  pip install torch
  python scripts/make_hidden_states_fixture.py
"""
import itertools
import json
from pathlib import Path

import torch
import torch.nn.functional as F

OUT = Path(__file__).resolve().parent.parent / "crates" / "tasks" / "tests" / "fixtures" / "hidden_states.json"
torch.manual_seed(5)
torch.set_default_dtype(torch.float64)
# Rows of these sequences; row 1 has no answer.
HIDDEN, ROWS, ANSWERED = 6, [[3], [2], [4, 2], [1]], [0, 2, 3]
SEQUENCES = [length for row in ROWS for length in row]
OFFSETS = [0, *itertools.accumulate(SEQUENCES)]
OWNER = [row for row, lengths in enumerate(ROWS) for _ in lengths]


def draw(*shape):
    """f32 numbers, so that the reader has exactly the same inputs."""
    return torch.randn(*shape).float().double()


states, projection = draw(OFFSETS[-1], HIDDEN).requires_grad_(), draw(4, HIDDEN).requires_grad_()
teachers = {width: draw(OFFSETS[-1], width) for width in (4, HIDDEN)}
spans = [slice(OFFSETS[i], OFFSETS[i + 1]) for i in range(len(SEQUENCES)) if OWNER[i] in ANSWERED]
tokens = torch.cat([torch.arange(OFFSETS[-1])[span] for span in spans])


def relations(x, heads):
    """log softmax(A A^T / sqrt(d_r)) for each head of a sequence's states."""
    parts = x.unflatten(1, (heads, -1)).transpose(0, 1)
    return F.log_softmax(parts @ parts.transpose(1, 2) / parts.shape[-1] ** 0.5, -1)


def divergence(width, heads):
    total = sum(
        F.kl_div(relations(states[s], heads), relations(teachers[width][s], heads), log_target=True, reduction="sum") for s in spans
    )
    return total / heads / len(tokens)


def case(settings, width, loss):
    with_projection = loss.grad_fn is not None and settings["match"] == "states" and width != HIDDEN
    inputs = {"states": states, **({"projection.weight": projection} if with_projection else {})}
    found = torch.autograd.grad(loss, list(inputs.values()))
    return {
        "settings": settings, "teacher_hidden": width, "loss": loss.item(),
        "gradients": {name: gradient.flatten().tolist() for name, gradient in zip(inputs, found)},
    }


cases = [
    case({"match": "states"}, 4, F.mse_loss(F.linear(states, projection)[tokens], teachers[4][tokens])),
    case({"match": "states"}, HIDDEN, F.mse_loss(states[tokens], teachers[HIDDEN][tokens])),
    case({"match": "relations", "heads": 2}, 4, divergence(4, 2)),
    case({"match": "relations", "heads": 3}, HIDDEN, divergence(HIDDEN, 3)),
    case({"match": "relations", "heads": 1}, 4, divergence(4, 1)),
]
OUT.write_text(json.dumps({
    "hidden": HIDDEN, "rows": ROWS, "answered": ANSWERED, "states": states.flatten().tolist(),
    "projection.weight": projection.flatten().tolist(),
    "teachers": {width: teacher.flatten().tolist() for width, teacher in teachers.items()}, "cases": cases,
}) + "\n")
