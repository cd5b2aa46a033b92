#!/usr/bin/env python3
"""Counts the instructions of small training steps (two layers of 128) with callgrind: nearly the same number whatever else the machine does.

  python bench/instructions.py            compares with bench/instructions.json, fails above two per cent more
  python bench/instructions.py --update   writes the new count there

Needs valgrind (Debian: apt-get install valgrind), which knows no AVX-512: the count is that of the AVX2 kernels.
A count says nothing about caches and waiting; for those there is compare.py.
"""
import json, pathlib, re, subprocess, sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
KNOWN = ROOT / "bench" / "instructions.json"
ALLOWED = 1.02
CASES = {
    "4 rows of 16 tokens": ["step", "--shape", "tiny", "--repeats", "1"],
    "2 rows of 128 tokens": ["step", "--shape", "tiny", "--rows", "2", "--length", "128", "--repeats", "1"],
}


def count(arguments):
    program = [str(ROOT / "target/release/polytask-bench"), *arguments, "--threads", "1"]
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *program]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(re.search(r"Collected : (\d+)", done.stderr).group(1))


def main():
    build = ["cargo", "build", "--release", "--locked", "-p", "polytask-bench"]
    subprocess.run(build, check=True, cwd=ROOT)
    known = json.loads(KNOWN.read_text()) if KNOWN.exists() else {}
    found, worse = {}, []
    for name, arguments in CASES.items():
        found[name] = count(arguments)
        ratio = found[name] / known[name] if name in known else 1.0
        print(f"{name}: {found[name]:,} instructions, {ratio:.4f} of the known count")
        if ratio > ALLOWED:
            worse.append(name)
    if "--update" in sys.argv:
        KNOWN.write_text(json.dumps(found, indent=2) + "\n")
    elif worse:
        sys.exit("more instructions than before: " + "; ".join(worse))


if __name__ == "__main__":
    main()
