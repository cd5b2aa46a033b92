"""What every family needs: a small corpus and config, the binary with limits around it, and counts of outcomes."""

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

CONFIG = """\
[model]
backbone = { bag = { width = 8, window = 1, dropout = 0.1 } }

[tokenizer]
size = 320

[data]
max_length = 16

[corpus.news]
train = "train.jsonl"
validation = "valid.jsonl"
test = "test.jsonl"

[task.topic]
corpus = "news"
classification = { text = "text", label = "topic" }

[task.tags]
corpus = "news"
tagging = { tokens = "tokens", tags = "tags" }

[train]
epochs = 4
tokens_per_batch = 64
threads = 1
"""


def row(i):
    name = ["Ada", "Boris", "Chloé", "東京", "Дмитрий"][i % 5]
    if i % 2 == 0:
        topic, words = "sport", [name, "scored", "a", "goal", "in", "match", ["one", "two", "three"][i % 3]]
    else:
        topic, words = "money", ["shares", "of", name, "fell", "on", "the", ["market", "exchange"][i // 2 % 2]]
    tags = ["B-name" if word == name else "O" for word in words]
    return {"text": " ".join(words), "tokens": words, "tags": tags, "topic": topic}


def rows(start, end):
    return "".join(json.dumps(row(i), ensure_ascii=False) + "\n" for i in range(start, end))


@dataclass
class Ran:
    """How a command ended."""

    code: int
    out: bytes
    err: bytes
    hung: bool

    def crash(self):
        """What no input may cause, or None: a panic, an abort, a hang, an exit without a word."""
        if self.hung:
            return "hang"
        if b"panicked at" in self.err or self.code == 101:
            return "panic: " + self.err.decode(errors="replace")[-300:]
        if self.code < 0:
            return f"ended by signal {-self.code}: " + self.err.decode(errors="replace")[-300:]
        if self.code not in (0, 3, 130) and not self.err.strip():
            return f"exit {self.code} without a message"
        return None


@dataclass
class Tally:
    """The counts of one family."""

    runs: int = 0
    refused: int = 0
    equal: int = 0
    wrong: list = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, outcome, what):
        """`outcome` is "refused", "equal" or the description of what is wrong; `what` says what was tried."""
        with self.lock:
            self.runs += 1
            if outcome in ("refused", "equal"):
                setattr(self, outcome, getattr(self, outcome) + 1)
            else:
                self.wrong.append(f"{what}: {outcome}")


class Bench:
    """A folder of its own for each try, and the binary to run in it."""

    def __init__(self, arguments):
        self.binary = str(Path(arguments.binary).resolve())
        self.seed, self.quick, self.jobs = arguments.seed, arguments.quick, arguments.jobs
        self.end = time.monotonic() + arguments.seconds if arguments.seconds else None
        self.root = Path(tempfile.mkdtemp(prefix="polytask-attack-"))
        self.number = 0
        self.lock = threading.Lock()
        self.base = self.folder()
        self.write_corpus(self.base)

    def close(self):
        shutil.rmtree(self.root, ignore_errors=True)

    def size(self, number):
        """A number of tries: a hundredth of it where all is to go quickly."""
        return max(1, number // 100) if self.quick else number

    def random(self, name):
        return random.Random(f"{self.seed} {name}")

    def folder(self):
        with self.lock:
            self.number += 1
            folder = self.root / f"{self.number:06}"
        folder.mkdir()
        return folder

    def folder_with_model(self, whole):
        """A folder with links to the files of a finished run's folder, and a copy of its config and model."""
        folder = self.folder()
        for entry in whole.iterdir():
            if entry.name != "run":
                (folder / entry.name).symlink_to(entry)
        shutil.copytree(whole / "run/model", folder / "run/model")
        shutil.copy(whole / "run/config.toml", folder / "run/config.toml")
        return folder

    def write_corpus(self, folder, config=CONFIG):
        for name, start, end in [("train", 0, 60), ("valid", 60, 80), ("test", 80, 100)]:
            (folder / f"{name}.jsonl").write_text(rows(start, end))
        (folder / "job.toml").write_text(config)
        return folder

    def copy(self, folder):
        """A copy of a folder that can be damaged."""
        to = self.folder()
        shutil.copytree(folder, to, dirs_exist_ok=True, symlinks=True)
        return to

    def environment(self, folder, more=None):
        return {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "RUST_BACKTRACE": "0", **(more or {})}

    def run(self, folder, *arguments, stdin=b"", timeout=60, env=None, prefix=(), memory=4 << 30, file_size=None):
        """Runs the binary to its end, with at most so much memory."""

        def limits():
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if file_size is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

        child = subprocess.Popen(
            [*prefix, self.binary, *map(str, arguments)],
            cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=self.environment(folder, env), preexec_fn=limits,
        )
        try:
            out, err = child.communicate(stdin, timeout=timeout)
            return Ran(child.returncode, out, err, False)
        except subprocess.TimeoutExpired:
            child.kill()
            out, err = child.communicate()
            return Ran(child.returncode, out, err, True)

    def start(self, folder, *arguments, env=None):
        """Starts the binary and does not wait."""
        return subprocess.Popen(
            [self.binary, *map(str, arguments)],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env=self.environment(folder, env),
        )

    def each(self, work, items):
        """Does work on items in any order, several at a time, until time is up. A fault of a script ends all."""
        items = list(items)
        self.random("order").shuffle(items)
        with ThreadPoolExecutor(self.jobs) as pool:
            for _ in pool.map(lambda item: None if self.over() else work(item), items):
                pass

    def over(self):
        """Whether the time of the family is up."""
        return self.end is not None and time.monotonic() > self.end


def model_hash(run):
    """The hash of all files of a run's model; None where it has none."""
    files = sorted(path for path in (run / "model").glob("*") if path.is_file())
    if not files:
        return None
    together = hashlib.sha256()
    for path in files:
        together.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return together.hexdigest()


def steps(run):
    """The steps in a run's metrics, in the order of the file; lines that are no JSON count as nothing."""
    found = []
    for line in (run / "metrics.jsonl").read_bytes().split(b"\n"):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("event") == "step":
            found.append(event.get("step"))
    return found


def without_hashes(model):
    """Lets a model's files be changed: its manifest without the hashes, as older versions wrote it."""
    path = model / "polytask.json"
    manifest = json.loads(path.read_text())
    manifest.pop("files", None)
    manifest.pop("blake3", None)
    path.write_text(json.dumps(manifest, ensure_ascii=False))


def flip(data, random):
    """The data with one bit flipped."""
    place = random.randrange(len(data) * 8)
    changed = bytearray(data)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed), f"bit {place}"


def leaves(value, path=()):
    """The path of every value within a JSON value, itself included."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))


def replaced(value, path, new):
    """A JSON value with the one at a path replaced."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy
