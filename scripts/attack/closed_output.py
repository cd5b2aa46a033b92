"""Standard output that is closed, full or gone: a training goes on, other commands end with a word or none."""

import os
import pty
import shutil
import signal
import subprocess
import time

from bench import CONFIG, model_hash

COMMANDS = [
    ["train", "job.toml", "--run", "new"], ["evaluate", "run"], ["evaluate", "run", "--json"], ["check", "job.toml"],
    ["plan", "job.toml", "--no-timing"], ["inspect", "job.toml", "--no-states"], ["inspect", "job.toml", "--json", "--no-states"],
    ["lr-find", "job.toml", "--steps", "5"], ["list"], ["explain", "uncertainty"], ["schema"], ["init", "fresh.toml"], ["predict", "run"],
    ["train", "job.toml", "--set", "train.epochs=many"], ["train", "--resume", "none"],
]


def attack(bench, tally):
    whole = bench.copy(bench.base)
    if bench.run(whole, "train", "job.toml", "--run", "run").code != 0:
        raise SystemExit("closed_output: no model")
    wanted = model_hash(whole / "run")
    for command in COMMANDS:
        for name, way in WAYS.items():
            folder = bench.copy(whole)
            usual = bench.run(folder, *command, stdin=b"one\ntwo\n").code
            shutil.rmtree(folder)
            folder = bench.copy(whole)
            tally.add(tried(bench, folder, command, way, usual, wanted), f"{' '.join(command)}: {name}")
            shutil.rmtree(folder)
    for moment in range(bench.size(100)):
        tally.add(hung_up(bench, moment / bench.size(100)), f"terminal closed, {moment}")


def pipe(command, folder, env):
    child = subprocess.Popen(command, cwd=folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.close()
    child.stdout = None
    _, err = child.communicate(b"one\ntwo\n")
    return child.returncode, err


def full(command, folder, env):
    with open("/dev/full", "w") as out:
        ran = subprocess.run(command, cwd=folder, env=env, input=b"one\ntwo\n", stdout=out, stderr=subprocess.PIPE)
    return ran.returncode, ran.stderr


def both_full(command, folder, env):
    with open("/dev/full", "w") as out:
        ran = subprocess.run(command, cwd=folder, env=env, input=b"one\ntwo\n", stdout=out, stderr=out)
    return ran.returncode, b""


def closed(command, folder, env):
    line = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command]
    ran = subprocess.run(line, cwd=folder, env=env, input=b"one\ntwo\n")
    return ran.returncode, b""


WAYS = {"a closed pipe": pipe, "a full disk": full, "a full disk for both": both_full, "closed descriptors": closed}


def tried(bench, folder, command, way, usual, wanted):
    code, err = way([bench.binary, *command], folder, bench.environment(folder))
    if b"panicked" in err or code < 0 or code == 101:
        return f"exit {code}: {err.decode(errors='replace')}"
    if command[0] == "train" and usual == 0:
        return "equal" if code == 0 and model_hash(folder / "new") == wanted else f"exit {code}, or another model"
    if way in (pipe, closed) or usual != 0:
        return "equal" if code == usual else f"exit {code}, expected {usual}"
    # What was to be read is lost.
    return "refused" if code == 1 or command[0] == "init" else f"exit {code} with nothing written"


def hung_up(bench, part):
    """The terminal goes away while a run trains."""
    folder = bench.write_corpus(bench.folder(), CONFIG.replace("epochs = 4", "epochs = 2000"))
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(bench.binary, [bench.binary, "train", "job.toml", "--run", "run"], bench.environment(folder))
    while not (folder / "run/metrics.jsonl").exists():
        os.read(terminal, 1000)
    end = time.monotonic() + part
    while time.monotonic() < end:
        os.read(terminal, 1000)
    os.close(terminal)
    for _ in range(600):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        time.sleep(0.1)
    else:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return "hang"
    saved = list((folder / "run/checkpoints").glob("[0-9]*"))
    shutil.rmtree(folder)
    return "equal" if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 130 and saved else f"status {status}"
