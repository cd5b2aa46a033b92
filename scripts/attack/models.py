"""Model folders from a stranger: refused, or answered; no panic, no abort, no hang."""

import json
import os
import shutil
import struct

from bench import flip, leaves, replaced, without_hashes

QUESTIONS = b"Ada scored a goal\n"
VALUES = [
    None, True, False, 0, 1, -1, 2, 3, 7, 1 << 31, 1 << 40, (1 << 63) - 1, 1 << 63, -(1 << 63), 0.5, -0.5, 1e300, 1e-300,
    "", "x", "gelu", "..", "/", "\x1b[2J", "\u202e", "x" * 10000, [], [1], [[]], {}, {"x": 1}, [None], "NaN", 1e6, 100000, 65536, 4096,
]
# Headers of safetensors that lie.
HEADERS = [
    b"", b"{", b"{}", b"[]", b"null", b'{"a":1}', b'{"a":{}}', b'{"__metadata__":{"x":1}}',
    b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b'{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}',
    b'{"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]}}',
    b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}',
    b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}',
    b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]}}', b"[" * 100000, b'{"a":' * 100000,
]


def attack(bench, tally):
    whole = bench.copy(bench.base)
    if bench.run(whole, "train", "job.toml", "--run", "run").code != 0:
        raise SystemExit("models: no model")
    without_hashes(whole / "run/model")
    random = bench.random("models")
    tries = list(of_json(whole, "polytask.json")) + list(of_json(whole, "config.json"))
    random.shuffle(tries)
    tries = tries[: bench.size(6000)]
    for name in ("model.safetensors", "heads.safetensors"):
        data = (whole / "run/model" / name).read_bytes()
        tries += [(name, struct.pack("<Q", len(head)) + head + b"\0" * 4, f"header {head[:60]}") for head in HEADERS]
        tries += [(name, struct.pack("<Q", length) + data[8:], f"header of {length}") for length in (0, 1, 1 << 30, (1 << 64) - 1)]
        # The header is where a flipped bit means something.
        length = 8 + struct.unpack("<Q", data[:8])[0]
        for _ in range(bench.size(2000)):
            head, what = flip(data[:length], random)
            tries.append((name, head + data[length:], what))
    bench.each(lambda one: tried(bench, tally, whole, *one), tries)
    for name in sorted(path.name for path in (whole / "run/model").iterdir()):
        for kind in ("pipe", "link to itself", "folder", "device", "missing", "empty"):
            odd(bench, tally, whole, name, kind)


def of_json(whole, name):
    value = json.loads((whole / "run/model" / name).read_text())
    for path in leaves(value):
        for new in VALUES:
            yield name, json.dumps(replaced(value, path, new)).encode(), f"{name} {list(path)} = {str(new)[:40]!r}"


def tried(bench, tally, whole, name, data, what):
    folder = bench.folder_with_model(whole)
    (folder / "run/model" / name).write_bytes(data)
    tally.add(answered(bench, folder), f"{name}: {what}")
    shutil.rmtree(folder)


def answered(bench, folder):
    ran = bench.run(folder, "predict", "run", "--threads", "1", stdin=QUESTIONS, timeout=20)
    if ran.crash():
        return ran.crash()
    return "equal" if ran.code in (0, 3) else "refused"


def odd(bench, tally, whole, name, kind):
    folder = bench.folder_with_model(whole)
    path = folder / "run/model" / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to itself":
        path.symlink_to(path.name)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "empty":
        path.write_bytes(b"")
    tally.add(answered(bench, folder), f"{name}: {kind}")
    shutil.rmtree(folder)
