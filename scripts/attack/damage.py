"""Files that are cut short or have a flipped bit: told, or without effect, and never another answer in silence."""

import json
import shutil
import signal
import time

from bench import CONFIG, flip, model_hash, steps

QUESTIONS = b"Ada scored a goal\nshares fell\n"
# Ten steps are left behind the last checkpoint, so that each try is short.
LONGER = CONFIG.replace("epochs = 4", "epochs = 200\nsave_steps = 10\nmax_steps = 60")


def attack(bench, tally):
    run = interrupted(bench)
    checkpoints = sorted(path for path in (run / "run/checkpoints").iterdir() if path.name.isdigit())
    whole = bench.copy(run)
    if bench.run(whole, "train", "--resume", "run").code != 0:
        raise SystemExit("damage: the undamaged run is not resumed")
    wanted = (model_hash(whole / "run"), steps(whole / "run"))
    answers = said(bench, whole)
    tries = []
    for path in sorted(checkpoints[-1].iterdir()):
        tries += [(resumed, run, wanted, path.relative_to(run), *one) for one in damages(bench, path)]
    metrics = run / "run/metrics.jsonl"
    tries += [(history, run, wanted, metrics.relative_to(run), *one) for one in flips(bench, metrics)]
    for path in sorted((whole / "run/model").iterdir()):
        tries += [(answered, whole, answers, path.relative_to(whole), *one) for one in damages(bench, path)]
    bench.each(lambda one: tally.add(one[0](bench, *one[1:5]), f"{one[3]}, {one[5]}"), tries)


def interrupted(bench):
    """A run with several checkpoints that is not at its end."""
    for _ in range(100):
        folder = bench.write_corpus(bench.folder(), LONGER)
        child = bench.start(folder, "train", "job.toml", "--run", "run")
        while child.poll() is None and len(list((folder / "run/checkpoints").glob("[0-9]*"))) < 3:
            time.sleep(0.001)
        child.send_signal(signal.SIGINT)
        child.communicate()
        if child.returncode == 130:
            return folder
    raise SystemExit("damage: every run ended before it was interrupted")


def damages(bench, path):
    """A file's bytes cut to every length below its own, and with flipped bits; with what was done to them."""
    data = path.read_bytes()
    every = max(1, len(data) // 20) if bench.quick else 1
    return [(data[:length], f"cut to {length} bytes") for length in range(0, len(data), every)] + flips(bench, path)


def flips(bench, path):
    random = bench.random(f"damage {path.name}")
    data = path.read_bytes()
    return [flip(data, random) for _ in range(bench.size(10000))]


def resumed(bench, run, wanted, name, data):
    folder = bench.copy(run)
    (folder / name).write_bytes(data)
    ran = bench.run(folder, "train", "--resume", "run")
    if ran.crash() or ran.code not in (0, 1, 2):
        outcome = ran.crash() or f"exit {ran.code}"
    elif ran.code != 0:
        outcome = "refused"
    elif (model_hash(folder / "run"), steps(folder / "run")) != wanted:
        outcome = "another model or other steps, and exit 0"
    elif b"is broken" not in ran.err and json_of(data) != json_of((run / name).read_bytes()):
        outcome = "damage without a word"
    else:
        outcome = "equal"
    shutil.rmtree(folder)
    return outcome


def json_of(data):
    """What JSON says; other data as it is."""
    try:
        return json.loads(data)
    except ValueError:
        return data


def history(bench, run, wanted, name, data):
    """At most the damaged line, or the two that became one, may be missing."""
    folder = bench.copy(run)
    (folder / name).write_bytes(data)
    ran = bench.run(folder, "train", "--resume", "run")
    if ran.crash() or ran.code != 0:
        outcome = ran.crash() or "refused"
    elif model_hash(folder / "run") != wanted[0]:
        outcome = "another model"
    else:
        found = steps(folder / "run")
        lost = len(set(wanted[1]) - set(found))
        outcome = "equal" if lost <= 2 and len(found) <= len(wanted[1]) + 1 else f"{lost} steps lost, {len(found)} written"
    shutil.rmtree(folder)
    return outcome


def said(bench, folder):
    """What evaluate and predict say of a run."""
    both = [bench.run(folder, "evaluate", "run", "--json"), bench.run(folder, "predict", "run", "--threads", "1", stdin=QUESTIONS)]
    return [(ran.code, ran.out) for ran in both], next((ran.crash() for ran in both if ran.crash()), None)


def answered(bench, whole, answers, name, data):
    folder = bench.folder_with_model(whole)
    (folder / name).write_bytes(data)
    found, crash = said(bench, folder)
    codes = {code for code, _ in found}
    if crash:
        outcome = crash
    elif codes <= {1, 2}:
        outcome = "refused"
    else:
        outcome = "equal" if found == answers[0] else "another answer, and nothing said"
    shutil.rmtree(folder)
    return outcome
