#!/usr/bin/env python3
"""Two builds in turns on one machine: does a change make a step slower, or take more memory?

  python bench/builds.py OLD NEW [--rounds 7] [--train OLD.toml NEW.toml]

OLD and NEW are folders with the release binaries `polytask` and `polytask-bench` (`cargo build --release --workspace`). Each case
runs in turns; the table shows medians over the rounds. --train adds 30 steps of a config, once in the keys of each build, with its
corpora beside it.
"""
import argparse, json, pathlib, re, statistics, subprocess, tempfile

CASES = {
    "bare step, MiniLM-L6, 32 rows of 64": ["step", "--shape", "s1", "--repeats", "5"],
    "bare step, BERT-base, 8 rows of 128": ["step", "--shape", "s2", "--repeats", "3"],
    "eight tasks, equal": ["balance", "--method", "equal", "--repeats", "5"],
    "eight tasks, upgrad": ["balance", "--method", "upgrad", "--repeats", "5"],
    "eight tasks, upgrad, last layer": ["balance", "--method", "upgrad", "--scope", "last_layer", "--repeats", "5"],
}


def bench(folder, arguments):
    done = subprocess.run([folder / "polytask-bench", *arguments], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return found["milliseconds"], found["peak_mib"]


def train(folder, config):
    with tempfile.TemporaryDirectory() as run:
        command = [folder / "polytask", "train", config, "--run", f"{run}/run", "--set", "train.max_steps=30"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        events = [json.loads(line) for line in open(f"{run}/run/metrics.jsonl")]
    steps = [event["seconds"] for event in events if event["event"] == "step"]
    peak = re.search(r"at most ([\d,]+) MiB", done.stdout + done.stderr).group(1)
    return statistics.median(steps[2:]) * 1000, float(peak.replace(",", ""))


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("old", type=pathlib.Path)
    a.add_argument("new", type=pathlib.Path)
    a.add_argument("--rounds", type=int, default=7)
    a.add_argument("--train", nargs=2, type=pathlib.Path, metavar=("OLD.toml", "NEW.toml"))
    o = a.parse_args()
    builds = [o.old.resolve(), o.new.resolve()]
    cases = {name: [lambda folder=folder, arguments=arguments: bench(folder, arguments) for folder in builds]
             for name, arguments in CASES.items()}
    if o.train:
        cases[f"training, {o.train[1].name}"] = [
            lambda folder=folder, config=config: train(folder, config)
            for folder, config in zip(builds, o.train)]
    print("| | old ms | new ms | new / old | old peak MiB | new peak MiB |\n|---|---:|---:|---:|---:|---:|")
    for name, turns in cases.items():
        rounds = [[turn() for turn in turns] for _ in range(o.rounds)]
        ms = [statistics.median(found[build][0] for found in rounds) for build in (0, 1)]
        ratio = statistics.median(found[1][0] / found[0][0] for found in rounds)
        peak = [statistics.median(found[build][1] for found in rounds) for build in (0, 1)]
        print(f"| {name} | {ms[0]:,.0f} | {ms[1]:,.0f} | {ratio:.3f} | {peak[0]:,.0f} | {peak[1]:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
