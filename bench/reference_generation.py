#!/usr/bin/env python3
"""Greedy generation with transformers, for bench/generation.py. Prints one JSON object as its last line."""
import argparse, json, os, statistics, time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--model", required=True)
    a.add_argument("--texts", required=True)
    a.add_argument("--rows", type=int, required=True)
    a.add_argument("--tokens", type=int, required=True)
    a.add_argument("--repeats", type=int, default=3)
    a.add_argument("--threads", type=int, default=2)
    o = a.parse_args()
    torch.set_num_threads(o.threads)
    tokenizer = AutoTokenizer.from_pretrained(o.model, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(o.model, dtype=torch.float32).eval()
    texts = [json.loads(line)["text"] for line in open(o.texts)][: o.rows]
    rates = []
    for _ in range(1 + o.repeats):
        begin = time.perf_counter()
        inputs = tokenizer(texts, return_tensors="pt", padding=True)
        with torch.inference_mode():
            found = model.generate(**inputs, do_sample=False, min_new_tokens=o.tokens, max_new_tokens=o.tokens)
        tokenizer.batch_decode(found[:, inputs["input_ids"].shape[1] :])
        rates.append(len(texts) * o.tokens / (time.perf_counter() - begin))
    print(json.dumps({"tokens_per_second": statistics.median(rates[1:])}))


if __name__ == "__main__":
    main()
