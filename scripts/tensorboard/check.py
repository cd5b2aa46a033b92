#!/usr/bin/env python3
"""Reads the TensorBoard events of a run as TensorBoard does, and compares every value with the run's metrics.jsonl.

    pip install tensorboard
    python scripts/tensorboard/check.py RUN...

For every curve that metrics.jsonl has, the tag, the steps and the values (to single precision) have to be the same; there has to be no
other curve. Training and validation loss of a task have the same tag in two folders, RUN and RUN/validation, so that TensorBoard draws
them over each other.
"""
import json
import math
import os
import pathlib
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def expected(run):
    """The curves of metrics.jsonl: of RUN and of RUN/validation, each {tag: {step: value}}."""
    main, validation = {}, {}

    def put(curves, tag, step, value):
        curves.setdefault(tag, {})[step] = value

    for line in pathlib.Path(run, "metrics.jsonl").read_text().splitlines():
        event = json.loads(line)
        step = event["step"]
        if event["event"] == "step":
            for name, key in (("loss", "losses"), ("weight", "weights"), ("head_factor", "head_factors")):
                for task, value in event.get(key, {}).items():
                    put(main, f"{name}/{task}", step, value)
            gradients = event.get("task_gradients")
            if gradients:
                for task, value in gradients["norms"].items():
                    put(main, f"gradient_norm/{task}", step, value)
                for pair in gradients["cosines"]:
                    put(main, "cosine/" + "/".join(pair["tasks"]), step, pair["cosine"])
                if gradients["conflicts"] is not None:
                    put(main, "train/conflicts", step, gradients["conflicts"])
            put(main, "train/learning_rate", step, event["learning_rate"])
            put(main, "train/gradient_norm", step, event["gradient_norm"])
            put(main, "train/tokens_per_second", step, event["tokens"] / max(event["seconds"], 1e-9))
        elif event["event"] == "evaluated":
            split = event["split"]
            for task, scores in event["scores"].items():
                for metric, value in scores.items():
                    put(main, f"{split}/{task}/{metric}", step, value)
            for task, value in event["losses"].items():
                put(main, f"{split}/{task}/loss", step, value)
                if split == "validation":
                    put(validation, f"loss/{task}", step, value)
            put(main, f"{split}/mean", step, event["mean"])
        elif event["event"] == "usage_report":
            for task, value in event["shares"].items():
                put(main, f"compute_share/{task}", step, value)
    return main, validation


def check(folder, curves):
    """Differences of the event files of a folder, in words, and how many values were compared."""
    if not curves:
        return ([f"{folder}: has curves, and metrics.jsonl has none"] if os.path.isdir(folder) else []), 0
    if not os.path.isdir(folder):
        return [f"{folder}: no such folder, and metrics.jsonl has {len(curves)} curves for it"], 0
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    found = {tag: {v.step: v.value for v in accumulator.Scalars(tag)} for tag in accumulator.Tags()["scalars"]}
    faults = [f"{folder}: no curve {tag}" for tag in sorted(curves.keys() - found.keys())]
    faults += [f"{folder}: metrics.jsonl has no {tag}" for tag in sorted(found.keys() - curves.keys())]
    for tag in sorted(curves.keys() & found.keys()):
        if curves[tag].keys() != found[tag].keys():
            differ = sorted(curves[tag].keys() ^ found[tag].keys())
            faults.append(f"{folder}: {tag}: {len(differ)} steps are on one side only, the first is {differ[0]}")
        for step in curves[tag].keys() & found[tag].keys():
            one, other = curves[tag][step], found[tag][step]
            if not math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-30):
                faults.append(f"{folder}: {tag} at step {step}: {one} in metrics.jsonl, {other} in the events")
                break
    return faults, sum(len(values) for values in curves.values())


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    faults, compared = [], 0
    for run in sys.argv[1:]:
        main_curves, validation = expected(run)
        for folder, curves in ((pathlib.Path(run), main_curves), (pathlib.Path(run, "validation"), validation)):
            # TensorBoard reads a folder's own files only where it is given that folder.
            more, number = check(folder, curves)
            faults += more
            compared += number
    print("\n".join(faults) or f"{compared} values in {len(sys.argv) - 1} run(s) are the same")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
