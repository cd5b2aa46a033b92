#!/usr/bin/env python3
"""Intents by chat with transformers and peft: the task `intent` of examples/assistant.toml, alone, with the same model, rows, steps, rates
and adapter. Prints one JSON object as its last line.

  python bench/reference_chat.py --model DIR --data DIR [--steps 200] [--tokens 262] [--seed 17] [--threads 2]

DIR of --model holds the decoder in Hugging Face layout, that of --data the corpora as examples/README.md lays them out.
"""
import argparse, json, math, os, pathlib, random, time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

SYSTEM = "Name the intent of the request."
MAPS = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "gate_proj", "down_proj"]


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--model", required=True)
    a.add_argument("--data", required=True, type=pathlib.Path)
    a.add_argument("--steps", type=int, default=200)
    a.add_argument("--tokens", type=int, default=262)
    a.add_argument("--seed", type=int, default=17)
    a.add_argument("--threads", type=int, default=2)
    o = a.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(o.seed)
    tokenizer = AutoTokenizer.from_pretrained(o.model, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(o.model, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=MAPS)).train()
    rows = {split: read(o.data / f"snips/{split}.jsonl") for split in ("train", "test")}
    examples = [example(tokenizer, row) for row in rows["train"]]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.01)
    warmup = round(0.05 * o.steps)
    factor = lambda step: min(1.0, (step + 1) / warmup) if step < warmup else 0.5 * (1 + math.cos(math.pi * (step - warmup) / (o.steps - warmup)))
    began = time.time()
    for step, batch in zip(range(o.steps), batches(examples, o)):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * factor(step)
        longest = max(len(ids) for ids, _ in batch)
        ids = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in batch])
        mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in batch])
        labels = torch.tensor([[-100] * begin + ids[begin:] + [-100] * (longest - len(ids)) for ids, begin in batch])
        model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    trained = time.time() - began
    answers = written(model.eval(), tokenizer, rows["test"])
    right = sum(answer == row["intent"] for answer, row in zip(answers, rows["test"]))
    print(json.dumps({"exact_text": 100 * right / len(answers), "rows": len(answers), "seconds": trained}))


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def prompt(tokenizer, row):
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": row["text"]}]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def example(tokenizer, row):
    """The tokens of a row, and where the answer with its end token begins."""
    begin = tokenizer(prompt(tokenizer, row))["input_ids"]
    return begin + tokenizer(row["intent"] + "<|im_end|>")["input_ids"], len(begin)


def batches(examples, o):
    draw = random.Random(o.seed)
    while True:
        draw.shuffle(examples)
        batch, tokens = [], 0
        for one in examples:
            if batch and tokens + len(one[0]) > o.tokens:
                yield batch
                batch, tokens = [], 0
            batch.append(one)
            tokens += len(one[0])


def written(model, tokenizer, rows):
    answers = []
    with torch.inference_mode():
        for at in range(0, len(rows), 16):
            inputs = tokenizer([prompt(tokenizer, row) for row in rows[at : at + 16]], return_tensors="pt", padding=True)
            found = model.generate(**inputs, do_sample=False, max_new_tokens=12)[:, inputs["input_ids"].shape[1] :]
            answers += [text.strip() for text in tokenizer.batch_decode(found, skip_special_tokens=True)]
    return answers


if __name__ == "__main__":
    main()
