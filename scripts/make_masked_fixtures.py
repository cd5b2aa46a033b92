"""Writes crates/tasks/tests/fixtures/masked.json: loss and gradients of a masked language model's head with tied token vectors,
as PyTorch's autograd computes them in float64.

  pip install torch
  python scripts/make_masked_fixtures.py
"""
import itertools
import json
from pathlib import Path

import torch
import torch.nn.functional as F

OUT = Path(__file__).resolve().parent.parent / "crates" / "tasks" / "tests" / "fixtures" / "masked.json"
torch.manual_seed(17)
torch.set_default_dtype(torch.float64)
HIDDEN, WIDTH, VOCABULARY = 5, 4, 9
# Word of each token (None: special), and what each hidden token was.
WORDS = [[None, 0, 1], [None], [0, 0, 1, 1], [None, None], [None, 0, 1, 1, 2, 3]]
HIDDEN_TOKENS = {0: {1: 7}, 2: {0: 3, 3: 0}, 4: {2: 7, 5: 8}}
OFFSETS = [0, *itertools.accumulate(len(row) for row in WORDS)]


def draw(*shape):
    """f32 numbers, so that the reader has exactly the same inputs."""
    return torch.randn(*shape).float().double().requires_grad_()


inputs = {
    "states": draw(OFFSETS[-1], HIDDEN), "table": draw(VOCABULARY, WIDTH), "bias": draw(VOCABULARY),
    "dense.weight": draw(WIDTH, HIDDEN), "dense.bias": draw(WIDTH), "norm.weight": draw(WIDTH), "norm.bias": draw(WIDTH),
}
tokens = [OFFSETS[row] + token for row, hidden in HIDDEN_TOKENS.items() for token in hidden]
gold = torch.tensor([was for hidden in HIDDEN_TOKENS.values() for was in hidden.values()])
x = F.gelu(F.linear(inputs["states"][tokens], inputs["dense.weight"], inputs["dense.bias"]))
x = F.layer_norm(x, [WIDTH], inputs["norm.weight"], inputs["norm.bias"], eps=1e-12)
scores = x @ inputs["table"].T + inputs["bias"]
loss = F.cross_entropy(scores, gold)
gradients = dict(zip(inputs, torch.autograd.grad(loss, list(inputs.values()))))
shares = torch.softmax(scores, 1)
best = [[[int(i), shares[t, i].item()] for i in row.argsort(descending=True)[:5]] for t, row in enumerate(shares)]

OUT.write_text(json.dumps({
    "hidden": HIDDEN, "words": WORDS, "table": [VOCABULARY, WIDTH],
    "tokens": {str(row): {str(t): was for t, was in hidden.items()} for row, hidden in HIDDEN_TOKENS.items()},
    "inputs": {name: value.flatten().tolist() for name, value in inputs.items()},
    "loss": {"loss": loss.item(), "gradients": {name: g.flatten().tolist() for name, g in gradients.items()}},
    "best": best, "log_of_gold": [shares[t, g].log().item() for t, g in enumerate(gold)],
}) + "\n")
