"""Two trainings at a time: each has a folder of its own, or is told that another one is at work."""

import re
import shutil

from bench import CONFIG, model_hash


def attack(bench, tally):
    alone = {}
    for seed in (1, 2):
        folder = bench.copy(bench.base)
        bench.run(folder, "train", "job.toml", "--run", "run", "--set", f"train.seed={seed}")
        alone[seed] = model_hash_of_weights(folder / "run")
    for number in range(bench.size(200)):
        if bench.over():
            return
        for way in (["--run", "run"], []):
            tally.add(fresh(bench, alone, way), f"round {number}, {way or 'without --run'}")
        tally.add(resumed(bench), f"round {number}, --resume")


def model_hash_of_weights(run):
    return (run / "model/model.safetensors").read_bytes()


def fresh(bench, alone, way):
    folder = bench.copy(bench.base)
    children = [bench.start(folder, "train", "job.toml", *way, "--set", f"train.seed={seed}") for seed in (1, 2)]
    ended = [(child.communicate()[1], child.returncode) for child in children]
    runs = [folder / "run"] if way else sorted((folder / "runs").iterdir())
    done = sum(code == 0 for _, code in ended)
    outcome = "equal"
    if any(b"panicked" in err or code not in (0, 2) for err, code in ended):
        outcome = f"{ended}"
    elif done != len(runs) or done != (1 if way else 2):
        outcome = f"{done} done, {len(runs)} folders"
    for run in runs:
        seed = int(re.search(r"^seed = (\d+)", (run / "config.toml").read_text(), re.M).group(1))
        if model_hash_of_weights(run) != alone[seed]:
            outcome = f"{run.name}: the weights are not those of its config"
    shutil.rmtree(folder)
    return outcome


def resumed(bench):
    folder = bench.write_corpus(bench.folder(), CONFIG)
    ran = bench.run(folder, "train", "job.toml", "--run", "run")
    wanted = model_hash(folder / "run")
    shutil.rmtree(folder / "run/model")
    children = [bench.start(folder, "train", "--resume", "run") for _ in range(2)]
    ended = [(child.communicate()[1], child.returncode) for child in children]
    outcome = "equal" if model_hash(folder / "run") == wanted else "another model"
    if ran.code != 0 or any(code not in (0, 2) for _, code in ended) or all(code for _, code in ended):
        outcome = f"{ended}"
    elif any(code == 2 and b"is being trained by" not in err for err, code in ended):
        outcome = f"{ended}"
    shutil.rmtree(folder)
    return outcome
