#!/usr/bin/env python3
"""Every sharing scheme on the four tasks of examples/four-tasks.toml, at the same budget: a table of test scores, parameters, time and memory.

  python bench/schemes.py --data DIR --model DIR [--epochs 1] [--seeds 17,18] [--only lora,mmoe] [--runs target/bench/schemes] [--table]

DIR of --data holds the corpora as examples/README.md lays them out, that of --model the MiniLM-L6 checkpoint. Every scheme has its defaults
but for what SETTINGS says. A finished run is kept and not made again; --table only prints what there is. All see the
same rows in as many steps; where a row goes through the trunk once for each task that reads it, steps take longer. Run it on a machine that does nothing else.
"""
import argparse, json, os, pathlib, statistics, subprocess, sys, tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# The metric of each task that the table has.
METRICS = {"intent": "accuracy", "slots": "span_f1", "polarity": "macro_f1", "entities": "span_f1"}

# What is set beside `sharing.NAME={...}`: a learning rate where the scheme's documentation asks for another one.
SETTINGS = {
    "hard": {}, "branch": {"first_layer": 4}, "scalar_mix": {}, "mtan": {}, "soft": {}, "cross_stitch": {}, "sluice": {}, "learn_to_branch": {},
    "mmoe": {}, "cgc": {}, "ple": {}, "dselect_k": {}, "moe": {}, "mix_lora": {}, "hydra_lora": {}, "pals": {}, "adapters": {},
    "hyper_adapters": {}, "lora": {}, "mtl_lora": {}, "vera": {}, "ia3": {}, "poly": {}, "prefix": {}, "prompt": {}, "bitfit": {},
    "task_embedding": {}, "conditional_norm": {},
}
RATES = {"vera": 1e-2, "ia3": 1e-2}


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--data", required=True, type=pathlib.Path)
    a.add_argument("--model", required=True, type=pathlib.Path)
    a.add_argument("--runs", type=pathlib.Path, default=ROOT / "target/bench/schemes")
    a.add_argument("--only", default=",".join(SETTINGS))
    a.add_argument("--seeds", default="17,18")
    a.add_argument("--epochs", type=int, default=1)
    a.add_argument("--steps", type=int, help="so many steps in place of epochs")
    a.add_argument("--binary", default=str(ROOT / "target/release/polytask"))
    a.add_argument("--threads", type=int, default=os.cpu_count())
    a.add_argument("--table", action="store_true")
    o = a.parse_args()
    seeds, schemes = o.seeds.split(","), o.only.split(",")
    if not o.table:
        for seed in seeds:
            for scheme in schemes:
                make(o, scheme, seed)
    print(f"| scheme | {' | '.join(METRICS)} | mean | shared | of a task | ms a step | MB |\n|---|{'---:|' * (len(METRICS) + 5)}")
    for scheme in schemes:
        found = [of_run(place(o, scheme, seed)) for seed in seeds if (place(o, scheme, seed) / "test.json").exists()]
        if found:
            print(row(scheme, found))


def place(o, scheme, seed):
    return o.runs / f"{scheme}-{seed}"


def make(o, scheme, seed):
    run = place(o, scheme, seed)
    if (run / "test.json").exists():
        return
    o.runs.mkdir(parents=True, exist_ok=True)
    table = ", ".join(f"{key}={json.dumps(value)}" for key, value in SETTINGS[scheme].items())
    sets = [f"sharing.{scheme}={{{table}}}", f"train.max_steps={o.steps}" if o.steps else f"train.epochs={o.epochs}", f"train.seed={seed}", f"train.threads={o.threads}", "train.eval_steps=100000"]
    if scheme in RATES:
        sets.append(f"optimizer.adamw.adapter_learning_rate={RATES[scheme]}")
    places = ["--define", f"data={o.data.resolve()}", "--define", f"model={o.model.resolve()}"]
    train = [o.binary, "train", str(ROOT / "examples/four-tasks.toml"), "--run", str(run), *places]
    megabytes = call([*train, *(x for s in sets for x in ("--set", s))])[1]
    scores = call([o.binary, "evaluate", str(run), "--split", "test", "--json"])[0]
    (run / "memory.json").write_text(json.dumps(megabytes))
    (run / "test.json").write_text(scores)


def call(arguments):
    """Standard output, and the most memory in megabytes."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(arguments, stdout=out, stderr=err)
        # Of this process alone: the sum over all children would keep the largest.
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0), err.seek(0)
        if status != 0:
            sys.exit(f"{' '.join(arguments)}\n{err.read()}")
        return out.read(), usage.ru_maxrss / 1024


def of_run(run):
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    started = next(e for e in events if e["event"] == "started")
    # The first steps wait for the first batches.
    seconds = [e["seconds"] for e in events if e["event"] == "step"][10:]
    tasks = json.loads((run / "test.json").read_text())["tasks"]
    scores = {task: 100 * tasks[task]["scores"][metric] for task, metric in METRICS.items()}
    of_task = statistics.mean(started["head_parameters"].values())
    return scores, started["trunk_parameters"], of_task, 1000 * statistics.median(seconds), json.loads((run / "memory.json").read_text())


def row(scheme, found):
    mean = lambda values: statistics.mean(values)
    scores = [mean(of[0][task] for of in found) for task in METRICS]
    millions = lambda n: f"{n / 1e6:.2f} M" if n >= 1e5 else f"{n / 1e3:.1f} k"
    cells = [f"{s:.1f}" for s in [*scores, mean(scores)]]
    shared, of_task = found[0][1], found[0][2]
    return f"| `{scheme}` | {' | '.join(cells)} | {millions(shared)} | {millions(of_task)} | {mean(of[3] for of in found):.0f} | {mean(of[4] for of in found):.0f} |"


if __name__ == "__main__":
    main()
