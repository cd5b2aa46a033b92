#!/usr/bin/env python3
"""A step of many LoRA adapters in PyTorch and peft: one adapter of the base model after the other.

  python bench/reference_adapters.py --model DIR --data DIR --rows FILE

FILE is what `polytask-bench sharing CONFIG --rows FILE` writes: for each task its rows, by index and as token ids. Each adapter is
made active (set_adapter), its rows go through the model in batches of like length, padded to the longest, and its loss is
differentiated. One AdamW step moves all adapters and heads. Prints one JSON object as its last line.
"""
import argparse, json, os, resource, statistics, time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
import torch.nn as nn
from peft import LoraConfig, get_peft_model
from reference import TASKS, Data, encoder_of, tokenizer_of, NONE

WARM = 3


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--model", required=True)
    a.add_argument("--data", required=True)
    a.add_argument("--rows", required=True)
    a.add_argument("--rate", type=float, default=1e-3)
    a.add_argument("--batch", type=int, default=32, help="rows of a batch at most")
    a.add_argument("--max-length", type=int, default=128)
    a.add_argument("--repeats", type=int, default=5)
    a.add_argument("--threads", type=int, default=2)
    o = a.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(17)
    print(json.dumps({"torch": torch.__version__, **measure(o), "peak_mib": peak_mib()}))


def measure(o):
    data = Data(o.data, tokenizer_of(o.model), o.max_length, ("train",))
    chosen = json.load(open(o.rows))
    batches = {of["task"]: batches_of(data, of, o.batch) for of in chosen}
    encoder = encoder_of(o.model)
    config = lambda: LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"], lora_dropout=0.0)
    names = list(batches)
    net = get_peft_model(encoder, config(), adapter_name=names[0])
    for name in names[1:]:
        net.add_adapter(name, config())
    hidden = encoder.config.hidden_size
    heads = nn.ModuleDict({name: nn.Linear(hidden, len(data.labels[base(name)])) for name in names})
    drop = nn.Dropout(0.1)
    moved = [p for n, p in net.named_parameters() if "lora_" in n] + list(heads.parameters())
    for p in moved:
        p.requires_grad_(True)
    optimizer = torch.optim.AdamW(moved, lr=o.rate, weight_decay=0.01, fused=True)
    net.train()
    times, losses = [], []
    for _ in range(WARM + o.repeats):
        began = time.time()
        found = [backward(net, heads[name], drop, name, of) for name, of in batches.items()]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        times.append(time.time() - began)
        losses.append(sum(found) / len(found))
    tokens = sum(int(mask.sum()) for of in batches.values() for _, mask, _ in of)
    padded = sum(mask.numel() for of in batches.values() for _, mask, _ in of)
    return {
        "milliseconds": 1e3 * statistics.median(times[WARM:]),
        "tokens": tokens,
        "padding": 1 - tokens / padded,
        "first_loss": losses[0],
        "last_loss": losses[-1],
    }


def backward(net, head, drop, name, batches):
    """The loss of a task over all its rows, differentiated; a mean over rows, or over words where words are tagged."""
    net.set_adapter(name)
    counts = [int((target != NONE).sum()) for _, _, target in batches]
    total = 0.0
    for (ids, mask, target), count in zip(batches, counts):
        states = net(input_ids=ids, attention_mask=mask).last_hidden_state
        if target.dim() == 1:
            states = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        logits = head(drop(states))
        loss = nn.functional.cross_entropy(logits.flatten(0, -2), target.flatten(), ignore_index=NONE) * count / sum(counts)
        loss.backward()
        total += loss.item()
    return total


def batches_of(data, of, most):
    """The rows of a task in batches of like length, as data.collate pads them; checked against the ids that ours read."""
    task = base(of["task"])
    corpus = TASKS[task][0]
    items = [data.rows[corpus, "train"][row] for row in of["rows"]]
    for item, ids in zip(items, of["ids"]):
        assert item["ids"] == ids, f"{of['task']}: a row was tokenized as {item['ids']}, by Polytask as {ids}"
    items.sort(key=lambda item: len(item["ids"]))
    cut = [items[i : i + most] for i in range(0, len(items), most)]
    return [(ids, mask, target[task]) for ids, mask, target in (data.collate(part, corpus) for part in cut)]


def base(name):
    """The task that a task with another name is a copy of."""
    return name.split("_")[0]


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
