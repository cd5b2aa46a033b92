#!/usr/bin/env python3
"""A small corpus beside large ones under several samplers, budgets and orders of tasks: examples/uneven.toml, the same number of steps
each, and a table of test scores with the share of the computation that each task had.

  python bench/samplers.py --data DIR --model DIR [--runs target/bench/samplers] [--only proportional,...] [--seed 17] [--table]

DIR of --data holds the corpora as examples/README.md lays them out, that of --model the MiniLM-L6 checkpoint. A finished run
is kept and not made again, so an interrupted series goes on where it stopped; --table only prints what there is.
"""
import argparse, json, os, pathlib

from runs import train_and_score

ROOT = pathlib.Path(__file__).resolve().parent.parent
TASKS = {"entities": "span_f1", "intent": "accuracy", "slots": "span_f1", "request": "accuracy"}
FIRST = 'phase=[{tasks=["entities"],steps=STEPS},{}]'
# What is set over the example, by the name in the table.
CASES = {
    "proportional": ["sampling={proportional={}}"],
    "equal": ["sampling={equal={}}"],
    "sqrt": ["sampling={sqrt={}}"],
    "temperature 5": ["sampling={temperature={temperature=5.0}}"],
    "unimax, 10 epochs": ["sampling={unimax={epochs=10.0}}"],
    "importance": ["sampling={importance={alpha=0.5}}"],
    "validation": ["sampling={validation={}}"],
    "loss_ratio": ["sampling={loss_ratio={}}"],
    "exp3": ["sampling={exp3={}}"],
    "proportional, budget of 0.3": ["sampling={proportional={}}", "task.entities.budget={share=0.3}"],
    "entities first, 60 steps, then proportional": ["sampling={proportional={}}", FIRST.replace("STEPS", "60")],
}


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--data", required=True, type=pathlib.Path)
    a.add_argument("--model", required=True, type=pathlib.Path)
    a.add_argument("--runs", type=pathlib.Path, default=ROOT / "target/bench/samplers")
    a.add_argument("--only", default=";".join(CASES), help="cases, by semicolons")
    a.add_argument("--seed", type=int, default=17)
    a.add_argument("--binary", default=str(ROOT / "target/release/polytask"))
    a.add_argument("--threads", type=int, default=os.cpu_count())
    a.add_argument("--table", action="store_true")
    o = a.parse_args()
    cases = o.only.split(";")
    if not o.table:
        for case in cases:
            train_and_score(o.binary, place(o, case), command(o, case))
    print("| " + " | ".join(["", *TASKS, "times through politics", "compute for entities"]) + " |\n|---" + "|---:" * (len(TASKS) + 2) + "|")
    for case in cases:
        if (place(o, case) / "test.json").exists():
            print(row(o, case))


def place(o, case):
    return o.runs / f"{case.replace(', ', '-').replace(' ', '-')}-{o.seed}"


def command(o, case):
    places = ["--define", f"data={o.data.resolve()}", "--define", f"model={o.model.resolve()}"]
    chosen = [*CASES[case], f"train.seed={o.seed}", f"train.threads={o.threads}"]
    settings = [x for s in chosen for x in ("--set", s)]
    return [o.binary, "train", str(ROOT / "examples/uneven.toml"), "--run", str(place(o, case)), *places, *settings]


def row(o, case):
    run = place(o, case)
    scores = json.loads((run / "test.json").read_text())["tasks"]
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    told = [event for event in events if event["event"] == "usage_report"][-1]
    cells = [f"{100 * scores[task]['scores'][metric]:.1f}" for task, metric in TASKS.items()]
    politics = told["corpora"]["politics"]
    times = politics["draws"] / max(politics["rows"], 1)
    return f"| {case} | " + " | ".join([*cells, f"{times:.1f}", f"{100 * told['shares'].get('entities', 0):.1f} %"]) + " |"


if __name__ == "__main__":
    main()
