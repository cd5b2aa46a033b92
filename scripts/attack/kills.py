"""Trainings that are killed at any moment come to the same bits when they are resumed."""

import shutil
import signal
import time

from bench import CONFIG, model_hash, steps

VARIANTS = {
    "plain": "",
    "states of many parts": (
        "save_steps = 5\neval_steps = 7\n[sampling.exp3]\n[balance.moco]\n"
    ),
    "phases": "[[phase]]\nepochs = 2\ntasks = [\"topic\"]\n[[phase]]\nepochs = 2\n",
    "averaged weights": "gradient_accumulation_steps = 2\n[optimizer.schedule_free_adamw]\n",
}
# The system calls that change a file system.
CALLS = ["write", "pwrite64", "fsync", "fdatasync", "rename", "mkdir", "unlink", "rmdir", "unlinkat", "ftruncate", "openat"]


def attack(bench, tally):
    references = {name: reference(bench, name, more) for name, more in VARIANTS.items()}
    random = bench.random("kills")
    names = list(VARIANTS)
    tries = [(names[i % len(names)], random.random(), random.random()) for i in range(bench.size(1000))]
    bench.each(lambda one: at_random(bench, tally, references, one), tries)
    if shutil.which("strace") is None:
        print("kills: no strace here, so that no run is killed at a given system call")
        return
    for call in CALLS:
        at_calls(bench, tally, references["plain"], call)


def reference(bench, name, more):
    folder = bench.write_corpus(bench.folder(), CONFIG + more)
    began = time.monotonic()
    ran = bench.run(folder, "train", "job.toml", "--run", "run")
    if ran.code != 0:
        raise SystemExit(f"{name}: the run that others are compared with failed: {ran.err.decode()}")
    return {
        "folder": folder, "model": model_hash(folder / "run"), "steps": steps(folder / "run"),
        "seconds": time.monotonic() - began,
    }


def at_random(bench, tally, references, one):
    name, first, second = one
    whole = references[name]
    folder = bench.copy(whole["folder"])
    shutil.rmtree(folder / "run")
    for part in (first, second):
        child = bench.start(folder, *command(folder))
        time.sleep(part * whole["seconds"])
        child.send_signal(signal.SIGKILL)
        child.communicate()
    tally.add(finish(bench, folder, whole), f"{name}, killed after {first:.3f} and {second:.3f} of its time")
    shutil.rmtree(folder)


def command(folder):
    """Begins the run, or resumes it where it has begun."""
    begun = (folder / "run/config.toml").exists()
    return ("train", "--resume", "run") if begun else ("train", "job.toml", "--run", "run")


def finish(bench, folder, whole):
    ran = bench.run(folder, *command(folder))
    if ran.crash() or ran.code != 0:
        return ran.crash() or f"not resumed: {ran.err.decode(errors='replace')}"
    if model_hash(folder / "run") != whole["model"]:
        return "another model"
    if steps(folder / "run") != whole["steps"]:
        return f"steps in metrics.jsonl: {steps(folder / 'run')}"
    left = [path.name for path in (folder / "run").rglob(".*")]
    if left or not (folder / "run/data.json").exists():
        return f"left over: {left}, or no data.json"
    return "equal"


def at_calls(bench, tally, whole, call):
    """Kills at the first call of this name, the second, and so on, until one comes to its end."""
    every = 7 if bench.quick else 1
    number = 1
    while number < 20000 and not bench.over():
        folder = bench.copy(whole["folder"])
        shutil.rmtree(folder / "run")
        trace = folder / "trace"
        inject = f"inject={call}:signal=KILL:when={number}"
        prefix = ("strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={call}", "-e", inject)
        ran = bench.run(folder, *command(folder), prefix=prefix, timeout=120)
        done = ran.code == 0
        if not done:
            trace.unlink(missing_ok=True)
            tally.add(finish(bench, folder, whole), f"killed at {call} number {number}")
        shutil.rmtree(folder)
        if done:
            return
        number += every
