"""Configs with anything in them: read, or refused with a message; no panic, no abort, no hang."""

import re
import shutil

from bench import CONFIG, flip

VALUES = [
    "0", "1", "-1", "2", "1e308", "-1e308", "nan", "inf", "9223372036854775807", "-9223372036854775808", "0.5", "1e-320", "true", "false",
    '""', '"x"', '"${x}"', '"${"', '"\\u001b[2J"', '"\\u202e"', "[]", "[1]", '["topic"]', "{}", "{ a = 1 }", "[[]]", "{ adamw = {} }", '"topic"',
    "1979-05-27", "[{}]", '"' + "x" * 20000 + '"', "[" * 500 + "]" * 500, "1000000", "4294967296",
]
KEYS = [
    "train.epochs", "train.max_steps", "train.max_tokens", "train.max_minutes", "train.tokens_per_batch", "train.gradient_accumulation_steps",
    "train.max_grad_norm", "train.seed", "train.threads", "train.eval_steps", "train.save_steps", "train.save_total_limit", "train.export",
    "train.metric_for_best_model", "train.early_stopping", "train.affinity_steps", "train.max_nonfinite_steps", "train.max_memory_gib", "train.precision",
    "train.device", "train.gradient_scope", "data.max_length", "data.cache", "tokenizer.size", "tokenizer.kind", "tokenizer.min_count",
    "model.backbone", "model.dropout", "model.freeze", "model.decoder", "model.dataset_embeddings", "sharing", "sampling", "balance",
    "optimizer", "schedule", "corpus.news.train", "corpus.news.format", "corpus.news.order", "corpus.news.columns", "corpus.news.delimiter",
    "task.topic.corpus", "task.topic.head", "task.topic.importance", "task.topic.budget", "task.topic.early_stopping",
    "task.topic.classification", "task.tags.tagging", "optimizer.adamw.learning_rate", "optimizer.adamw.beta1", "schedule.linear.warmup",
    "paths.x", "phase", "nonsense", "task", "corpus",
]


def attack(bench, tally):
    random = bench.random("configs")
    tries = [mutated(random) for _ in range(bench.size(10000))]
    bench.each(lambda one: tried(bench, tally, one), tries)
    for arguments in endless():
        ran = bench.run(bench.copy(bench.base), *arguments, timeout=30)
        tally.add(ran.crash() or ("equal" if ran.code == 0 else "refused"), " ".join(arguments))


def endless():
    yield "check", "/dev/zero"
    yield "check", "."
    yield "check", "none.toml"
    yield "check", "job.toml", "--set", "train.epochs"
    yield "check", "job.toml", "--define", "x"
    yield "check", "job.toml", "--set", "x=" + "[" * 100000


def mutated(random):
    """A config text, and `--set`s over it."""
    data, sets = CONFIG, []
    for _ in range(random.choice([0, 1, 1, 2, 4])):
        lines = data.split("\n")
        at = random.randrange(len(lines))
        way = random.randrange(6)
        if way == 0:
            del lines[at]
        elif way == 1:
            lines.insert(at, random.choice(lines))
        elif way == 2:
            lines[at] = re.sub(r"= .*", lambda _: "= " + random.choice(VALUES), lines[at])
        elif way == 3:
            lines[at] = lines[at][: random.randrange(len(lines[at]) + 1)]
        elif way == 4:
            lines.insert(at, random.choice(KEYS).split(".")[-1] + " = " + random.choice(VALUES))
        else:
            lines[at], _ = flip((lines[at] or " ").encode(errors="surrogateescape"), random)
            lines[at] = lines[at].decode(errors="surrogateescape")
        data = "\n".join(lines)
    for _ in range(random.choice([0, 1, 1, 2])):
        sets.append(random.choice(KEYS) + "=" + random.choice(VALUES))
    return data.encode(errors="surrogateescape"), sets


def tried(bench, tally, one):
    data, sets = one
    folder = bench.copy(bench.base)
    (folder / "job.toml").write_bytes(data)
    arguments = [part for value in sets for part in ("--set", value)]
    ran = bench.run(folder, "check", "job.toml", *arguments, timeout=60)
    outcome = ran.crash()
    if not outcome and (b"\x1b" in ran.out + ran.err or "\u202e".encode() in ran.out + ran.err):
        outcome = "a command reached the terminal"
    if not outcome and ran.code not in (0, 2):
        outcome = f"exit {ran.code}: {ran.err.decode(errors='replace')[:300]}"
    tally.add(outcome or ("equal" if ran.code == 0 else "refused"), f"{sets} {data[-200:]}")
    shutil.rmtree(folder)
