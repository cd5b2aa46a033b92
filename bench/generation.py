#!/usr/bin/env python3
"""Greedy generation by a small decoder beside transformers' `generate`: one prompt, and many at once.

  python bench/generation.py --data DIR --model DIR [--python PYTHON] [--rounds 3] [--tokens 64] [--rows 16] [--threads 2] [--bits 8,4]

DIR of --data holds the corpora as examples/README.md lays them out, that of --model a decoder in Hugging Face layout with its
tokenizer. PYTHON has torch and transformers. Both write --tokens tokens in f32 after the same sentences, with keys and values kept,
whatever token comes; sentences differ in length, and transformers pads them on the left. Ours is the running command `predict`, to which
lines are sent and whose answers are waited for, so that its time has the tokenizer and the printing in it. Counted are tokens written a
second; the first answer is not counted. In a round each has its turn; with --bits also what `polytask quantize` makes of the model; printed are medians over the rounds, and from the least to the most.
"""
import argparse, json, os, pathlib, statistics, subprocess, sys, tempfile, time

from compare import machine

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONFIG = """
[model]
backbone = {model}
[corpus.texts]
train = {texts}
[task.text]
corpus = "texts"
causal_language_model = {{ text = "text", decoding = {{ min_length = {tokens}, max_length = {tokens} }} }}
[optimizer.adamw]
learning_rate = 1e-12
[train]
max_steps = 1
tokens_per_batch = 64
"""
REPEATS = 3


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--data", required=True, type=pathlib.Path)
    a.add_argument("--model", required=True, type=pathlib.Path)
    a.add_argument("--python", default=sys.executable)
    a.add_argument("--binary", default=str(ROOT / "target/release/polytask"))
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--tokens", type=int, default=64)
    a.add_argument("--rows", type=int, default=16)
    a.add_argument("--threads", type=int, default=os.cpu_count())
    a.add_argument("--bits", default="", help="also our model with weights of so many bits: 8, 4, or 8,4")
    o = a.parse_args()
    print(machine(o.threads))
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        texts = work / "texts.jsonl"
        rows = [json.loads(line)["text"] for line in (o.data / "vader_sentiment/train.jsonl").read_text().splitlines()[: o.rows]]
        texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
        trained(o, work, texts)
        runs = {"f32": work / "run"}
        for bits in filter(None, o.bits.split(",")):
            runs[f"int{bits}"] = work / f"int{bits}"
            done(o, "quantize", work / "run", "--out", runs[f"int{bits}"], "--bits", bits)
        cases = [(size, run) for size in [1, o.rows] for run in runs]
        ours, theirs = {case: [] for case in cases}, {1: [], o.rows: []}
        for _ in range(o.rounds):
            for size in theirs:
                for name, run in runs.items():
                    ours[size, name].append(rate_of_ours(o, run, rows[:size]))
                theirs[size].append(rate_of_torch(o, texts, size))
    print("| rows at once | weights | ours, tokens/s | transformers in f32, tokens/s | ratio |\n|---:|---|---:|---:|---:|")
    for size, name in cases:
        ratios = [m / t for m, t in zip(ours[size, name], theirs[size])]
        middle = statistics.median
        spread = f"{middle(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {size} | {name} | {middle(ours[size, name]):.1f} | {middle(theirs[size]):.1f} | {spread} |")


def trained(o, work, texts):
    """A run directory with the model as it is: one step that moves nothing that f32 can tell."""
    config, quoted = work / "job.toml", lambda path: json.dumps(str(pathlib.Path(path).resolve()))
    config.write_text(CONFIG.format(model=quoted(o.model), texts=quoted(texts), tokens=o.tokens))
    done(o, "train", config, "--run", work / "run")


def done(o, *arguments):
    run = subprocess.run([o.binary, *map(str, arguments)], capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(run.stderr)


def rate_of_ours(o, run, rows):
    command = [o.binary, "predict", str(run), "--threads", str(o.threads)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        rates = []
        for _ in range(1 + REPEATS):
            begin = time.perf_counter()
            process.stdin.write("".join(json.dumps({"text": text}) + "\n" for text in rows))
            process.stdin.flush()
            for _ in rows:
                answer = process.stdout.readline()
                if "probability" not in answer:
                    sys.exit(f"no text was written: {answer}")
            rates.append(len(rows) * o.tokens / (time.perf_counter() - begin))
        process.stdin.close()
    return statistics.median(rates[1:])


def rate_of_torch(o, texts, size):
    script = pathlib.Path(__file__).with_name("reference_generation.py")
    sets = ["--model", str(o.model), "--texts", str(texts), "--rows", str(size), "--tokens", str(o.tokens), "--repeats", str(REPEATS)]
    out = subprocess.run([o.python, str(script), *sets, "--threads", str(o.threads)], check=True, capture_output=True, text=True)
    return json.loads(out.stdout.splitlines()[-1])["tokens_per_second"]


if __name__ == "__main__":
    main()
