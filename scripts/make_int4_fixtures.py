"""Writes crates/cpu/tests/fixtures/int4.json: zero points and codes of the library hqq, and codes of GPTQ by the
algorithm of its authors (IST-DASLab/gptq, gptq.py, without blocks), on scales and offsets rounded to bf16.

  pip install torch numpy && pip install --no-deps hqq
  python scripts/make_int4_fixtures.py
"""
import importlib.util
import json
import site
from pathlib import Path

import torch

FILE = Path(__file__).resolve().parent.parent / "crates/cpu/tests/fixtures/int4.json"
GROUP = 64


def hqq_optimize():
    """hqq/core/optimize.py by itself: the package imports what needs a GPU."""
    path = next(p for folder in site.getsitepackages() for p in Path(folder).glob("hqq/core/optimize.py"))
    spec = importlib.util.spec_from_file_location("hqq_optimize", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.optimize_weights_proximal


def hqq(weight):
    groups = weight.reshape(-1, GROUP)
    least, most = groups.min(1, keepdim=True)[0], groups.max(1, keepdim=True)[0]
    scale = 15 / (most - least)
    _, scale, zero = hqq_optimize()(groups, scale, -least * scale, [0, 15], axis=1)
    return {"steps": scale.flatten().tolist(), "zero": zero.flatten().tolist()}


def bf16(x):
    return x.bfloat16().float()


def gptq(weight, inputs):
    w = weight.double().clone()
    columns = w.shape[1]
    hessian = inputs.double().T @ inputs.double()
    dead = torch.diag(hessian) == 0
    mean = torch.mean(torch.diag(hessian))
    hessian[dead, dead] = 1
    w[:, dead] = 0
    live = torch.arange(columns)[~dead]
    hessian[live, live] += 0.01 * mean
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    inverse = torch.linalg.cholesky(inverse, upper=True)
    codes = torch.zeros_like(w)
    for i in range(columns):
        if i % GROUP == 0:
            part = w[:, i:i + GROUP].float()
            least, most = part.min(1)[0], part.max(1)[0]
            scale, offset = bf16((most - least) / 15).double(), bf16(least).double()
        code = torch.clamp(torch.round((w[:, i] - offset) / scale), 0, 15)
        codes[:, i] = code
        error = (w[:, i] - (code * scale + offset)) / inverse[i, i]
        w[:, i:] -= error.unsqueeze(1) @ inverse[i, i:].unsqueeze(0)
    return {"inputs": inputs.int().flatten().tolist(), "codes": codes.int().flatten().tolist()}


generator = torch.Generator().manual_seed(7)
weight = torch.randn(6, 128, generator=generator) * 0.05
weight[2] = weight[2] * 8 + 0.3
weight[4, 5] = 2.0
weight = (weight * 10000).round() / 10000
mixing = torch.randn(128, 128, generator=generator) * 0.2
inputs = (torch.randn(160, 128, generator=generator) @ mixing).round()
inputs[:, 17] = 0
found = {"shape": list(weight.shape), "weight": [round(x, 4) for x in weight.flatten().tolist()], "hqq": hqq(weight), "gptq": gptq(weight, inputs)}
FILE.write_text(json.dumps(found) + "\n")
