"""Attacks the program and counts what happens.

  python3 scripts/attack/run.py BINARY [--quick] [--only NAME]... [--seconds N] [--seed N] [--jobs N]

Ends with 0 where nothing was wrong. README.md has what each family does.
"""

import argparse
import importlib
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from bench import Bench, Tally

FAMILIES = [
    "kills", "damage", "full_disk", "together", "closed_output", "models", "tokenizers", "corpora", "configs", "names",
]
SHOWN = 10


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", help="the program")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the tries")
    parser.add_argument("--only", action="append", choices=FAMILIES, help="only this family; may be repeated")
    parser.add_argument("--seed", type=int, default=1, help="the seed of all that is random")
    parser.add_argument("--seconds", type=float, help="how long each family may take; the rest of its tries are left out")
    parser.add_argument("--jobs", type=int, default=2, help="commands at a time")
    arguments = parser.parse_args()
    wrong = 0
    table = [f"{'family':<14} {'runs':>7} {'refused':>8} {'equal':>7} {'WRONG':>6} {'seconds':>8}"]
    for name in arguments.only or FAMILIES:
        bench, tally, began = Bench(arguments), Tally(), time.monotonic()
        try:
            importlib.import_module(name).attack(bench, tally)
        finally:
            bench.close()
        for line in tally.wrong[:SHOWN]:
            print(f"{name}: WRONG: {line}")
        if len(tally.wrong) > SHOWN:
            print(f"{name}: and {len(tally.wrong) - SHOWN} more")
        wrong += len(tally.wrong)
        seconds = time.monotonic() - began
        table.append(f"{name:<14} {tally.runs:>7} {tally.refused:>8} {tally.equal:>7} {len(tally.wrong):>6} {seconds:>8.0f}")
        print(table[-1], flush=True)
    print("\n" + "\n".join(table))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
