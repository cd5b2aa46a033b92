"""Learning rates of backbones from scratch: validation scores after one epoch, on four corpora.

    python bench/scratch_rates.py BINARY --data DIR [--rates 5e-5,3e-3,1e-2]

The default rates of `polytask/config/default_rates.rs` come from it.
"""
import argparse
import json
import subprocess
import tempfile
from pathlib import Path

CORPORA = {
    "clinc150": 'classification = { text = "text", label = "intent" }',
    "snips": 'classification = { text = "text", label = "intent" }',
    "vader_sentiment": 'classification = { text = "text", label = "polarity" }',
    "goemotions": 'multi_label = { text = "text", labels = "emotions" }',
}
BACKBONES = {"bag": "{ bag = {} }", "bert": "{ bert = { layers = 2, hidden = 128, heads = 4 } }"}
CONFIG = """[model]
backbone = {backbone}
[data]
max_length = 64
[corpus.c]
train = "{folder}/train.jsonl"
validation = "{folder}/validation.jsonl"
[task.t]
corpus = "c"
{kind}
[optimizer.adamw]
learning_rate = {rate}
[train]
epochs = 1
"""


def score(binary, folder, backbone, kind, rate):
    with tempfile.TemporaryDirectory() as work:
        config = Path(work) / "config.toml"
        config.write_text(CONFIG.format(backbone=backbone, folder=folder, kind=kind, rate=rate))
        run = Path(work) / "run"
        subprocess.run([binary, "train", config, "--run", run], check=True, capture_output=True)
        events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return [event["mean"] for event in events if event["event"] == "evaluated"][-1]


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("binary")
    arguments.add_argument("--data", required=True)
    arguments.add_argument("--rates", default="5e-5,3e-4,1e-3,3e-3,5e-3,1e-2,2e-2")
    options = arguments.parse_args()
    data = Path(options.data).resolve()
    print("| backbone | rate |", " | ".join(CORPORA), "|")
    print("|---|---:|" + "---:|" * len(CORPORA))
    for name, backbone in BACKBONES.items():
        for rate in options.rates.split(","):
            scores = [100 * score(options.binary, data / corpus, backbone, kind, rate) for corpus, kind in CORPORA.items()]
            print(f"| {name} | {rate} |", " | ".join(f"{score:.2f}" for score in scores), "|", flush=True)


main()
