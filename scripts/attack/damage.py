"""Files that are cut short or have a flipped bit: told, or without effect, and never another answer in silence."""

import json
import shutil
import signal
import time

from bench import CONFIG, flip, model_hash, steps

QUESTIONS = b"Ada scored a goal\nshares fell\n"
LONGER = CONFIG.replace("epochs = 4", "epochs = 200\nsave_steps = 40\nmax_steps = 400")


def attack(bench, tally):
    run = interrupted(bench)
    checkpoints = sorted(path for path in (run / "run/checkpoints").iterdir() if path.name.isdigit())
    whole = bench.copy(run)
    if bench.run(whole, "train", "--resume", "run").code != 0:
        raise SystemExit("damage: the undamaged run is not resumed")
    wanted = (model_hash(whole / "run"), steps(whole / "run"))
    for path in sorted(checkpoints[-1].iterdir()):
        name = path.relative_to(run)
        damages(bench, path.read_bytes(), name, lambda data, what, name=name: resumed(bench, tally, run, name, data, what, wanted))
    metrics = (run / "run/metrics.jsonl").relative_to(run)
    flips(bench, (run / metrics).read_bytes(), metrics, lambda data, what: history(bench, tally, run, metrics, data, what, wanted))
    answers = said(bench, whole)
    for path in sorted((whole / "run/model").iterdir()):
        name = path.relative_to(whole)
        damages(bench, path.read_bytes(), name, lambda data, what, name=name: answered(bench, tally, whole, name, data, what, answers))


def interrupted(bench):
    """A run with several checkpoints that is not at its end."""
    folder = bench.write_corpus(bench.folder(), LONGER)
    child = bench.start(folder, "train", "job.toml", "--run", "run")
    while len(list((folder / "run/checkpoints").glob("[0-9]*"))) < 3:
        if child.poll() is not None:
            raise SystemExit(f"damage: the run ended: {child.stderr.read().decode()}")
        time.sleep(0.002)
    child.send_signal(signal.SIGINT)
    child.communicate()
    return folder


def damages(bench, data, name, work):
    cuts(bench, data, name, work)
    flips(bench, data, name, work)


def cuts(bench, data, name, work):
    """Every length below its own."""
    every = max(1, len(data) * 100 // 2000) if bench.quick else 1
    bench.each(lambda length: work(data[:length], f"{name} cut to {length} bytes"), range(0, len(data), every))


def flips(bench, data, name, work):
    random = bench.random(f"damage {name}")
    tries = [flip(data, random) for _ in range(bench.size(10000))]
    bench.each(lambda one: work(one[0], f"{name}, {one[1]}"), tries)


def resumed(bench, tally, run, name, data, what, wanted):
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
    tally.add(outcome, what)
    shutil.rmtree(folder)


def json_of(data):
    """What JSON says; other data as it is."""
    try:
        return json.loads(data)
    except ValueError:
        return data


def history(bench, tally, run, name, data, what, wanted):
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
    tally.add(outcome, what)
    shutil.rmtree(folder)


def said(bench, folder):
    """What evaluate and predict say of a run."""
    both = [bench.run(folder, "evaluate", "run", "--json"), bench.run(folder, "predict", "run", "--threads", "1", stdin=QUESTIONS)]
    return [(ran.code, ran.out) for ran in both], next((ran.crash() for ran in both if ran.crash()), None)


def answered(bench, tally, whole, name, data, what, answers):
    folder = bench.folder()
    for entry in whole.iterdir():
        if entry.name != "run":
            (folder / entry.name).symlink_to(entry)
    shutil.copytree(whole / "run/model", folder / "run/model")
    shutil.copy(whole / "run/config.toml", folder / "run/config.toml")
    (folder / name).write_bytes(data)
    found, crash = said(bench, folder)
    codes = {code for code, _ in found}
    if crash:
        outcome = crash
    elif codes <= {1, 2}:
        outcome = "refused"
    else:
        outcome = "equal" if found == answers[0] else "another answer, and nothing said"
    tally.add(outcome, what)
    shutil.rmtree(folder)
