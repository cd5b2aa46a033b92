"""Opens the adapters of a model that polytask wrote with peft, and compares token states.

    cargo run -p polytask-model --example states -- RUN/model '[[101, 2004, 102], [101, 102]]' TASK > states.json
    python scripts/check_peft.py RUN/model states.json

Prints for the task the largest difference, and how far the states are from those of the backbone alone; exits with 1 if a state
differs by more than 1e-4. Needs torch, transformers and peft; the backbone must be of the BERT family or a T5.
"""

import json
import pathlib
import sys

import torch
from peft import PeftModel
from transformers import AutoModel


def states_of(model, ids, more):
    """The encoder's states of a row."""
    ids = torch.tensor([ids])
    inputs = dict(input_ids=ids, attention_mask=torch.ones_like(ids), **more)
    if getattr(model.config, "is_encoder_decoder", False):
        return model(**inputs, decoder_input_ids=torch.zeros((1, 1), dtype=torch.long)).encoder_last_hidden_state[0]
    return model(**inputs).last_hidden_state[0]


def main(directory, path):
    with open(path, encoding="utf-8") as file:
        ours = json.load(file)
    adapters = pathlib.Path(directory) / "adapters"
    folder = adapters / ours["adapter"] if (adapters / ours["adapter"]).is_dir() else adapters / "shared"
    base = AutoModel.from_pretrained(directory).float().eval()
    plain = AutoModel.from_pretrained(directory).float().eval()
    model = PeftModel.from_pretrained(base, folder).eval()
    kind = model.peft_config["default"].peft_type.value
    # Only the tuner of Poly takes task ids, and not PeftModel around it.
    run, more = (model.base_model, {"task_ids": torch.tensor([ours["task_index"]])}) if kind == "POLY" else (model, {})
    largest = moved = 0.0
    with torch.no_grad():
        for ids, states in zip(ours["ids"], ours["states"], strict=True):
            if not ids:
                continue
            theirs = states_of(run, ids, more)
            largest = max(largest, (theirs - torch.tensor(states)).abs().max().item())
            moved = max(moved, (theirs - states_of(plain, ids, {})).abs().max().item())
    rows, tokens = len(ours["ids"]), sum(map(len, ours["ids"]))
    print(f"{ours['task']}: {kind} in {folder.relative_to(directory)}, {rows} rows, {tokens} tokens")
    print(f"largest difference {largest:.1e}; the adapter moves states by up to {moved:.1e}")
    return 0 if largest <= 1e-4 and moved > largest else 1


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
