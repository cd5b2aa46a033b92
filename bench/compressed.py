#!/usr/bin/env python3
"""Prediction with compressed models beside PyTorch and onnxruntime: all tasks of examples/four-tasks.toml on the test rows of its corpora.

  python bench/compressed.py --data DIR --run RUN [--compressed NAME=RUN ..] [--python PYTHON] [--rounds 3] [--threads 2]

RUN is a finished run of examples/four-tasks.toml, each NAME=RUN one that `polytask quantize` or `polytask prune` made of it. PYTHON has torch,
transformers, onnxruntime and onnx. PyTorch and onnxruntime get rows sorted by length in batches of 32; onnxruntime runs what `polytask
export` writes, as it is and after its own `quantize_dynamic`. In a round each has its turn; printed are medians over the rounds.
"""
import argparse, json, os, pathlib, statistics, subprocess, sys, tempfile

from compare import machine

ROOT = pathlib.Path(__file__).resolve().parent.parent
HERE = pathlib.Path(__file__).parent


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--data", required=True)
    a.add_argument("--run", required=True, type=pathlib.Path)
    a.add_argument("--compressed", nargs="*", default=[])
    a.add_argument("--python", default=sys.executable)
    a.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target/release")
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--threads", type=int, default=os.cpu_count())
    o = a.parse_args()
    print(machine(o.threads))
    with tempfile.TemporaryDirectory() as work:
        exported = pathlib.Path(work) / "exported"
        command = [str(o.binaries / "polytask"), "export", str(o.run), "--format", "onnx", "--out", str(exported)]
        subprocess.run(command, check=True, capture_output=True)
        found = {}
        for _ in range(o.rounds):
            for name, command in contestants(o, exported).items():
                found.setdefault(name, []).append(printed(command))
    torch = [one["rows_per_second"] for one in found["PyTorch f32"]]
    print("| | rows/s | against PyTorch f32 | peak MiB |\n|---|---:|---:|---:|")
    for name, runs in found.items():
        ratios = [one["rows_per_second"] / base for one, base in zip(runs, torch)]
        of = lambda key: statistics.median(one[key] for one in runs)
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {name} | {of('rows_per_second'):.0f} | {spread} | {of('peak_mib'):.0f} |")


def contestants(o, exported):
    few = ["--repeats", "2"]
    ours = lambda run: [str(o.binaries / "polytask-bench"), "--threads", str(o.threads), "predict", str(run), *few]
    threads = ["--threads", str(o.threads)]
    onnx = [o.python, str(HERE / "reference_onnx.py"), "--model", str(exported), "--data", o.data, *threads, *few]
    torch = ["predict", "--model", str(o.run / "model"), "--data", o.data, *threads, *few]
    return {
        "Polytask f32": ours(o.run),
        **{f"Polytask {name}": ours(run) for name, run in (one.split("=", 1) for one in o.compressed)},
        "PyTorch f32": [o.python, str(HERE / "reference.py"), *torch],
        "onnxruntime f32": onnx,
        "onnxruntime, its dynamic int8": [*onnx, "--dynamic"],
    }


def printed(command):
    """The JSON object that a command prints last, with the most memory that it had."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0), err.seek(0)
        if status != 0:
            sys.exit(f"{' '.join(command)}\n{err.read()}")
        return {"peak_mib": usage.ru_maxrss / 1024, **json.loads(out.read().splitlines()[-1])}


if __name__ == "__main__":
    main()
