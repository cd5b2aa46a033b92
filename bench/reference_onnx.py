#!/usr/bin/env python3
"""Predictions of all tasks of an exported model with onnxruntime, for bench/compressed.py: the test rows of every corpus, sorted by length, in
padded batches. `--dynamic` quantizes the graph with onnxruntime's `quantize_dynamic` first. Prints one JSON object as its last line.

  python bench/reference_onnx.py --model EXPORTED --data DIR [--dynamic] [--threads 2] [--repeats 3] [--batch 32]

PYTHON needs onnxruntime, onnx, tokenizers and numpy.
"""
import argparse, json, pathlib, resource, statistics, tempfile, time

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

# corpus -> the field that is read
CORPORA = {"snips": "tokens", "vader_sentiment": "text", "wnut17": "tokens"}


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--model", required=True, type=pathlib.Path)
    a.add_argument("--data", required=True, type=pathlib.Path)
    a.add_argument("--dynamic", action="store_true")
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--repeats", type=int, default=3)
    a.add_argument("--batch", type=int, default=32)
    o = a.parse_args()
    tokenizer = Tokenizer.from_file(str(o.model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(json.loads((o.model / "tasks.json").read_text())["max_length"])
    rows = []
    for corpus, field in CORPORA.items():
        words = field == "tokens"
        rows += tokenizer.encode_batch([row[field] for row in read(o.data / corpus, words)], is_pretokenized=words)
    rows.sort(key=lambda row: len(row.ids))
    with tempfile.TemporaryDirectory() as work:
        session = open_session(o, pathlib.Path(work))
    batches = [batch(rows[at : at + o.batch], session) for at in range(0, len(rows), o.batch)]
    seconds = []
    for _ in range(o.repeats):
        began = time.perf_counter()
        for given in batches:
            for logits in session.run(None, given):
                probabilities = np.exp(logits - logits.max(-1, keepdims=True))
                (probabilities / probabilities.sum(-1, keepdims=True)).max(-1)
        seconds.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": len(rows), "rows_per_second": len(rows) / statistics.median(seconds), "peak_mib": peak}))


def open_session(o, work):
    file = o.model / "model.onnx"
    if o.dynamic:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(file, work / "int8.onnx", weight_type=QuantType.QInt8, per_channel=True)
        file = work / "int8.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = o.threads
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def batch(rows, session):
    longest = max(len(row.ids) for row in rows)
    padded = lambda values: np.array([list(v) + [0] * (longest - len(v)) for v in values], np.int64)
    given = {
        "input_ids": padded([row.ids for row in rows]),
        "attention_mask": padded([row.attention_mask for row in rows]),
        "token_type_ids": padded([row.type_ids for row in rows]),
    }
    return {i.name: given[i.name] for i in session.get_inputs()}


def read(folder, words):
    if (folder / "test.jsonl").exists():
        return [json.loads(line) for line in (folder / "test.jsonl").read_text(encoding="utf8").splitlines()]
    rows, tokens = [], []
    for line in (folder / "test.conll").read_text(encoding="utf8").split("\n"):
        columns = line.strip().split("\t")
        if len(columns) >= 2:
            tokens.append(columns[0].strip())
        elif tokens:
            rows.append({"tokens": tokens})
            tokens = []
    return rows + ([{"tokens": tokens}] if tokens else [])


if __name__ == "__main__":
    main()
