#!/usr/bin/env python3
"""Balancing methods on equal terms: examples/four-tasks.toml, one epoch and one seed each, and a table of what came out.

  python bench/balancers.py --data DIR --model DIR [--runs target/bench/balancers] [--methods equal,upgrad,...] [--table]

DIR of --data holds the corpora as examples/README.md lays them out, that of --model the MiniLM-L6 checkpoint. A finished run
is kept and not made again, so an interrupted series goes on where it stopped; --table only prints what there is. With
`--steps 20 --rounds 3` the table tells the time of a step too, from short runs of their own, in turns.
"""
import argparse, json, os, pathlib, statistics

from runs import call, train_and_score

ROOT = pathlib.Path(__file__).resolve().parent.parent
METHODS = "equal,uncertainty,famo,mgda,pcgrad,cagrad,nash_mtl,upgrad,aligned_mtl,imtl,fairgrad,config"
TASKS = {"intent": "accuracy", "slots": "span_f1", "polarity": "accuracy", "entities": "span_f1"}


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--data", required=True, type=pathlib.Path)
    a.add_argument("--model", required=True, type=pathlib.Path)
    a.add_argument("--runs", type=pathlib.Path, default=ROOT / "target/bench/balancers")
    a.add_argument("--methods", default=METHODS)
    a.add_argument("--binary", default=str(ROOT / "target/release/polytask"))
    a.add_argument("--threads", type=int, default=os.cpu_count())
    a.add_argument("--steps", type=int, default=0, help="of the timed runs; 0: no times")
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--table", action="store_true")
    o = a.parse_args()
    methods = o.methods.split(",")
    if not o.table:
        for method in methods:
            run = o.runs / method
            train_and_score(o.binary, run, [*command(o, method, run), "--set", "train.epochs=1"])
    times = timed(o, methods) if o.steps else {}
    columns = ["", *TASKS, "mean", "pairs in conflict", *(["ms a step"] if times else [])]
    print("| " + " | ".join(columns) + " |\n|---" + "|---:" * (len(columns) - 1) + "|")
    for method in methods:
        if (o.runs / method / "test.json").exists():
            print(row(o, method, times.get(method)))


def command(o, method, run, config=ROOT / "examples/four-tasks.toml"):
    places = ["--define", f"data={o.data.resolve()}", "--define", f"model={o.model.resolve()}"]
    balance = ["--set", f"balance={{{method}={{}}}}", "--set", f"train.threads={o.threads}"]
    return [o.binary, "train", str(config), "--run", str(run), *places, *balance]


def timed(o, methods):
    """Medians over the rounds of the median step, each method once a round; without the validation rows, which cost no step."""
    o.runs.mkdir(parents=True, exist_ok=True)
    config, lines = o.runs / "timed.toml", (ROOT / "examples/four-tasks.toml").read_text().splitlines(keepends=True)
    config.write_text("".join(line for line in lines if not line.startswith("validation =")))
    found = {method: [] for method in methods}
    for _ in range(o.rounds):
        for method in methods:
            run = o.runs / "timed"
            subprocess.run(["rm", "-rf", str(run)], check=True)
            call([*command(o, method, run, config), "--set", f"train.max_steps={o.steps}"])
            found[method].append(statistics.median(step["seconds"] for step in steps(run)[2:]))
    return {method: statistics.median(seconds) for method, seconds in found.items()}


def row(o, method, seconds):
    run = o.runs / method
    tasks = json.loads((run / "test.json").read_text())["tasks"]
    done = steps(run)
    conflicts = [s["task_gradients"]["conflicts"] for s in done if s.get("task_gradients")]
    conflicts = [c for c in conflicts if c is not None]
    main = [100 * tasks[task]["scores"][metric] for task, metric in TASKS.items()]
    share = f"{100 * statistics.mean(conflicts):.0f} %" if conflicts else ""
    cells = [f"{x:.2f}" for x in [*main, statistics.mean(main)]] + [share]
    cells += [f"{1000 * seconds:,.0f}"] if seconds else []
    return f"| `{method}` | " + " | ".join(cells) + " |"


def steps(run):
    events = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [e for e in events if e["event"] == "step"]


if __name__ == "__main__":
    main()
