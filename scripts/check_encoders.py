"""ModernBERT and DeBERTa from random checkpoints of transformers, in a run that trains, is killed, resumes, saves and opens with transformers.

    python scripts/check_encoders.py --data DIR --tokenizer DIR [--binary target/release/polytask]

DIR of --data holds the corpora as examples/README.md lays them out, that of --tokenizer a tokenizer.json of BERT's sort, such as
all-MiniLM-L6-v2's. For each architecture: a checkpoint with random weights is made; a run of 40 steps is killed by SIGKILL after its
checkpoint of step 20 and resumed; the saved model has the bytes of a run that nobody killed; transformers opens it, every weight is
taken up and none is left over. Needs torch and transformers. Exits with 1 if something differs.
"""

import argparse
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import torch
from transformers import AutoModel, DebertaV2Config, DebertaV2Model, ModernBertConfig, ModernBertModel

SIZES = dict(vocab_size=30522, hidden_size=96, num_hidden_layers=3, num_attention_heads=4, intermediate_size=192)
ENCODERS = {
    "modernbert": lambda: ModernBertModel(ModernBertConfig(**SIZES, local_attention=16, pad_token_id=0, cls_token_id=101, sep_token_id=102)),
    "deberta-v2": lambda: DebertaV2Model(
        DebertaV2Config(**SIZES, relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=32, norm_rel_ebd="layer_norm", share_att_key=True)
    ),
}
CONFIG = """[model]
backbone = "{model}"
[data]
max_length = 64
[corpus.snips]
train = "{data}/snips/train.jsonl"
validation = "{data}/snips/validation.jsonl"
[task.intent]
corpus = "snips"
classification = {{ text = "text", label = "intent" }}
[task.slots]
corpus = "snips"
tagging = {{ tokens = "tokens", tags = "tags", scheme = "bio" }}
[optimizer.adamw]
learning_rate = 1e-3
[train]
max_steps = 40
tokens_per_batch = 512
save_steps = 20
eval_steps = 1000
"""


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--data", required=True, type=pathlib.Path)
    a.add_argument("--tokenizer", required=True, type=pathlib.Path)
    a.add_argument("--binary", default="target/release/polytask", type=pathlib.Path)
    o = a.parse_args()
    with tempfile.TemporaryDirectory() as work:
        for name, make in ENCODERS.items():
            check(o, pathlib.Path(work) / name, name, make)


def check(o, work, name, make):
    torch.manual_seed(17)
    checkpoint = work / "checkpoint"
    make().save_pretrained(checkpoint)
    shutil.copy(o.tokenizer / "tokenizer.json", checkpoint)
    config = work / "job.toml"
    config.write_text(CONFIG.format(model=checkpoint, data=o.data.resolve()))
    run(o, "train", config, "--run", work / "whole")
    killed_at = kill_after_checkpoint(o, config, work / "killed")
    run(o, "train", "--resume", work / "killed")
    whole, killed = (work / part / "model" for part in ("whole", "killed"))
    for file in ("model.safetensors", "heads.safetensors"):
        if (whole / file).read_bytes() != (killed / file).read_bytes():
            sys.exit(f"{name}: {file} of the resumed run differs")
    model, info = AutoModel.from_pretrained(killed, output_loading_info=True)
    odd = {key: sorted(info[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]}
    if odd:
        sys.exit(f"{name}: transformers finds {odd}")
    losses = [json.loads(line) for line in (work / "whole/metrics.jsonl").read_text().splitlines()]
    losses = [line["losses"]["intent"] for line in losses if line["event"] == "step"]
    begin, end = (sum(part) / len(part) for part in (losses[:5], losses[-5:]))
    if not end < begin:
        sys.exit(f"{name}: the loss of intent went from {begin} to {end}")
    print(f"{name}: loss of intent {begin:.3f} to {end:.3f}; killed at step {killed_at}, resumed to the same bytes; {type(model).__name__} takes up all weights")


def run(o, *arguments):
    done = subprocess.run([o.binary.resolve(), *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"polytask {' '.join(map(str, arguments))}\n{done.stderr}")


def kill_after_checkpoint(o, config, directory):
    """Kills a run once its checkpoint is there; the last step that it told."""
    process = subprocess.Popen([o.binary.resolve(), "train", config, "--run", directory], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list((directory / "checkpoints").glob("*20*")):
        if process.poll() is not None:
            sys.exit("the run ended before it could be killed")
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    steps = [line for line in (directory / "metrics.jsonl").read_text().splitlines() if '"event":"step"' in line]
    return json.loads(steps[-1])["step"] if steps else 0


if __name__ == "__main__":
    main()
