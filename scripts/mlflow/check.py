#!/usr/bin/env python3
"""Starts a real MLflow server on the loopback, exports a small run with the binary, reads everything back with MLflow's own client, and
compares it with the run's files.

    cargo build --release --features mlflow
    python -m venv venv && venv/bin/pip install mlflow
    venv/bin/python scripts/mlflow/check.py target/release/polytask

One run is exported while it is interrupted, and again (skipped). Another one is exported finished, after it was trained further
(updated), and once more (skipped). Then every value of metrics.jsonl has to be there once, under TensorBoard's names, and nothing else.
"""
import json
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request

from mlflow.tracking import MlflowClient

BINARY = str(pathlib.Path(sys.argv[1]).resolve())

CONFIG = """
[model]
backbone = { bag = { width = 16, window = 1, dropout = 0.1 } }
[tokenizer]
size = 300
[corpus.news]
train = "train.jsonl"
validation = "valid.jsonl"
test = "valid.jsonl"
[task.topic]
corpus = "news"
classification = { text = "text", label = "topic" }
[task."tags & 東京"]
corpus = "news"
tagging = { tokens = "tokens", tags = "tags" }
[balance.upgrad]
[train]
epochs = 1000
tokens_per_batch = 128
threads = 1
"""


def corpus(folder):
    def row(i):
        name = ["Ada", "Boris", "東京"][i % 3]
        words = [[name, "scored", "a", "goal"], ["shares", "of", name, "fell"]][i % 2]
        tags = ["B-name" if word == name else "O" for word in words]
        row = {"text": " ".join(words), "tokens": words, "tags": tags, "topic": ["sport", "money"][i % 2]}
        return json.dumps(row) + "\n"

    for name, first, last in (("train", 0, 400), ("valid", 400, 460)):
        pathlib.Path(folder, name + ".jsonl").write_text("".join(map(row, range(first, last))))
    pathlib.Path(folder, "job.toml").write_text(CONFIG)


def polytask(folder, *arguments):
    ran = subprocess.run([BINARY, *arguments], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, (arguments, ran.stdout, ran.stderr)
    return ran.stdout


def interrupted(folder):
    """A training that is interrupted once it has evaluated twice."""
    training = subprocess.Popen([BINARY, "train", "job.toml", "--run", "run"], cwd=folder, stdout=subprocess.DEVNULL)
    metrics = pathlib.Path(folder, "run/metrics.jsonl")
    while not metrics.exists() or metrics.read_text().count('"event":"evaluated"') < 2:
        time.sleep(0.05)
    training.send_signal(signal.SIGINT)
    assert training.wait() == 130


def server(folder):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
               "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts",
               "--serve-artifacts"]
    log = open(pathlib.Path(folder, "server.log"), "w")
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(url + "/health", timeout=2).read()
            return process, url
        except OSError:
            assert process.poll() is None, pathlib.Path(folder, "server.log").read_text()
            time.sleep(0.2)
    raise SystemExit("the server does not answer")


def expected(run):
    """{key: [(step, value)]} of the run's curves, as scripts/tensorboard/check.py reads them, and what was used."""
    curves = {}

    def put(key, step, value):
        curves.setdefault(key, []).append((step, value))

    for line in pathlib.Path(run, "metrics.jsonl").read_text().splitlines():
        event = json.loads(line)
        step = event["step"]
        if event["event"] == "step":
            for name, key in (("loss", "losses"), ("weight", "weights"), ("head_factor", "head_factors")):
                for task, value in event.get(key, {}).items():
                    put(f"{name}/{task}", step, value)
            gradients = event.get("task_gradients")
            if gradients:
                for task, value in gradients["norms"].items():
                    put(f"gradient_norm/{task}", step, value)
                for pair in gradients["cosines"]:
                    put("cosine/" + "/".join(pair["tasks"]), step, pair["cosine"])
                if gradients["conflicts"] is not None:
                    put("train/conflicts", step, gradients["conflicts"])
            put("train/learning_rate", step, event["learning_rate"])
            put("train/gradient_norm", step, event["gradient_norm"])
            put("train/tokens_per_second", step, event["tokens"] / max(event["seconds"], 1e-9))
        elif event["event"] == "evaluated":
            split = event["split"]
            for task, scores in event["scores"].items():
                for metric, value in scores.items():
                    put(f"{split}/{task}/{metric}", step, value)
            for task, value in event["losses"].items():
                put(f"{split}/{task}/loss", step, value)
            put(f"{split}/mean", step, event["mean"])
        elif event["event"] == "usage_report":
            for task, value in event["shares"].items():
                put(f"compute_share/{task}", step, value)
            for task, used in event["tasks"].items():
                for name in ("rows", "tokens", "operations", "seconds"):
                    put(f"{name}/{task}", step, used[name])
    return curves


def flat(table, name=""):
    if not isinstance(table, dict) or not table:
        return {name: table}
    return {key: value for inner, found in table.items() for key, value in flat(found, f"{name}.{inner}".lstrip(".")).items()}


def main():
    folder = tempfile.mkdtemp()
    corpus(folder)
    process, url = server(folder)
    try:
        interrupted(folder)
        arguments = ["report", "run", "--mlflow", url, "--experiment", "a check"]
        assert "exported as run" in polytask(folder, *arguments)
        client = MlflowClient(url)
        experiment = client.get_experiment_by_name("a check").experiment_id
        [run] = client.search_runs([experiment])
        assert run.info.status == "KILLED", run.info
        assert "skipped" in polytask(folder, *arguments)
        # What was planned is too long to wait for: a run of its own is trained to its end.
        polytask(folder, "train", "job.toml", "--run", "short", "--set", "train.epochs=2")
        polytask(folder, "evaluate", "short")
        short = ["report", "short", "--mlflow", url, "--experiment", "a check"]
        print(polytask(folder, *short))
        polytask(folder, "train", "--resume", "short", "--set", "train.epochs=30")
        told = polytask(folder, *short)
        print(told)
        assert "updated as run" in told and "train.epochs" in told
        assert "skipped" in polytask(folder, *short)
        runs = {run.info.run_name: run for run in client.search_runs([experiment])}
        assert set(runs) == {"run", "short"}, runs
        for name, run in runs.items():
            check(client, run, pathlib.Path(folder, name), name)
        assert runs["short"].info.status == "FINISHED"
        refused = subprocess.run([BINARY, "report", "short", "--mlflow", url, "--experiment", ""], cwd=folder, capture_output=True, text=True)
        assert refused.returncode == 1 and url in refused.stderr, refused
        print("ok   a refusal:", refused.stderr.strip())
    finally:
        process.terminate()
        process.wait()
    shutil.rmtree(folder)


def check(client, run, folder, name):
    curves = expected(folder)
    # A task with other signs than MLflow takes has another name there, the same in all keys.
    odd = {key: key for key in curves}
    for key in list(odd):
        if "&" in key:
            stem = key.replace("&", "_").split("/")
            found = [other for other in run.data.metrics
                     if len(other.split("/")) == len(stem) and all(o == s or o.startswith(s + "_") for o, s in zip(other.split("/"), stem))]
            assert len(found) == 1, (key, found)
            odd[key] = found[0]
    tests = {key for key in run.data.metrics if key.startswith("test/")}
    assert set(odd.values()) | tests == set(run.data.metrics), set(odd.values()) ^ set(run.data.metrics)
    values = 0
    for key, points in curves.items():
        found = [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, odd[key])]
        # Two reports of what was used at one step are equal where nothing was used between them; MLflow has such a point once.
        assert sorted(set(found)) == sorted(set(points)), (key, sorted(set(found) ^ set(points))[:5])
        assert len(found) <= len(points), key
        values += len(found)
    times = [metric.timestamp for metric in client.get_metric_history(run.info.run_id, "loss/topic")]
    assert times == sorted(times) and run.info.start_time <= times[0] <= times[-1] <= run.info.end_time + 1000, (run.info, times[0], times[-1])
    config = flat(tomllib.loads(pathlib.Path(folder, "config.toml").read_text()))
    assert len(config) == len(run.data.params), set(config) ^ set(run.data.params)
    assert run.data.params["train.tokens_per_batch"] == "128"
    assert run.data.params["train.seed"] == str(config["train.seed"])
    assert "train job.toml" in run.data.tags["polytask.command"] and run.data.tags["polytask.version"]
    for file in ("report.html", "config.toml"):
        path = client.download_artifacts(run.info.run_id, file)
        assert pathlib.Path(path).read_bytes() == pathlib.Path(folder, file).read_bytes(), file
    print(f"ok   {name}: {values} values of {len(curves)} curves, {len(run.data.params)} parameters, {len(tests)} test scores, files")


main()
