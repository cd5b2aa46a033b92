"""Writes crates/train/tests/fixtures/pruning.json: scores of the structures of a layer that PyTorch trains.

    python scripts/make_pruning_fixture.py

The layer is `y = W (g * x)` for gates `g`, one for each of `count` structures of `width` columns of W. Movement pruning (Sanh et al. 2020) trains
a score for each structure by the straight-through gradient: the gate stands for the mask of the score, so that the score moves by minus the
gradient of the gate. The Taylor score is a moving mean of its size. Weights are trained by SGD meanwhile.
"""

import json
import pathlib

import torch

COUNT, WIDTH, OUT, STEPS, MEMORY = 5, 2, 3, 8, 0.95


def main():
    torch.manual_seed(5)
    weight = torch.nn.Parameter(0.7 * torch.randn(OUT, COUNT * WIDTH))
    scores = torch.nn.Parameter(torch.zeros(COUNT, dtype=torch.float64))
    movement = torch.optim.SGD([scores], lr=1.0)
    sgd = torch.optim.SGD([weight], lr=0.1)
    taylor = torch.zeros(COUNT, dtype=torch.float64)
    weights, gradients = [], []
    for _ in range(STEPS):
        x, y = torch.randn(4, COUNT * WIDTH), torch.randn(4, OUT)
        gates = torch.ones(COUNT, requires_grad=True)
        states = gates.repeat_interleave(WIDTH) * x
        loss = (torch.tanh(states @ weight.T) - y).square().mean()
        sgd.zero_grad()
        loss.backward()
        weights.append(weight.detach().flatten().tolist())
        gradients.append(weight.grad.flatten().tolist())
        scores.grad = gates.grad.double()
        movement.step()
        taylor = MEMORY * taylor + (1 - MEMORY) * gates.grad.double().abs()
        sgd.step()
    least = sorted(scores.detach().argsort()[:2].tolist())
    fixture = {
        "count": COUNT,
        "width": WIDTH,
        "weights": weights,
        "gradients": gradients,
        "movement": scores.detach().tolist(),
        "taylor": taylor.tolist(),
        "least": least,
    }
    path = pathlib.Path(__file__).parent.parent / "crates/train/tests/fixtures/pruning.json"
    path.write_text(json.dumps(fixture) + "\n")


if __name__ == "__main__":
    main()
