"""How often `compare` names a difference where there is none: models that differ in their seeds alone.

  pip install numpy scipy
  polytask demo && python scripts/compare/null_rate.py BINARY runs/demo/demo.toml [--seeds 60] [--draws 2000] [--dir DIR]

Trains one model for all tasks with many seeds (`compare --no-alone`). Then two groups of three seeds are drawn without a seed in common,
again and again, and held against each other as `compare` does, with the numpy version of its interval (`difference.py`, to which the
program's own is tested to be equal). Five of a hundred should be named.
"""
import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from difference import difference


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("config")
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--dir", type=Path, default=None)
    args = parser.parse_args()
    folder = args.dir or Path(tempfile.mkdtemp()) / "null"
    if not (folder / "comparison.json").exists():
        command = [args.binary, "compare", args.config, "--no-alone", "--seeds", str(args.seeds), "--dir", str(folder)]
        subprocess.run(command, check=True)
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("trials/together-*/result.json"))]
    rng = np.random.default_rng(0)
    print(f"{len(results)} seeds, {args.draws} draws")
    for size in (2, 3, 5):
        named, all_ = {}, 0
        for _ in range(args.draws):
            drawn = rng.permutation(len(results))[: 2 * size]
            for task in results[0]["tasks"]:
                scores = [next(s for s in results[i]["scores"] if s["task"] == task and not s["out_of_domain"]) for i in drawn]
                values = np.array([s["value"] for s in scores])
                samples = np.array([s["resampled"] for s in scores])
                found = difference(values[:size] - values[size:], samples[:size] - samples[size:], scores[0]["rows"])
                low, high = found["interval"]
                named[task] = named.get(task, 0) + (low > 0 or high < 0)
        rates = ", ".join(f"{task} {100 * count / args.draws:.1f} %" for task, count in named.items())
        print(f"{size} seeds against {size}: a difference is named for {rates}")


if __name__ == "__main__":
    main()
