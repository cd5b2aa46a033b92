"""Corpora of any bytes: rows, or messages with file and line; no panic, no abort, no hang, and no command to a terminal."""

import json
import shutil

from bench import CONFIG, flip, row, rows

FORMATS = ["jsonl", "csv", "tsv", "conll", "conllu", "parquet"]
HOSTILE = [
    b"", b"\n", b"\n\n\n", b"\xef\xbb\xbf", b"\xff\xfe{\x00", b"\x00", b"{}", b"{", b"[]", b"null", b"{" * 100000, b"[" * 100000,
    b'{"text":' * 20000, b"\x1f\x8b\x08\x00", b"PAR1", b"PAR1" * 3, b"PAR1\x00\x00\x00\x00\xff\xff\xff\x7fPAR1", b'"', b'"a', b"a,b\n1", b",,,\n,,,",
    b"\t\t\t", b"1\ta\n", b"# text = x\n", b"1\ta\ta\tX\t_\t_\t1\troot\t_\t_\n\n", b"a\tb\tc\n\n", b"text,topic\n" + b"x," * 100000,
    b"a" * 5_000_000, b" " * 5_000_000, (b"a " * 2_500_000), "東京".encode() * 200_000,
]
TEXTS = [
    "", " ", "\n", "\x00", "\x1b]0;owned\x07\x1b[2J", "\u202e", "\u2028", "\ufeff", "a" * 200_000, "a " * 100_000, "\ud800".encode("utf-16", "surrogatepass").decode("utf-16", "replace"),
    "🎉" * 1000, "[CLS] [SEP] [PAD]", "</s>", "${data}", "../..", "NaN", None, 1, 1.5, [], ["a"], [""], [None], {}, {"a": 1}, True,
]
BAD = ("\x1b", "\x07", "\u202e")


def attack(bench, tally):
    random = bench.random("corpora")
    tries = [(kind, data, data[:40]) for kind in FORMATS for data in HOSTILE]
    for kind in FORMATS:
        for _ in range(bench.size(1000)):
            length = random.choice([1, 10, 100, 1000])
            tries.append((kind, random.randbytes(length), f"{length} random bytes"))
    good = rows(0, 60).encode()
    tries += [("jsonl", *flip(good, random)) for _ in range(bench.size(5000))]
    for _ in range(bench.size(5000)):
        changed = [row(i) for i in range(30)]
        for _ in range(random.choice([1, 1, 3])):
            one = random.choice(changed)
            field = random.choice(list(one))
            if isinstance(one[field], list) and random.random() < 0.5 and one[field]:
                one[field][random.randrange(len(one[field]))] = random.choice(TEXTS)
            else:
                one[field] = random.choice(TEXTS)
        lines = "".join(json.dumps(one) + "\n" for one in changed)
        tries.append(("jsonl", lines.encode(), "changed fields"))
    bench.each(lambda one: tried(bench, tally, *one), tries)


def tried(bench, tally, kind, data, what):
    folder = bench.write_corpus(bench.folder(), CONFIG.replace("train.jsonl", f"train.{kind}"))
    (folder / f"train.{kind}").write_bytes(data)
    ran = bench.run(folder, "check", "job.toml", timeout=60)
    outcome = ran.crash()
    if not outcome and any(bad.encode() in ran.out + ran.err for bad in BAD):
        outcome = "a command reached the terminal"
    tally.add(outcome or ("equal" if ran.code == 0 else "refused"), f"{kind}: {what}")
    shutil.rmtree(folder)
