#!/usr/bin/env python3
"""Test scores on public corpora: the jobs below, each cut out of a file of examples/, and a table of what came out.

  python bench/scores.py --data DIR --model DIR [--runs target/bench/scores] [--jobs polarity,...] [--seeds 17,18] [--table]

DIR of --data holds the corpora as examples/README.md lays them out, that of --model the MiniLM-L6 checkpoint. A finished run
is kept and not made again, so an interrupted series goes on where it stopped; --table only prints what there is.
"""
import argparse, json, os, pathlib, tomllib

from runs import train_and_score

ROOT = pathlib.Path(__file__).resolve().parent.parent

MANY, RELATIONS, TREEBANK, WRITING = "many-kinds.toml", "relations.toml", "parsing.toml", "writing.toml"
# CrossRE is small: ten epochs, the lower layers as they are, one evaluation at the end.
CROSSRE = ["model.freeze={layers=4, cache=true}", "train.epochs=10", "train.eval_steps=100000", "train.tokens_per_batch=256"]
# Writing is scored on the test split alone: what writes texts for thousands of validation rows does not train meanwhile.
SPANISH, SENTENCE = ["bleu", "chrf", "perplexity"], ["bleu", "chrf", "slot_error_rate", "perplexity"]
# job: example, what is set, and for each task that stays its metrics
JOBS = {
    "entities and relations": (RELATIONS, CROSSRE, {"graph": ["entity_f1", "relation_f1", "relation_f1_relaxed"]}),
    # Other shares of the rows in which relations are learned between entities as they are found.
    **{f"scheduled sampling {name}": (RELATIONS, [*CROSSRE, f"task.graph.entities_relations.scheduled_sampling={share}"], {"graph": ["entity_f1", "relation_f1"]})
       for name, share in {"never": "0.0", "half": "0.5", "rising to all": "{to=1.0}"}.items()},
    "entities alone": (RELATIONS, [*CROSSRE, "task.graph.entities_relations.learn=entities"], {"graph": ["entity_f1"]}),
    "relations alone": (RELATIONS, [*CROSSRE, "task.graph.entities_relations.learn=relations"], {"graph": ["relation_f1"]}),
    "score": (MANY, ["train.epochs=2"], {"score": ["spearman", "pearson"]}),
    "nominals": (RELATIONS, ["train.epochs=3"], {"nominals": ["directed_f1"]}),
    "sentence": (WRITING, ["train.max_steps=300"], {"sentence": SENTENCE}),
    "spanish": (WRITING, ["train.max_steps=900"], {"spanish": SPANISH}),
    "spanish and sentence": (WRITING, ["train.max_steps=1200"], {"spanish": SPANISH, "sentence": SENTENCE}),
    "treebank": (TREEBANK, ["train.epochs=2", "train.tokens_per_batch=512"],
                 {"upos": ["token_accuracy"], "features": ["token_accuracy"], "lemmas": ["lemma_accuracy"], "dependencies": ["las", "uas"]}),
    "emotions": (MANY, ["train.epochs=1"], {"emotions": ["macro_f1", "micro_f1"]}),
}


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--data", required=True, type=pathlib.Path)
    a.add_argument("--model", required=True, type=pathlib.Path)
    a.add_argument("--runs", type=pathlib.Path, default=ROOT / "target/bench/scores")
    a.add_argument("--jobs", default=",".join(JOBS))
    a.add_argument("--seeds", default="17,18")
    a.add_argument("--binary", default=str(ROOT / "target/release/polytask"))
    a.add_argument("--threads", type=int, default=os.cpu_count())
    a.add_argument("--table", action="store_true")
    o = a.parse_args()
    jobs, seeds = o.jobs.split(","), o.seeds.split(",")
    if not o.table:
        for seed in seeds:
            for name in jobs:
                train_and_score(o.binary, place(o, name, seed), command(o, name, seed))
    print("| run | task | metric | " + " | ".join(f"seed {s}" for s in seeds) + " |\n|---|---|---" + "|---:" * len(seeds) + "|")
    for name in jobs:
        for task, metrics in JOBS[name][2].items():
            for metric in metrics:
                cells = [score(o, name, seed, task, metric) for seed in seeds]
                if any(cells):
                    print(f"| {name} | `{task}` | {metric} | " + " | ".join(cells) + " |")


def place(o, name, seed):
    return o.runs / f"{name.replace(' ', '-')}-{seed}"


def command(o, name, seed):
    """The command that trains a job; its config is written beside its run."""
    example, settings, tasks = JOBS[name]
    run = place(o, name, seed)
    o.runs.mkdir(parents=True, exist_ok=True)
    config = run.with_suffix(".toml")
    config.write_text(only(example, tasks))
    places = ["--define", f"data={o.data.resolve()}", "--define", f"model={o.model.resolve()}"]
    chosen = [x for s in [*settings, f"train.seed={seed}", f"train.threads={o.threads}"] for x in ("--set", s)]
    return [o.binary, "train", str(config), "--run", str(run), *places, *chosen]


def only(example, tasks):
    """The example with these tasks and their corpora alone; in what writes, without validation rows."""
    text = (ROOT / "examples" / example).read_text()
    corpora = {tomllib.loads(text)["task"][task]["corpus"] for task in tasks}
    kept, keep = [], True
    for line in text.splitlines():
        if line.startswith("["):
            family, _, name = line.strip("[]").partition(".")
            keep = name in tasks if family == "task" else name in corpora if family == "corpus" else True
        if keep and not (example == WRITING and line.startswith("validation =")):
            kept.append(line)
    return "\n".join(kept) + "\n"


def score(o, name, seed, task, metric):
    file = place(o, name, seed) / "test.json"
    return f"{json.loads(file.read_text())['tasks'][task]['scores'][metric]:.4f}" if file.exists() else ""


if __name__ == "__main__":
    main()
