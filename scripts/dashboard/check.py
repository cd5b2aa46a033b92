#!/usr/bin/env python3
"""Runs `polytask watch` and `polytask train --dashboard` in a pseudo-terminal, presses keys and sends signals, and checks that the
terminal is given back each time: the alternate screen is left, the cursor is shown, and the line discipline is what it was.

    python scripts/dashboard/check.py target/release/polytask

Also: a training gives the same bytes with and without its screen; without a terminal there is one table, or plain lines.
"""
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

BINARY = str(pathlib.Path(sys.argv[1]).resolve())
ENTER, LEAVE, SHOW = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"

CONFIG = """
[model]
backbone = { bag = { width = 16, window = 1, dropout = 0.1 } }
[tokenizer]
size = 300
[corpus.news]
train = "train.jsonl"
validation = "valid.jsonl"
[task.topic]
corpus = "news"
classification = { text = "text", label = "topic" }
[task.tags]
corpus = "news"
tagging = { tokens = "tokens", tags = "tags" }
[balance.upgrad]
[optimizer.adamw]
learning_rate = 1e-3
[train]
epochs = EPOCHS
tokens_per_batch = 128
threads = 1
"""


def corpus(folder):
    names = ["Ada", "Boris", "Chloé", "東京", "Дмитрий"]

    def row(i):
        name = names[i % 5]
        words = [[name, "scored", "a", "goal"], ["shares", "of", name, "fell"]][i % 2]
        tags = ["B-name" if word == name else "O" for word in words]
        row = {"text": " ".join(words), "tokens": words, "tags": tags, "topic": ["sport", "money"][i % 2]}
        return json.dumps(row) + "\n"

    for name, first, last in (("train", 0, 600), ("valid", 600, 700)):
        pathlib.Path(folder, name + ".jsonl").write_text("".join(map(row, range(first, last))))
    for name, epochs in (("short", "2"), ("long", "2000")):
        pathlib.Path(folder, name + ".toml").write_text(CONFIG.replace("EPOCHS", epochs))


class Terminal:
    """A program in a pseudo-terminal."""

    def __init__(self, folder, *arguments, size=(24, 80)):
        self.ours, self.theirs = pty.openpty()
        self.resize(*size)
        self.before = termios.tcgetattr(self.theirs)
        self.bytes = b""
        self.process = subprocess.Popen(
            [BINARY, *arguments], cwd=folder, stdin=self.theirs, stdout=self.theirs, stderr=self.theirs,
            env={**os.environ, "TERM": "xterm-256color"}, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def resize(self, rows, columns):
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds):
        until = time.time() + seconds
        while (left := until - time.time()) > 0 and select.select([self.ours], [], [], left)[0]:
            self.bytes += os.read(self.ours, 65536)

    def wait_for(self, what, seconds=60):
        until = time.time() + seconds
        while what not in self.bytes:
            assert time.time() < until, f"no {what!r} in {self.bytes[-2000:]!r}"
            self.read(0.1)

    def press(self, keys):
        os.write(self.ours, keys)
        self.read(0.4)

    def end(self, expected):
        until = time.time() + 30
        while self.process.poll() is None:
            assert time.time() < until, "it does not end"
            self.read(0.1)
        self.read(0.3)
        assert self.process.returncode in expected, (self.process.returncode, self.bytes[-2000:])
        assert self.bytes.count(ENTER) == self.bytes.count(LEAVE) == 1, "the alternate screen is left, once"
        assert SHOW in self.bytes[self.bytes.rindex(LEAVE):], "the cursor is shown"
        assert termios.tcgetattr(self.theirs) == self.before, "the line discipline is what it was"
        os.close(self.ours)
        os.close(self.theirs)
        return self.bytes[self.bytes.rindex(LEAVE) + len(LEAVE):].decode()


def done(what):
    print("ok  ", what, flush=True)


def main():
    folder = tempfile.mkdtemp()
    corpus(folder)
    plain = subprocess.run([BINARY, "train", "short.toml", "--run", "plain"], cwd=folder, capture_output=True, text=True)
    assert plain.returncode == 0, plain.stderr
    terminal = Terminal(folder, "train", "short.toml", "--run", "shown", "--dashboard")
    after = terminal.end([0])
    assert "what each task got" in after and "next: polytask evaluate" in after, after
    same = ["model.safetensors", "heads.safetensors"]
    same = [name for name in same if pathlib.Path(folder, "plain/model", name).exists()]
    assert same
    for name in same:
        assert pathlib.Path(folder, "plain/model", name).read_bytes() == pathlib.Path(folder, "shown/model", name).read_bytes()
    done(f"the screen of a training changes no bit of {', '.join(same)}, and the final lines are printed after it")

    ran = subprocess.run([BINARY, "train", "short.toml", "--run", "piped", "--dashboard"], cwd=folder, capture_output=True)
    assert ran.returncode == 0 and b"is no terminal" in ran.stderr and ENTER not in ran.stdout + ran.stderr
    ran = subprocess.run([BINARY, "watch", "plain"], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0 and "finished" in ran.stdout and "\x1b" not in ran.stdout, ran
    print(ran.stdout)
    done("without a terminal there are plain lines, or one table")

    for name, keys, code in (("q, then q", [b"q", b"q"], 130), ("Ctrl-C", [b"\x03"], 130), ("SIGTERM", signal.SIGTERM, 130),
                             ("Ctrl-C twice", [b"\x03\x03"], 1)):
        run = name.replace(" ", "-").replace(",", "")
        terminal = Terminal(folder, "train", "long.toml", "--run", run, "--dashboard")
        terminal.wait_for("topic: loss".encode())
        terminal.press(b"\t")
        if isinstance(keys, list):
            for key in keys:
                terminal.press(key) if terminal.process.poll() is None else None
        else:
            terminal.process.send_signal(keys)
        after = terminal.end([code])
        assert ("saved after step" in after) == (code == 130), after
        if code == 1:
            assert "stopped at once" in after, after
        done(f"training: {name} ends it with code {code}")

    training = subprocess.Popen([BINARY, "train", "long.toml", "--run", "elsewhere"], cwd=folder, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
    while not pathlib.Path(folder, "elsewhere/metrics.jsonl").exists():
        time.sleep(0.1)
    time.sleep(1)
    for name, keys in (("q", b"q"), ("Esc", b"\x1b"), ("Ctrl-C", b"\x03"), ("SIGTERM", signal.SIGTERM), ("SIGHUP", signal.SIGHUP),
                       ("SIGINT", signal.SIGINT)):
        terminal = Terminal(folder, "watch", "elsewhere", size=(50, 160))
        terminal.wait_for("topic: loss".encode())
        for size in ((1, 1), (3, 10), (10, 40), (60, 200), (24, 80)):
            terminal.resize(*size)
            terminal.read(0.3)
        terminal.press(b"\x1b[C\t\x1b[Z\x1b[A\x1b[B")
        terminal.press(keys) if isinstance(keys, bytes) else terminal.process.send_signal(keys)
        assert terminal.end([0]).replace(SHOW.decode(), "").strip() == ""
        assert training.poll() is None
        done(f"watch: {name} leaves, after five sizes; the run goes on")
    training.kill()
    training.wait()

    terminal = Terminal(folder, "watch", ".", size=(24, 100))
    terminal.wait_for(b"elsewhere")
    terminal.press(b"\x1b[B" * 2 + b"\r")
    terminal.wait_for(b"step ")
    terminal.press(b"\x1b")
    terminal.press(b"q")
    terminal.end([0])
    done("watch: a directory of runs, one of them opened")
    metrics = pathlib.Path(folder, "elsewhere/metrics.jsonl")
    os.utime(metrics, (time.time() - 300,) * 2)
    ran = subprocess.run([BINARY, "watch", "elsewhere"], cwd=folder, capture_output=True, text=True)
    assert re.search("no new event for 5:0.*was it killed", ran.stdout), ran.stdout
    done("watch: a run that was killed is told")
    shutil.rmtree(folder)


main()
