#!/usr/bin/env python3
"""What sharing schemes cost: steps and memory beside full fine-tuning and beside PyTorch with peft, and prediction of many tasks.

  python bench/sharing.py --data DIR --model DIR [--python PYTHON] [--rounds 3] [--tokens 512] [--threads 2]

The four tasks are those of examples/four-tasks.toml, each with rows of its own (two names for SNIPS), so that every way takes the same
tokens through the network; eight tasks are the four twice, under other names. Every step is one of the trainer on the same rows of the
corpora, --tokens of them in all (512 is the example's), evenly divided among the tasks. PYTHON has torch, transformers and peft;
without it the rows of peft are left out. In a round each program has its turn. Printed are medians over the rounds, and from the least
to the most.
"""
import argparse, json, os, pathlib, statistics, subprocess, sys

from compare import machine

ROOT = pathlib.Path(__file__).resolve().parent.parent
# task -> corpus's folder, kind
TASKS = {
    "intent": ("snips", 'classification = { text = "text", label = "intent" }'),
    "slots": ("snips", 'tagging = { tokens = "tokens", tags = "tags", scheme = "bio" }'),
    "polarity": ("vader_sentiment", 'classification = { text = "text", label = "polarity" }'),
    "entities": ("wnut17", 'tagging = { tokens = "tokens", tags = "tags", scheme = "bio" }'),
}
SCHEMES = {
    "full fine-tuning": "[sharing.hard]",
    "LoRA, one for each task": "[sharing.lora]",
    "LoRA, one for all": "[sharing.lora]\nshared = true",
    "adapters": "[sharing.adapters]",
}
FULL, LORA, SHARED, ADAPTERS = SCHEMES
# what, our measurement, against, the figure, the most that is good
FIGURES = [
    ("step, LoRA on a frozen trunk", (4, LORA), (4, FULL), "milliseconds", 0.7),
    ("step, adapters on a frozen trunk", (4, ADAPTERS), (4, FULL), "milliseconds", 0.7),
    ("step, LoRA, mixed pack against one task a pack", (4, LORA), (4, LORA + ", one task a pack"), "milliseconds", 0.8),
    ("step, eight LoRAs in one pass against one shared", (8, LORA), (8, SHARED), "milliseconds", 1.15),
    ("step, eight LoRAs against peft, one after the other", (8, LORA), (8, "peft"), "milliseconds", 0.5),
    ("step, eight LoRAs against peft on one thread", (8, LORA), (8, "peft, one thread"), "milliseconds", 0.5),
    ("prediction, one model of eight tasks against eight", (8, "one model"), (8, "a model each"), "milliseconds", 0.2),
    ("peak memory, LoRA against full fine-tuning", (4, LORA), (4, FULL), "peak_mib", 0.6),
    ("peak memory, adapters against full fine-tuning", (4, ADAPTERS), (4, FULL), "peak_mib", 0.6),
]


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--data", required=True, type=pathlib.Path)
    a.add_argument("--model", required=True, type=pathlib.Path)
    a.add_argument("--python", help="an interpreter with torch, transformers and peft")
    a.add_argument("--binary", type=pathlib.Path, help="polytask-bench [default: built now]")
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--repeats", type=int, default=10, help="counted steps a turn")
    a.add_argument("--tokens", type=int, default=512, help="tokens of a step")
    a.add_argument("--threads", type=int, default=os.cpu_count())
    a.add_argument("--only", help="a part of what is measured: words of its name")
    o = a.parse_args()
    work = ROOT / "target" / "bench" / "sharing"
    work.mkdir(parents=True, exist_ok=True)
    if o.binary is None:
        subprocess.run(["cargo", "build", "--release", "--locked", "-p", "polytask-bench"], cwd=ROOT, check=True)
        o.binary = ROOT / "target/release/polytask-bench"
    figures = [f for f in FIGURES if (o.python or "peft" not in f[2][1]) and (o.only or "") in f[0]]
    wanted = {side for _, ours, theirs, _, _ in figures for side in (ours, theirs)}
    # What peft reads is written by ours.
    ways = {name: command for name, command in commands(o, work).items() if name in wanted}
    found = {name: [] for name in ways}
    print(f"{machine(o.threads)}, {o.tokens} tokens a step\n", flush=True)
    for _ in range(o.rounds):
        for name, command in ways.items():
            found[name].append(measured(command))
    show(found, figures)


def commands(o, work):
    """(number of tasks, way) -> command."""
    bench = [str(o.binary), "--threads", str(o.threads)]
    steps = [*bench, "--repeats", str(o.repeats), "sharing"]
    rows = str(work / "rows.json")
    ways = {}
    for count in (4, 8):
        for scheme, table in SCHEMES.items():
            file = str(write_config(o, work, count, scheme, table))
            ways[count, scheme] = [*steps, file, "--rows", rows] if (count, scheme) == (8, LORA) else [*steps, file]
            if scheme == LORA:
                ways[count, LORA + ", one task a pack"] = [*steps, file, "--packs", "per-task"]
    if o.python:
        theirs = ["--model", str(o.model.resolve()), "--data", str(o.data.resolve()), "--rows", rows]
        script = str(ROOT / "bench/reference_adapters.py")
        # Beside other programs PyTorch's threads wait for each other: one alone may then be faster.
        for way, threads in (("peft", o.threads), ("peft, one thread", 1)):
            ways[8, way] = [o.python, script, *theirs, "--threads", str(threads), "--repeats", str(o.repeats)]
    file = str(write_config(o, work, 8, FULL, SCHEMES[FULL]))
    answers = [*bench, "--repeats", "3", "answers", file]
    ways[8, "one model"], ways[8, "a model each"] = answers, [*answers, "--separate"]
    return ways


def write_config(o, work, count, scheme, table):
    """The example's settings, with a corpus of its own for each task and a sharing scheme."""
    names = [name + suffix for suffix in ("", "_again") for name in TASKS][:count]
    text = f'[model]\nbackbone = "{o.model.resolve()}"\ndropout = 0.1\n\n[data]\nmax_length = 128\ncache = "{work / "cache"}"\n'
    for name in names:
        folder, kind = TASKS[name.split("_")[0]]
        ending = "conll" if folder == "wnut17" else "jsonl"
        splits = "".join(f'{s} = "{o.data.resolve()}/{folder}/{s}.{ending}"\n' for s in ("train", "validation", "test"))
        text += f'\n[corpus.{name}]\n{splits}\n[task.{name}]\ncorpus = "{name}"\n{kind}\n'
    rates = "learning_rate = 1e-4\nhead_learning_rate = 1e-3\nweight_decay = 0.01"
    text += f"\n{table}\n\n[optimizer.adamw]\n{rates}\n\n[train]\ntokens_per_batch = {o.tokens}\nmax_grad_norm = 1.0\nseed = 17\n"
    file = work / f"{count} {scheme.replace(',', '')}.toml".replace(" ", "-")
    file.write_text(text)
    return file


def measured(command):
    """The JSON object that a program prints last."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def show(found, figures):
    print("| | tasks | ms | least to most | tokens | peak MiB | first loss | last loss |\n|---|" + "---:|" * 7)
    for (count, way), all_ in found.items():
        ms = [m["milliseconds"] for m in all_]
        peak = statistics.median(m["peak_mib"] for m in all_)
        last = all_[-1]
        losses = [f"{last[key]:.3f}" if key in last else "" for key in ("first_loss", "last_loss")]
        spread = f"{min(ms):,.0f} to {max(ms):,.0f}"
        print(f"| {way} | {count} | {statistics.median(ms):,.0f} | {spread} | {last.get('tokens', '')} | {peak:,.0f} | {' | '.join(losses)} |")
    print("\n| ratio | found | least to most | to reach |\n|---|---:|---:|---:|")
    for what, ours, theirs, key, most in figures:
        ratios = [a[key] / b[key] for a, b in zip(found[ours], found[theirs])]
        print(f"| {what} | {statistics.median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} | {most} |")


if __name__ == "__main__":
    main()
