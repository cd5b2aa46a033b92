"""Writes crates/kernels/tests/fixtures: PyTorch's cross-entropy with classes and with
distributions as targets (loss and gradient, float64) and an AdamW trajectory.

  pip install torch
  python scripts/make_kernel_fixtures.py
"""
import json
from pathlib import Path

import torch

FOLDER = Path(__file__).resolve().parent.parent / "crates" / "kernels" / "tests" / "fixtures"


def cross_entropy_case(generator, rows, classes, weighted, smoothing, spread):
    logits = (torch.randn(rows, classes, generator=generator, dtype=torch.float64) * spread).float().double()
    logits.requires_grad_(True)
    target = torch.randint(classes, (rows,), generator=generator)
    weight = torch.rand(classes, generator=generator, dtype=torch.float64).mul(3).float().double() if weighted else None
    loss = torch.nn.CrossEntropyLoss(weight=weight, label_smoothing=smoothing)(logits, target)
    loss.backward()
    return {
        "classes": classes, "smoothing": smoothing,
        "logits": logits.detach().flatten().tolist(), "target": target.tolist(),
        "weight": None if weight is None else weight.tolist(),
        "loss": loss.item(), "gradient": logits.grad.flatten().tolist(),
    }


def soft_cross_entropy_case(generator, rows, classes, temperature, spread):
    logits = (torch.randn(rows, classes, generator=generator, dtype=torch.float64) * spread).float().double()
    logits.requires_grad_(True)
    teacher = torch.randn(rows, classes, generator=generator, dtype=torch.float64) * spread
    target = torch.softmax(teacher / temperature, 1).float().double()
    weight = torch.rand(rows, generator=generator, dtype=torch.float64).float().double()
    loss = torch.nn.CrossEntropyLoss(reduction="none")(logits / temperature, target)
    loss = (loss * weight).sum() * temperature**2
    loss.backward()
    return {
        "classes": classes, "temperature": temperature,
        "logits": logits.detach().flatten().tolist(), "target": target.flatten().tolist(), "weight": weight.tolist(),
        "loss": loss.item(), "gradient": logits.grad.flatten().tolist(),
    }


def adamw_case(generator, size, steps, learning_rate, betas, eps, decay):
    w = torch.randn(size, generator=generator)
    start = w.tolist()
    w.requires_grad_(True)
    optimizer = torch.optim.AdamW([w], lr=learning_rate, betas=betas, eps=eps, weight_decay=decay, fused=False, foreach=False)
    gradients, weights = [], []
    for step in range(steps):
        g = torch.randn(size, generator=generator) * 10.0 ** (step % 4 - 2)
        gradients.append(g.tolist())
        w.grad = g
        optimizer.step()
        weights.append(w.detach().tolist())
    return {
        "learning_rate": learning_rate, "beta1": betas[0], "beta2": betas[1], "eps": eps, "decay": decay,
        "start": start, "gradients": gradients, "weights": weights,
    }


def write(name, cases):
    lines = ",\n".join(json.dumps(case) for case in cases)
    (FOLDER / name).write_text(f"[\n{lines}\n]\n", encoding="utf-8")


generator = torch.Generator().manual_seed(5)
FOLDER.mkdir(parents=True, exist_ok=True)
write("cross_entropy.json", [
    cross_entropy_case(generator, rows, classes, weighted, smoothing, spread)
    for rows, classes in ((1, 2), (7, 3), (5, 19))
    for weighted in (False, True)
    for smoothing in (0.0, 0.1, 1.0)
    for spread in (1.0, 20.0)
])
write("adamw.json", [
    adamw_case(generator, 9, 12, 1e-2, (0.9, 0.999), 1e-8, 0.01),
    adamw_case(generator, 5, 12, 2e-5, (0.8, 0.95), 1e-6, 0.1),
    adamw_case(generator, 5, 6, 1e-3, (0.9, 0.98), 1e-8, 0.0),
])
write("soft_cross_entropy.json", [
    soft_cross_entropy_case(generator, rows, classes, temperature, spread)
    for rows, classes in ((1, 2), (7, 3), (5, 19))
    for temperature in (1.0, 2.0, 10.0)
    for spread in (1.0, 20.0)
])
