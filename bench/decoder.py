#!/usr/bin/env python3
"""A step of a small decoder beside PyTorch: full fine-tuning, LoRA, and one of 30 million parameters from scratch; rows of mixed length.

  python bench/decoder.py --data DIR --model DIR [--python PYTHON] [--rounds 3] [--steps 12] [--tokens 1024] [--threads 2]

DIR of --data holds the corpora as examples/README.md lays them out, that of --model a decoder in Hugging Face layout with its
tokenizer. PYTHON has torch, transformers and peft. Both learn to predict the next token of the same texts, VADER's sentences, with AdamW in
f32. Counted are real tokens a second, padding aside: the tokens of a step by the median time of one. PyTorch gets batches of rows of like
length ("grouped"), and of rows as they come ("random"), padded to the longest. In a round each has its turn; printed are medians
over the rounds, and from the least to the most.
"""
import argparse, json, os, pathlib, statistics, subprocess, sys, tempfile

from compare import machine

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONFIG = """
{model}
[data]
max_length = 128
[corpus.texts]
train = {texts}
[task.text]
corpus = "texts"
causal_language_model = {{ text = "text" }}
{sharing}
[optimizer.adamw]
learning_rate = 1e-5
[train]
max_steps = {steps}
tokens_per_batch = {tokens}
threads = {threads}
seed = 17
max_grad_norm = 1.0
"""
LORA = """
[sharing.lora]
rank = 16
alpha = 32.0
shared = true
maps = ["query", "key", "value", "attention_output", "ffn_in", "ffn_gate", "ffn_out"]
"""
PRETRAINED = "[model]\nbackbone = {folder}"
# 33 million parameters with a vocabulary of 49,152; the same sizes stand in reference_decoder.py.
SCRATCH = """[model]
backbone = {{ llama = {{ layers = 8, hidden = 384, heads = 6, kv_heads = 2, intermediate_size = 1024 }} }}
[tokenizer]
file = {tokenizer}"""
# name, our model and sharing, what PyTorch does, how it batches, the least that is good
FIGURES = [
    ("full fine-tuning, rows grouped by length", (PRETRAINED, ""), "full", "grouped", 1.3),
    ("full fine-tuning, rows as they come", (PRETRAINED, ""), "full", "random", 2.0),
    ("LoRA, rank 16, all linear maps, grouped", (PRETRAINED, LORA), "lora", "grouped", 1.5),
    ("from scratch, 33 M parameters, grouped", (SCRATCH, ""), "scratch", "grouped", 1.25),
]


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--data", required=True, type=pathlib.Path)
    a.add_argument("--model", required=True, type=pathlib.Path)
    a.add_argument("--python", default=sys.executable)
    a.add_argument("--binary", default=str(ROOT / "target/release/polytask"))
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--steps", type=int, default=12)
    a.add_argument("--tokens", type=int, default=1024)
    a.add_argument("--threads", type=int, default=os.cpu_count())
    o = a.parse_args()
    print(machine(o.threads))
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        texts = work / "texts.jsonl"
        lines = (o.data / "vader_sentiment/train.jsonl").read_text().splitlines()[:4000]
        texts.write_text("".join(json.dumps({"text": json.loads(line)["text"]}) + "\n" for line in lines))
        ours, theirs = {}, {}
        for _ in range(o.rounds):
            for what in dict.fromkeys(figure[1] for figure in FIGURES):
                ours.setdefault(what, []).append(step_of_ours(o, work, texts, *what))
            for _, _, what, batches, _ in FIGURES:
                theirs.setdefault((what, batches), []).append(step_of_torch(o, texts, what, batches))
    print("| what | ours, tokens/s | PyTorch, tokens/s | ratio | reach | MiB | PyTorch, MiB |\n|---|---:|---:|---:|---:|---:|---:|")
    for name, own, what, batches, least in FIGURES:
        mine, other = ours[own], theirs[what, batches]
        ratios = [m[0] / t[0] for m, t in zip(mine, other)]
        middle = lambda values: statistics.median(values)
        spread = f"{middle(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        cells = [middle([m[0] for m in mine]), middle([t[0] for t in other])]
        memory = [middle([m[1] for m in mine]), middle([t[1] for t in other])]
        print(f"| {name} | {cells[0]:.0f} | {cells[1]:.0f} | {spread} | {least} | {memory[0]:.0f} | {memory[1]:.0f} |")


def step_of_ours(o, work, texts, model, sharing):
    config, run = work / "job.toml", work / "run"
    subprocess.run(["rm", "-rf", str(run)], check=True)
    quoted = lambda path: json.dumps(str(pathlib.Path(path).resolve()))
    model = model.format(folder=quoted(o.model), tokenizer=quoted(o.model / "tokenizer.json"))
    config.write_text(CONFIG.format(model=model, texts=quoted(texts), sharing=sharing, steps=o.steps, tokens=o.tokens, threads=o.threads))
    memory = peak([o.binary, "train", str(config), "--run", str(run)])
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [e for e in events if e["event"] == "step"][3:]
    return statistics.median(e["tokens"] / e["seconds"] for e in steps), memory


def step_of_torch(o, texts, what, batches):
    script = pathlib.Path(__file__).with_name("reference_decoder.py")
    sets = ["--model", str(o.model), "--texts", str(texts), "--what", what, "--batches", batches, "--steps", str(o.steps)]
    out = subprocess.run([o.python, str(script), *sets, "--tokens", str(o.tokens), "--threads", str(o.threads)], check=True, capture_output=True, text=True)
    found = json.loads(out.stdout.splitlines()[-1])
    return found["tokens_per_second"], found["peak_mib"]


def peak(command):
    """Runs a command; the most memory that it had, in MiB."""
    with tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        err.seek(0)
        if status != 0:
            sys.exit(f"{' '.join(command)}\n{err.read()}")
        return usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
