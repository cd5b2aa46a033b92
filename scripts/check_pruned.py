"""Checks models that `polytask prune` wrote with transformers: each opens, its token states are those that polytask computes, and they
are those of the whole model in which what prune.json leaves out is multiplied by zero.

    cargo build --workspace --examples --bins
    python scripts/check_pruned.py target/debug/polytask target/debug/examples/states

Trains a tiny model of each backbone from scratch in a temporary folder, cuts feed-forward columns (of a decoder heads, too), and cuts
layers of the result. Of the whole model it cuts the width of states, where that can be, and compares every weight with the rows and columns
of the whole model's that prune.json says; and trains the model again while `[pruning]` cuts it. Exits with 1 if a state differs by more than
1e-5, or a weight is missing or left over.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from transformers import AutoModel

BACKBONES = {
    "bert": "{ layers = 3, hidden = 16, heads = 2 }",
    "deberta": "{ layers = 3, hidden = 16, heads = 2 }",
    "modernbert": "{ layers = 3, hidden = 16, heads = 2 }",
    "llama": "{ layers = 3, hidden = 32, heads = 4, kv_heads = 2 }",
}
# The matrix out of a feed-forward part, and out of the attention, below a layer.
OUT = {
    "bert": ("output.dense", "attention.output.dense"),
    "deberta": ("output.dense", "attention.output.dense"),
    "modernbert": ("mlp.Wo", "attn.Wo"),
    "llama": ("mlp.down_proj", "self_attn.o_proj"),
}
# The width that is cut to, where it can be.
WIDTHS = {"bert": 8, "llama": 24}
CONFIG = """[model]
backbone = {{ {name} = {sizes} }}

[tokenizer]
size = 400

[corpus.news]
train = "train.jsonl"
validation = "train.jsonl"

[task.topic]
corpus = "news"
classification = {{ text = "text", label = "topic" }}

[train]
epochs = 2
threads = 1
"""
ROWS = [[5, 9, 12, 7, 30, 31, 8], [11, 6], [40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50]]


def opened(directory):
    model, info = AutoModel.from_pretrained(directory, output_loading_info=True)
    missing = [k for k in info["missing_keys"] if not k.startswith("pooler.")]
    left_over = [k for k in info["unexpected_keys"] if not k.startswith("lm_head")]
    assert not missing and not left_over, (missing, left_over)
    return model.float().eval()


def states(model):
    with torch.no_grad():
        rows = [torch.tensor([row]) for row in ROWS]
        return [model(row, attention_mask=torch.ones_like(row)).last_hidden_state[0] for row in rows]


def largest(a, b):
    return max((x - y).abs().max().item() for x, y in zip(a, b, strict=True))


def layers(model):
    inside = getattr(model, "encoder", model)
    return inside.layer if hasattr(inside, "layer") else inside.layers


def submodule(module, path):
    for name in path.split("."):
        module = getattr(module, name)
    return module


def zero(model, name, kept):
    """Multiplies by zero what is not kept."""
    ffn, attention = OUT[name]
    for index, layer in enumerate(layers(model)):
        if kept["ffn"]:
            weight = submodule(layer, ffn).weight.data
            gone = torch.ones(weight.shape[1], dtype=torch.bool)
            gone[kept["ffn"][index]] = False
            weight[:, gone] = 0
        if kept["head_groups"]:
            weight = submodule(layer, attention).weight.data
            groups = model.config.num_key_value_heads
            gone = torch.ones(groups, dtype=torch.bool)
            gone[kept["head_groups"][index]] = False
            weight[:, gone.repeat_interleave(weight.shape[1] // groups)] = 0


def sliced(name, weight, whole, kept, layer):
    """The rows and columns of a weight of the whole model that stay with the kept dimensions of states, and heads that go with them."""
    dimensions = kept["hidden"]
    rows = slice(None)
    if kept["head_groups"] and layer is not None:
        width = whole.config.hidden_size // whole.config.num_attention_heads
        rows = [head * width + at for head in kept["head_groups"][layer] for at in range(width)]
    if name.endswith(("q_norm.weight", "k_norm.weight")):
        return weight
    if "LayerNorm" in name or name.endswith(("norm.weight", "layernorm.weight")):
        return weight[dimensions]
    if any(part in name for part in (".query.", ".key.", ".value.", "q_proj", "k_proj", "v_proj")):
        return weight[rows] if weight.dim() == 1 else weight[rows][:, dimensions]
    if any(part in name for part in ("attention.output.dense", "o_proj")):
        return weight[dimensions] if weight.dim() == 1 else weight[dimensions][:, rows]
    if any(part in name for part in ("intermediate.dense", "gate_proj", "up_proj")):
        return weight if weight.dim() == 1 else weight[:, dimensions]
    if any(part in name for part in ("output.dense", "down_proj")):
        return weight[dimensions]
    return weight[:, dimensions]


def largest_of_weights(whole, narrow, kept):
    weights, worst = whole.state_dict(), 0.0
    for name, found in narrow.state_dict().items():
        if name.startswith("pooler.") or name.endswith("_ids"):
            continue
        numbers = [int(part) for part in name.split(".") if part.isdigit()]
        expected = sliced(name, weights[name], whole, kept, numbers[0] if numbers else None)
        worst = max(worst, (found - expected).abs().max().item())
    return worst


def main(polytask, ours):
    worst = 0.0
    for name, sizes in BACKBONES.items():
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)

            def run(*arguments):
                done = subprocess.run([polytask, *arguments], cwd=folder, capture_output=True, text=True)
                assert done.returncode == 0, done.stdout + done.stderr

            def states_of_ours(run_folder):
                told = subprocess.run([ours, folder / run_folder / "model", json.dumps(ROWS)], capture_output=True, check=True)
                return [torch.tensor(row) for row in json.loads(told.stdout)["states"]]

            texts = ["shares of the market fell", "the match ended with a goal", "profits and shares", "a goal by the team"]
            rows = [{"text": f"{text} {n}", "topic": ["money", "sport"][n % 2]} for n in range(40) for text in [texts[n % 4]]]
            (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            (folder / "job.toml").write_text(CONFIG.format(name=name, sizes=sizes))
            run("train", "job.toml", "--run", "whole")
            heads = ["--heads", "0.5"] if name == "llama" else []
            run("prune", "whole", "--out", "small", "--ffn", "0.5", "--rows", "20", *heads)
            run("prune", "small", "--out", "smaller", "--layers", "2", "--rows", "20")
            whole = opened(folder / "whole/model")
            zero(whole, name, json.loads((folder / "small/prune.json").read_text())["kept"])
            small, smaller = opened(folder / "small/model"), opened(folder / "smaller/model")
            narrow, narrowed = [], WIDTHS.get(name)
            if narrowed:
                run("prune", "whole", "--out", "narrow", "--hidden", str(narrowed), "--rows", "20")
                model = opened(folder / "narrow/model")
                kept = json.loads((folder / "narrow/prune.json").read_text())["kept"]
                narrow = [
                    ("narrow as ours", largest(states(model), states_of_ours("narrow"))),
                    ("weights of narrow", largest_of_weights(opened(folder / "whole/model"), model, kept)),
                ]
            run("train", "job.toml", "--run", "gradual", "--set", "pruning.ffn=0.5", "--set", "pruning.every=2")
            gradual = opened(folder / "gradual/model")
            found = [
                *narrow,
                ("pruned in training as ours", largest(states(gradual), states_of_ours("gradual"))),
                ("as ours", largest(states(small), states_of_ours("small"))),
                ("as zeros in the whole", largest(states(small), states(whole))),
                ("fewer layers as ours", largest(states(smaller), states_of_ours("smaller"))),
            ]
            print(f"{name}: {small.num_parameters()} of {whole.num_parameters()} parameters, {len(layers(smaller))} layers; "
                  + ", ".join(f"{what} {difference:.1e}" for what, difference in found))
            worst = max(worst, *(difference for _, difference in found))
    return 0 if worst <= 1e-5 else 1


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*(pathlib.Path(argument).absolute() for argument in sys.argv[1:])))
