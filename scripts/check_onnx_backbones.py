#!/usr/bin/env python3
"""Runs the trunks of checkpoints as ONNX graphs, and holds their states against those of transformers on the same checkpoints.

    pip install torch transformers onnx onnxruntime
    cargo build -p polytask-model --example onnx
    python scripts/check_onnx_backbones.py target/debug/examples/onnx crates/model/tests/fixtures/*/

Rows of different lengths are padded on the right. Folders without config.json, and those that are refused, are named and left out.
"""
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import onnx
import onnxruntime
import torch
from transformers import AutoConfig, AutoModel

TOLERANCE = 2e-5


def states(folder, given):
    """The states of transformers."""
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        return model(**{name: torch.tensor(value) for name, value in given.items()}).last_hidden_state.numpy()


def check(program, folder, file):
    made = subprocess.run([program, folder, file], capture_output=True, text=True)
    if made.returncode:
        print(f"{folder.name}: {made.stderr.strip()}")
        return True
    onnx.checker.check_model(file, full_check=True)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    config = AutoConfig.from_pretrained(folder)
    padding = config.pad_token_id if config.pad_token_id is not None else 0
    random = numpy.random.default_rng(17)
    lengths = [37, 5, 1, 22]
    ids = numpy.full((len(lengths), max(lengths)), padding, numpy.int64)
    for row, length in enumerate(lengths):
        ids[row, :length] = random.integers(4, min(config.vocab_size, 60), length)
    mask = (numpy.arange(max(lengths)) < numpy.array(lengths)[:, None]).astype(numpy.int64)
    given = {"input_ids": ids, "attention_mask": mask}
    names = [i.name for i in session.get_inputs()]
    if "token_type_ids" in names:
        given["token_type_ids"] = (numpy.arange(max(lengths)) > 3).astype(numpy.int64) * mask
    found, = session.run(["states"], given)
    expected = states(folder, given)
    difference = numpy.abs(found - expected)[mask.astype(bool)].max()
    bad = not difference < TOLERANCE
    print(f"{folder.name}: {config.model_type}, inputs {', '.join(names)}, greatest difference {difference:.2e}"
          f"{'  <-- FAILED' if bad else ''}")
    return not bad


def main():
    program, *folders = sys.argv[1:]
    with tempfile.TemporaryDirectory() as temporary:
        file = f"{temporary}/states.onnx"
        done = [check(program, Path(f), file) for f in folders if (Path(f) / "config.json").exists()]
    sys.exit(not all(done))


if __name__ == "__main__":
    main()
