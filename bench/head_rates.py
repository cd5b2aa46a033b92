#!/usr/bin/env python3
"""What the learning rate of heads should be beside that of a pretrained trunk: one epoch of each of four corpora, for some multiples
of the trunk's learning rate, and a table of validation scores.

  python bench/head_rates.py --data DIR [--runs target/bench/head_rates] [--rates 5e-5] [--multiples 1,5,20,50] [--table]

There is no pretrained checkpoint in the repository: a BERT of three layers is first trained on the texts of the same corpora by masked
language modelling, which stands in for one. It knows these corpora and little else, so that what it says about large encoders is the
order of magnitude. A finished run is kept and not made again; --table only prints what there is.
"""
import argparse, json, pathlib, subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Folder, field of the label, the split to be scored; 15,100, 13,084, 19,005 and 7,200 training rows with 150, 7, 3 and 19 labels.
CORPORA = {
    "clinc150": ("clinc150", "intent", "validation"),
    "snips": ("snips", "intent", "validation"),
    "vader": ("vader_sentiment", "polarity", "validation"),
    "semeval2010": ("semeval2010_task8", "relation", "test"),
}
PRETRAINING = """[model]
backbone = {{ bert = {{ layers = 3, hidden = 128, heads = 4, max_length = 96 }} }}
[tokenizer]
size = 6000
[data]
max_length = 96
[optimizer.adamw]
learning_rate = 1e-3
[train]
epochs = 4
tokens_per_batch = 2048
export = "last"
"""
FINE_TUNING = """[model]
backbone = "{model}"
[data]
max_length = 96
[corpus.c]
train = "{data}/{folder}/train.jsonl"
validation = "{data}/{folder}/{split}.jsonl"
[task.t]
corpus = "c"
classification = {{ text = "text", label = "{label}" }}
[optimizer.adamw]
learning_rate = {rate}
head_learning_rate = {head_rate}
[train]
epochs = 1
tokens_per_batch = 1024
export = "last"
"""


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--data", required=True, type=pathlib.Path)
    a.add_argument("--runs", type=pathlib.Path, default=ROOT / "target/bench/head_rates")
    a.add_argument("--rates", default="5e-5")
    a.add_argument("--multiples", default="1,5,20,50")
    a.add_argument("--binary", default=str(ROOT / "target/release/polytask"))
    a.add_argument("--table", action="store_true")
    o = a.parse_args()
    rates, multiples = o.rates.split(","), o.multiples.split(",")
    if not o.table:
        o.runs.mkdir(parents=True, exist_ok=True)
        pretrain(o)
        for corpus in CORPORA:
            for rate in rates:
                for multiple in multiples:
                    fine_tune(o, corpus, rate, multiple)
    print("| rate | multiple | " + " | ".join(CORPORA) + " |\n|---:|---:" + "|---:" * len(CORPORA) + "|")
    for rate in rates:
        for multiple in multiples:
            scores = [score(o, corpus, rate, multiple) for corpus in CORPORA]
            print(f"| {rate} | {multiple} | " + " | ".join(scores) + " |")


def pretrain(o):
    tables = [PRETRAINING.format()]
    for name, (folder, _, _) in CORPORA.items():
        tables.append(f'[corpus.{name}]\ntrain = "{o.data.resolve()}/{folder}/train.jsonl"\n')
        tables.append(f'[task.{name}]\ncorpus = "{name}"\nmasked_language_model = {{ text = "text" }}\n')
    run(o, "pretrained", "".join(tables))


def fine_tune(o, corpus, rate, multiple):
    folder, label, split = CORPORA[corpus]
    model = (o.runs / "pretrained" / "model").resolve()
    head_rate = float(rate) * float(multiple)
    config = FINE_TUNING.format(model=model, data=o.data.resolve(), folder=folder, split=split, label=label, rate=rate, head_rate=head_rate)
    run(o, f"{corpus}-{rate}-{multiple}", config)


def run(o, name, config):
    if (o.runs / name / "model").exists():
        return
    file = o.runs / f"{name}.toml"
    file.write_text(config, encoding="utf8")
    subprocess.run([o.binary, "train", str(file), "--run", str(o.runs / name)], check=True)


def score(o, corpus, rate, multiple):
    file = o.runs / f"{corpus}-{rate}-{multiple}" / "metrics.jsonl"
    if not file.exists():
        return ""
    events = [json.loads(line) for line in file.read_text(encoding="utf8").splitlines()]
    evaluated = [event for event in events if event["event"] == "evaluated"]
    return f"{100 * evaluated[-1]['value']:.2f}" if evaluated else ""


main()
