"""Opens a model that polytask wrote with transformers' AutoModel and compares token states.

    cargo run -p polytask-model --example states -- RUN/model '[[101, 2004, 102], [101, 102]]' > states.json
    python scripts/check_automodel.py RUN/model states.json

Prints the largest difference and how the weights were taken up; exits with 1 if a state differs by more than 1e-5 or a
weight of the encoder is missing or left over. (DIR must be of the BERT family: `bag` is no transformers model.)
"""

import json
import sys

import torch
from transformers import AutoModel


def main(directory, path):
    with open(path, encoding="utf-8") as file:
        ours = json.load(file)
    model, info = AutoModel.from_pretrained(directory, output_loading_info=True)
    model = model.float().eval()
    # A pooler that the checkpoint never had does not touch token states.
    missing = sorted(k for k in info["missing_keys"] if not k.startswith("pooler."))
    surplus = sorted(info["unexpected_keys"])
    largest = 0.0
    with torch.no_grad():
        for ids, states in zip(ours["ids"], ours["states"], strict=True):
            if not ids:
                continue
            ids = torch.tensor([ids])
            theirs = model(ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
            largest = max(largest, (theirs - torch.tensor(states)).abs().max().item())
    rows, tokens = len(ours["ids"]), sum(map(len, ours["ids"]))
    print(f"{type(model).__name__}: {rows} rows, {tokens} tokens, largest difference {largest:.1e}")
    print(f"weights missing: {missing or 'none'}; left over: {surplus or 'none'}")
    return 0 if largest <= 1e-5 and not missing and not surplus else 1


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
