"""Runs of a series: each is trained and scored once, and kept."""
import subprocess, sys


def train_and_score(binary, run, train):
    """Trains by the command `train`, or goes on with a run that was interrupted, and keeps its test scores in RUN/test.json."""
    if (run / "test.json").exists():
        return
    run.parent.mkdir(parents=True, exist_ok=True)
    call([binary, "train", "--resume", str(run)] if (run / "checkpoints").is_dir() else train)
    (run / "test.json").write_text(call([binary, "evaluate", str(run), "--split", "test", "--json"]))


def call(arguments):
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)}\n{done.stderr}")
    return done.stdout
