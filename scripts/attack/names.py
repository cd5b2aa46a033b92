"""Names of tasks, corpora, labels, files and folders: nothing commands the terminal, nothing leaves its folder."""

import json
import os
import shutil
from pathlib import Path

from bench import CONFIG, row

NAMES = [
    "a b", "a.b", "a/b", "../x", "..", ".", "", "con", "NUL", "aux.txt", "a\\b", "a:b", "a*b", "a?b", "a|b", 'a"b', "a'b", "a`b", "$(id)", "a\nb",
    "a\tb", "a\rb", "\x1b[2J", "\x1b]0;owned\x07", "\x9b2J", "\u202eabc", "\u2066x", "\ufeffx", "東京", "é", "e\u0301", "🎉", "x" * 200, "x" * 300, "-x", "--set", "%s%n",
    "<b>x</b>", "&amp;", "${x}", "{x}", "\x00", "\x7f", "label", "task", "heads.topic", "a" * 5000,
]
# What commands a terminal, but for line ends and the like.
BAD = [chr(code) for code in range(32) if chr(code) not in "\n\t"] + ["\x7f", "\x9b", "\u202e", "\u2066"]


def attack(bench, tally):
    bench.each(lambda name: of_tables(bench, tally, name), NAMES)
    bench.each(lambda name: of_labels(bench, tally, name), NAMES)
    bench.each(lambda name: of_files(bench, tally, name), NAMES)
    for name in (b"caf\xe9", b"\xff\xfe", b"x" * 250):
        of_bytes(bench, tally, name)


def unsafe(ran):
    text = (ran.out + ran.err).decode(errors="replace")
    return next((f"{bad!r} reached the terminal" for bad in BAD if bad in text), None)


def whole(bench, folder, config="job.toml", run="run"):
    """All commands on a config."""
    outcomes = []
    for command in (
        ["check", config], ["plan", config, "--no-timing", "--svg", "p.svg"], ["inspect", config, "--no-states", "--html", "d.html"],
        ["train", config, f"--run={run}"], ["evaluate", "--", run], ["predict", "--", run],
    ):
        ran = bench.run(folder, *command, stdin=b"Ada scored\n")
        wrong = ran.crash() or unsafe(ran)
        if wrong:
            return f"{command[0]}: {wrong}"
        outcomes.append(ran.code)
    outside = [path.name for path in folder.parent.iterdir() if not path.name.isdigit()]
    if outside:
        return f"beside its folder: {outside}"
    return "equal" if set(outcomes) <= {0} else "refused"


def of_tables(bench, tally, name):
    quoted = json.dumps(name).replace("\x7f", "\\u007f")
    for old in ("topic", "news"):
        config = CONFIG.replace(f".{old}]", f".{quoted}]").replace(f'corpus = "{old}"', f"corpus = {quoted}")
        folder = bench.write_corpus(bench.folder(), config)
        tally.add(whole(bench, folder), f"[...{name[:40]!r}]")
        shutil.rmtree(folder)


def of_labels(bench, tally, name):
    folder = bench.write_corpus(bench.folder())
    for file, start, end in [("train", 0, 60), ("valid", 60, 80), ("test", 80, 100)]:
        changed = [row(i) for i in range(start, end)]
        for one in changed:
            one["topic"] = name if one["topic"] == "money" else one["topic"]
            one["tags"] = [f"B-{name}" if tag != "O" else tag for tag in one["tags"]]
            one[name] = name
        (folder / f"{file}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in changed))
    tally.add(whole(bench, folder), f"label {name[:40]!r}")
    # A label that only validation has is an error with its name in it.
    line = json.dumps({**row(60), "topic": name + "?"})
    (folder / "valid.jsonl").write_text(line + "\n")
    shutil.rmtree(folder / "run", ignore_errors=True)
    tally.add(whole(bench, folder), f"unknown label {name[:40]!r}")
    shutil.rmtree(folder)


def of_files(bench, tally, name):
    """The config's name, by which the run is called, and that of the run."""
    folder = bench.write_corpus(bench.folder())
    if "/" in name or "\x00" in name or len(name.encode()) > 250 or name in ("", ".", ".."):
        ran = bench.run(folder, "train", "job.toml", f"--run={name}") if "\x00" not in name and not name.startswith("..") else None
        if ran is not None:
            tally.add(ran.crash() or unsafe(ran) or ("equal" if ran.code == 0 else "refused"), f"--run {name[:40]!r}")
        shutil.rmtree(folder)
        return
    (folder / "job.toml").rename(folder / f"{name}.toml")
    ran = bench.run(folder, "train", "--", f"{name}.toml")
    tally.add(ran.crash() or unsafe(ran) or ("equal" if ran.code == 0 else "refused"), f"config {name[:40]!r}")
    outcome = whole(bench, folder, f"./{name}.toml", f"r{name}")
    tally.add(outcome, f"run r{name[:40]!r}")
    shutil.rmtree(folder)


def of_bytes(bench, tally, name):
    """Names that are no UTF-8."""
    outer = bench.folder()
    folder = os.path.join(os.fsencode(outer), name)
    os.mkdir(folder)
    for entry in bench.base.iterdir():
        shutil.copy(entry, os.path.join(folder, os.fsencode(entry.name)))
    for arguments in (["check", "job.toml"], ["train", "job.toml", "--run", os.fsdecode(name)]):
        ran = bench.run(Path(os.fsdecode(folder)), *arguments)
        tally.add(ran.crash() or unsafe(ran) or ("equal" if ran.code == 0 else "refused"), f"folder {name!r}, {arguments[0]}")
    shutil.rmtree(outer)
