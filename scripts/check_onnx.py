#!/usr/bin/env python3
"""Runs what `polytask export --format onnx` wrote in onnxruntime, and holds its answers against those of `polytask predict`.

    pip install onnx onnxruntime tokenizers numpy
    polytask export RUN --format onnx --out EXPORT
    python scripts/check_onnx.py EXPORT RUN rows.jsonl --polytask target/release/polytask

The rows have the fields that the tasks read. Rows of different lengths are padded to one length, on the right, as many as --batch says.
Prints the greatest difference of a probability (or number) for each task, and fails where it exceeds --tolerance.
"""
import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy
import onnx
import onnxruntime
from tokenizers import Tokenizer


def softmax(x):
    x = numpy.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + numpy.exp(-x))


def marked(fields, row):
    """The words of a row with markers around two spans, and the words whose states stand for these."""
    words, spans = list(row[fields["text"]]), {side: row[fields[side]] for side in ("head", "tail")}
    if not fields["markers"]:
        return words, {side: range(*span) for side, span in spans.items()}
    places = {}
    # From the end, so that places before stay as they are.
    for side, (begin, end) in sorted(spans.items(), key=lambda item: -item[1][0]):
        marker = "$" if side == "head" else "#"
        words[begin:end] = [marker, *words[begin:end], marker]
        places = {other: place + 2 for other, place in places.items()}
        places[side] = begin
    return words, {side: range(place, place + 1) for side, place in places.items()}


class Export:
    """The folder, and a session of its graph."""

    def __init__(self, folder, threads):
        onnx.checker.check_model(str(folder / "model.onnx"), full_check=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options,
                                                    providers=["CPUExecutionProvider"])
        self.about = json.loads((folder / "tasks.json").read_text())
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(self.about["max_length"], strategy="longest_first")
        self.tokenizer.no_padding()
        # Any other token where the mask is 0 gives the same answers, but for RoBERTa's positions, which count padding ids.
        known = [self.tokenizer.token_to_id(token) for token in ("[PAD]", "<pad>")]
        self.pad_id = next((token for token in known if token is not None), 0)
        self.inputs = [i.name for i in self.session.get_inputs()]
        self.seconds = 0.0

    def encode(self, spec, row):
        """The sequences that a task reads of a row, and its words."""
        (form, fields), = spec.items()
        if form == "text":
            return [self.tokenizer.encode(row[fields])]
        if form == "prefixed":
            return [self.tokenizer.encode(fields["prefix"] + row[fields["field"]])]
        if form == "words":
            words = row[fields]
            return [self.tokenizer.encode(words, is_pretokenized=True)]
        if form == "pair":
            return [self.tokenizer.encode(row[fields[0]], row[fields[1]])]
        if form == "windows":
            return [self.tokenizer.encode(*(row[field] for field in fields["fields"]))]
        if form == "choices":
            return [self.tokenizer.encode(row[fields[0]], choice) for choice in row[fields[1]]]
        if form == "marked" and fields.get("words"):
            return [self.tokenizer.encode(marked(fields, row)[0], is_pretokenized=True)]
        return None

    def run(self, task, spec, encodings, rows, batch):
        """A task's outputs, one for each sequence, cut to its tokens where it has one for each token."""
        outputs = []
        for begin in range(0, len(encodings), batch):
            part, own = encodings[begin:begin + batch], rows[begin:begin + batch]
            length = max(len(e.ids) for e in part)
            pad = lambda values, fill=0: numpy.array([v + [fill] * (length - len(v)) for v in values], numpy.int64)
            given = {
                "input_ids": pad([e.ids for e in part], self.pad_id),
                "attention_mask": pad([[1] * len(e.ids) for e in part]),
                "token_type_ids": pad([e.type_ids for e in part]),
            }
            for side in ("head", "tail"):
                if f"{side}_mask" in self.about["tasks"][task].get("inputs", []):
                    of = lambda e, row: marked(spec["marked"], row)[1][side]
                    given[f"{side}_mask"] = pad([[int(w is not None and w in of(e, row)) for w in e.word_ids]
                                                 for e, row in zip(part, own)])
                else:
                    given[f"{side}_mask"] = numpy.zeros_like(given["input_ids"])
            started = time.perf_counter()
            found, = self.session.run([task], {name: given[name] for name in self.inputs})
            self.seconds += time.perf_counter() - started
            by_token = len(self.about["tasks"][task]["shape"]) == 3
            outputs += [row[:len(e.ids)] if by_token else row for row, e in zip(found, part)]
        return outputs


def first_tokens(encoding, words):
    """The first token of each word that has one."""
    found = {}
    for token, word in enumerate(encoding.word_ids):
        if word is not None:
            found.setdefault(word, token)
    return [found.get(word) for word in range(words)]


def allowed(before, after, constrained):
    """Whether a tag of BIO may follow another."""
    if not constrained or not after.startswith("I-"):
        return True
    return before is not None and before[:2] in ("B-", "I-") and before[2:] == after[2:]


def viterbi(logits, names, about):
    """The best tags: each by itself, or the best sequence."""
    crf = about.get("crf")
    zero = numpy.zeros(len(names))
    forbidden = lambda before: numpy.array([0.0 if allowed(before, n, about["constrained"]) else -1e30 for n in names])
    transitions = numpy.stack([forbidden(n) for n in names]) + (numpy.array(crf["transitions"]) if crf else 0)
    start = forbidden(None) + (numpy.array(crf["start"]) if crf else zero)
    score, back = start + logits[0], []
    for row in logits[1:]:
        all_scores = score[:, None] + transitions
        back.append(all_scores.argmax(0))
        score = all_scores.max(0) + row
    tags = [int((score + (numpy.array(crf["end"]) if crf else zero)).argmax())]
    for best in reversed(back):
        tags.append(int(best[tags[-1]]))
    return tags[::-1]


def label_names(about):
    return about["label_space"]["labels"]


def compare(about, outputs, encodings, row, answer, tokenizer):
    """The differences of a task's answer to a row, and the number of answers that are not the same."""
    activation, output = about["activation"], outputs[0]
    if about["kind"] in ("classification", "relation_classification", "ordinal_regression"):
        if activation == "cumulative_sigmoid":
            above = numpy.minimum.accumulate(sigmoid(output))
            found = numpy.concatenate([[1.0], above]) - numpy.concatenate([above, [0.0]])
        else:
            found = softmax(output)
        expected = [answer["probabilities"][name] for name in label_names(about)]
        return [abs(found - expected).max()], int(label_names(about)[int(numpy.argmax(found))] != answer["label"]
                                                  and about["kind"] != "ordinal_regression")
    if about["kind"] == "multi_label":
        found = sigmoid(output)
        names = label_names(about)
        holds = sorted(n for n, p, t in zip(names, found, about["thresholds"]) if p >= t)
        expected = [answer["probabilities"][name] for name in names]
        return [abs(found - expected).max()], int(holds != sorted(answer["labels"]))
    if about["kind"] == "regression":
        return [abs(output[0] - answer["value"])], 0
    if about["kind"] == "multiple_choice":
        found = softmax(numpy.array([o[0] for o in outputs]))
        return [abs(found - numpy.array(answer["probabilities"])).max()], 0
    if about["kind"] == "lemmatization":
        firsts = first_tokens(encodings[0], len(answer["probabilities"]))
        pairs = [(softmax(output[t]).max(), p) for t, p in zip(firsts, answer["probabilities"]) if p is not None]
        return [abs(a - b) for a, b in pairs], 0
    if about["kind"] == "tagging":
        words = row[about["input"]["words"]]
        firsts = first_tokens(encodings[0], len(words))
        read = [w for w, t in enumerate(firsts) if t is not None]
        tags = viterbi(output[[firsts[w] for w in read]], label_names(about), about)
        tags = dict(zip(read, tags))
        names = [label_names(about)[tags[w]] if w in tags else "O" for w in range(len(words))]
        differences, at, begins = [], 0, []
        for word in words:
            begins.append(at)
            at += len(word) + 1
        if activation == "softmax":
            for entity in answer["entities"]:
                own = [w for w in read if entity["start"] <= begins[w] < entity["end"]]
                found = min(softmax(output[firsts[w]])[tags[w]] for w in own)
                differences.append(abs(found - entity["probability"]))
        return differences, int(names != answer["tags"])
    if about["kind"] == "extractive_qa":
        encoding = encodings[0]
        places = [0] + [t for t, s in enumerate(encoding.sequence_ids) if s == 1]
        start, end = softmax(output[places, 0]), softmax(output[places, 1])
        best = max(((i, j) for i in range(1, len(places)) for j in range(i, min(len(places), i + 30))),
                   key=lambda ij: numpy.log(start[ij[0]]) + numpy.log(end[ij[1]]))
        if answer["answer"] is None:
            best = (0, 0)
        return [abs(start[best[0]] * end[best[1]] - answer["probability"])], 0
    if about["kind"] == "masked_language_model":
        encoding, differences = encodings[0], []
        masks = [t for t, token in enumerate(encoding.tokens) if token == "[MASK]"]
        for token, expected in zip(masks, answer["masked"], strict=True):
            found = softmax(output[token])
            differences += [abs(found[tokenizer.token_to_id(n)] - p) for n, p in expected.items()]
        return differences, 0
    raise SystemExit(f"this script does not know the kind {about['kind']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--polytask", default="target/release/polytask")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--most", type=int, default=200, help="how many rows")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--share", type=float, default=0.0, help="how many answers may be others")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    export = Export(args.export, args.threads)
    lines = [line for line in args.rows.read_text().splitlines() if line][:args.most]
    rows = [json.loads(line) for line in lines]
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        named = [part for task in export.about["tasks"] for part in ("--task", task)]
        answered = subprocess.run([args.polytask, "predict", args.run, file.name, "--all-probabilities",
                                   "--threads", str(args.threads), *named], capture_output=True, text=True)
    answers = [json.loads(line) for line in answered.stdout.splitlines()]
    assert len(answers) == len(rows), answered.stderr
    failed = False
    for task, about in export.about["tasks"].items():
        differences, others, compared = [], 0, 0
        sequences, owners = [], []
        for index, row in enumerate(rows):
            if "error" in answers[index]["tasks"].get(task, {"error": True}):
                continue
            encodings = export.encode(about["input"], row)
            if encodings is None:
                continue
            owners.append((index, range(len(sequences), len(sequences) + len(encodings))))
            sequences += [(e, row) for e in encodings]
        outputs = export.run(task, about["input"], [e for e, _ in sequences], [r for _, r in sequences], args.batch)
        for index, own in owners:
            some, other = compare(about, [outputs[i] for i in own], [sequences[i][0] for i in own], rows[index],
                                  answers[index]["tasks"][task], export.tokenizer)
            differences += some
            others += other
            compared += 1
        most = max(differences, default=0.0)
        mean = float(numpy.mean(differences)) if differences else 0.0
        bad = not compared or most > args.tolerance or others > args.share * compared
        failed |= bad
        print(f"{task}: {about['kind']}, {compared} rows, greatest difference {most:.2e}, mean {mean:.1e}, "
              f"{others} other answers{'  <-- FAILED' if bad else ''}")
    print(f"{export.seconds:.2f} s in onnxruntime with {args.threads} thread(s)")
    sys.exit(failed)


if __name__ == "__main__":
    main()
