#!/usr/bin/env python3
"""What Polytask is measured against: the same job in plain PyTorch and transformers, as a careful user would write it.

  train    four tasks on one BERT encoder: one corpus a step, dynamic padding, AdamW (fused), warm-up and linear decay
  predict  all four heads on the test rows of every corpus, sorted by length, in batches
  step     forward, backward and AdamW of a bare encoder with a three-class head, no data around it
  balance  a step of eight tasks with rows of their own: `--method equal` sums the losses; `jacobian` encodes all rows
           together and differentiates once a task; `separate` encodes each task's rows by themselves; both then form
           the Gramian, take PCGrad's weights from it and combine the gradients

Each prints one JSON object as its last line. `--group` sorts rows by length within fifty batches, so that little is padding;
`--bf16` runs under autocast. compare.py calls this; by hand:

  pip install torch transformers safetensors numpy
  python bench/reference.py train --model DIR --data DIR --epochs 3
"""
import argparse, json, os, random, resource, statistics, time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import numpy as np
import torch
import torch.nn as nn
from transformers import AutoConfig, AutoModel, BertConfig, BertModel, PreTrainedTokenizerFast

# task -> corpus, sort of task, field of the label
TASKS = {
    "intent": ("snips", "class", "intent"),
    "slots": ("snips", "tag", "tags"),
    "polarity": ("vader_sentiment", "class", "polarity"),
    "entities": ("wnut17", "tag", "tags"),
}
# shape -> layers, hidden, heads, feed-forward, rows, tokens a row
SHAPES = {"s1": (6, 384, 12, 1536, 32, 64), "s2": (12, 768, 12, 3072, 8, 128)}
NONE = -100


def read_rows(data, corpus, split):
    path = f"{data}/{corpus}/{split}"
    if os.path.exists(path + ".jsonl"):
        return [json.loads(line) for line in open(path + ".jsonl", encoding="utf8")]
    rows, tokens, tags = [], [], []
    for line in open(path + ".conll", encoding="utf8"):
        columns = line.strip().split("\t")
        if len(columns) >= 2:
            tokens.append(columns[0].strip())
            tags.append(columns[-1].strip())
        elif tokens:
            rows.append({"tokens": tokens, "tags": tags})
            tokens, tags = [], []
    return rows + ([{"tokens": tokens, "tags": tags}] if tokens else [])


def spans(tags):
    """Entities as seqeval reads BIO: an I- without its B- begins one."""
    found, start, kind = set(), None, None
    for i, tag in enumerate(list(tags) + ["O"]):
        prefix, _, name = tag.partition("-")
        if start is not None and (prefix != "I" or name != kind):
            found.add((start, i, kind))
            start = None
        if prefix == "B" or (prefix == "I" and start is None):
            start, kind = i, name
    return found


class Data:
    """Tokenized rows of every corpus and split, with label ids learnt from the training rows."""

    def __init__(self, folder, tokenizer, max_length, splits):
        self.labels = {task: {} for task in TASKS}
        self.corpora = {}
        for task, (corpus, _, _) in TASKS.items():
            self.corpora.setdefault(corpus, []).append(task)
        self.rows = {(c, s): self.encode(folder, tokenizer, max_length, c, s) for c in self.corpora for s in splits}

    def encode(self, folder, tokenizer, max_length, corpus, split):
        rows = read_rows(folder, corpus, split)
        words = "tokens" in rows[0]
        encoded = tokenizer.encode_batch([r["tokens"] if words else r["text"] for r in rows], is_pretokenized=words)
        return [self.item(corpus, split, row, e, max_length) for row, e in zip(rows, encoded)]

    def item(self, corpus, split, row, encoding, max_length):
        ids, word_of = encoding.ids, encoding.word_ids
        if len(ids) > max_length:
            ids, word_of = ids[: max_length - 1] + ids[-1:], word_of[: max_length - 1] + [None]
        item = {"ids": ids}
        for task in self.corpora[corpus]:
            _, sort, field = TASKS[task]
            known = self.labels[task]
            label = (lambda v: known.setdefault(v, len(known))) if split == "train" else (lambda v: known.get(v, NONE))
            if sort == "class":
                item[task] = label(row[field])
            else:
                seen, item[task] = set(), []
                for word in word_of:
                    item[task].append(NONE if word is None or word in seen else label(row[field][word]))
                    seen.add(word)
        return item

    def collate(self, items, corpus):
        n = max(len(i["ids"]) for i in items)
        pad = lambda values, with_: torch.tensor([v + [with_] * (n - len(v)) for v in values])
        ids = pad([i["ids"] for i in items], 0)
        mask = pad([[1] * len(i["ids"]) for i in items], 0)
        target = lambda t: torch.tensor([i[t] for i in items]) if TASKS[t][1] == "class" else pad([i[t] for i in items], NONE)
        return ids, mask, {t: target(t) for t in self.corpora[corpus]}


class Net(nn.Module):
    def __init__(self, encoder, sizes, dropout=0.1):
        super().__init__()
        self.encoder, self.drop = encoder, nn.Dropout(dropout)
        self.heads = nn.ModuleDict({t: nn.Linear(encoder.config.hidden_size, n) for t, n in sizes.items()})

    def forward(self, ids, mask, tasks):
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return {t: self.heads[t](self.drop(states if TASKS[t][1] == "tag" else pooled)) for t in tasks}


def tokenizer_of(model):
    backend = PreTrainedTokenizerFast(tokenizer_file=f"{model}/tokenizer.json").backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    return backend


def encoder_of(model):
    config = AutoConfig.from_pretrained(model)
    return AutoModel.from_pretrained(model, config=config, attn_implementation="sdpa", add_pooling_layer=False)


def optimizer_of(net, lr, head_lr):
    decay = lambda name: 0.0 if name.endswith("bias") or "LayerNorm" in name else 0.01
    rate = lambda name: head_lr if name.startswith("heads") else lr
    groups = [{"params": [p], "weight_decay": decay(n), "lr": rate(n)} for n, p in net.named_parameters()]
    return torch.optim.AdamW(groups, fused=True)


def autocast(o):
    return torch.autocast("cpu", torch.bfloat16, enabled=o.bf16)


def batches(rows, size, group, rng):
    index = list(range(len(rows)))
    rng.shuffle(index)
    if group:
        several = size * 50
        chunks = [index[i : i + several] for i in range(0, len(index), several)]
        index = [k for chunk in chunks for k in sorted(chunk, key=lambda k: -len(rows[k]["ids"]))]
    cut = [index[i : i + size] for i in range(0, len(index), size)]
    rng.shuffle(cut)
    return cut


def scores(net, data, split, o):
    net.eval()
    result = {}
    with torch.no_grad(), autocast(o):
        for corpus, tasks in data.corpora.items():
            items = sorted(data.rows[corpus, split], key=lambda i: len(i["ids"]))
            counts = {t: [0, 0, 0] for t in tasks}
            for at in range(0, len(items), 64):
                part = items[at : at + 64]
                ids, mask, _ = data.collate(part, corpus)
                out = net(ids, mask, tasks)
                for t in tasks:
                    best, names = out[t].argmax(-1), {v: k for k, v in data.labels[t].items()}
                    for j, item in enumerate(part):
                        count_in(counts[t], TASKS[t][1], best[j], item[t], names)
            for t in tasks:
                hit, gold, found = counts[t]
                result[t] = hit / gold if TASKS[t][1] == "class" else 2 * hit / max(gold + found, 1)
    net.train()
    return result


def count_in(counts, sort, best, target, names):
    if sort == "class":
        counts[0] += int(best == target)
        counts[1] += 1
        return
    first = [k for k, v in enumerate(target) if v != NONE]
    gold, found = spans([names[target[k]] for k in first]), spans([names[int(best[k])] for k in first])
    for i, n in enumerate((len(gold & found), len(gold), len(found))):
        counts[i] += n


def train(o):
    data = Data(o.data, tokenizer_of(o.model), o.max_length, ("train", "validation", "test"))
    net = Net(encoder_of(o.model), {t: len(v) for t, v in data.labels.items()})
    optimizer = optimizer_of(net, o.lr, o.head_lr)
    rows = {c: data.rows[c, "train"] for c in data.corpora}
    total = o.epochs * sum(-(-len(r) // o.batch) for r in rows.values())
    warm, base = max(1, total // 10), [g["lr"] for g in optimizer.param_groups]
    seconds, real, padded, step, done = 0.0, 0, 0, 0, False
    net.train()
    for epoch in range(o.epochs):
        began = time.time()
        rng = random.Random(o.seed + epoch)
        plan = [(c, b) for c, r in rows.items() for b in batches(r, o.batch, o.group, rng)]
        rng.shuffle(plan)
        for corpus, batch in plan:
            ids, mask, target = data.collate([rows[corpus][k] for k in batch], corpus)
            with autocast(o):
                out = net(ids, mask, data.corpora[corpus])
                loss = sum(nn.functional.cross_entropy(out[t].float().flatten(0, -2), target[t].flatten(), ignore_index=NONE) for t in target)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            factor = step / warm if step < warm else max(0.0, (total - step) / max(1, total - warm))
            for group, lr in zip(optimizer.param_groups, base):
                group["lr"] = lr * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step, real, padded = step + 1, real + int(mask.sum()), padded + mask.numel()
            if step == 1:
                print("first step", flush=True)
            done = o.max_steps and step >= o.max_steps
            if done:
                break
        seconds += time.time() - began
        if done:
            break
        shown = {t: round(100 * v, 2) for t, v in scores(net, data, "validation", o).items()}
        print(f"epoch {epoch + 1}: {seconds:.1f} s of training, validation {shown}", flush=True)
    result = {"steps": step, "seconds": seconds, "tokens_per_second": real / seconds, "padding": 1 - real / padded}
    return result if o.max_steps else result | {"test": scores(net, data, "test", o)}


def predict(o):
    data = Data(o.data, tokenizer_of(o.model), o.max_length, ("train", "test"))
    net = Net(encoder_of(o.model), {t: len(v) for t, v in data.labels.items()}).eval()
    items = [(i, c) for c in data.corpora for i in data.rows[c, "test"]]
    items.sort(key=lambda pair: len(pair[0]["ids"]))
    seconds = []
    with torch.no_grad(), autocast(o):
        for _ in range(o.repeats):
            began = time.time()
            for at in range(0, len(items), o.batch):
                ids = [i["ids"] for i, _ in items[at : at + o.batch]]
                n = max(map(len, ids))
                mask = torch.tensor([[1] * len(i) + [0] * (n - len(i)) for i in ids])
                out = net(torch.tensor([i + [0] * (n - len(i)) for i in ids]), mask, TASKS)
                for logits in out.values():
                    logits.float().softmax(-1).max(-1)
            seconds.append(time.time() - began)
    return {"rows": len(items), "rows_per_second": len(items) / statistics.median(seconds)}


def step(o):
    layers, hidden, heads, wide, rows, length = SHAPES[o.shape]
    config = BertConfig(num_hidden_layers=layers, hidden_size=hidden, num_attention_heads=heads, intermediate_size=wide)
    config._attn_implementation = "sdpa"
    net = nn.ModuleDict({"encoder": BertModel(config, add_pooling_layer=False), "heads": nn.Linear(hidden, 3)})
    optimizer = optimizer_of(net, 2e-5, 2e-5)
    ids = torch.arange(rows * length).reshape(rows, length) * 7919 % config.vocab_size
    target, times = torch.arange(rows) % 3, []
    for _ in range(o.repeats + 2):
        began = time.time()
        with autocast(o):
            states = net["encoder"](input_ids=ids).last_hidden_state
            loss = nn.functional.cross_entropy(net["heads"](states.mean(1)).float(), target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        times.append(time.time() - began)
    return {"milliseconds": 1e3 * statistics.median(times[2:])}


def balance(o):
    layers, hidden, heads, wide, _, _ = SHAPES["s1"]
    tasks, rows, length, classes = o.tasks, 8, 32, 10
    config = BertConfig(num_hidden_layers=layers, hidden_size=hidden, num_attention_heads=heads, intermediate_size=wide)
    config._attn_implementation = "sdpa"
    net = BertModel(config, add_pooling_layer=False).train()
    heads = nn.ModuleList([nn.Linear(hidden, classes) for _ in range(tasks)])
    shared = list(net.parameters())
    optimizer = torch.optim.AdamW(shared + list(heads.parameters()), lr=1e-5, fused=True)
    encode = lambda ids: net(input_ids=ids).last_hidden_state.mean(1)
    times = []
    for _ in range(o.repeats + 2):
        ids = torch.randint(1000, 30000, (tasks, rows, length))
        target = torch.randint(0, classes, (tasks, rows))
        began = time.time()
        optimizer.zero_grad(set_to_none=True)
        with autocast(o):
            states = [encode(i) for i in ids] if o.method == "separate" else encode(ids.flatten(0, 1)).view(tasks, rows, -1)
            losses = [nn.functional.cross_entropy(heads[k](states[k]).float(), target[k]) for k in range(tasks)]
        if o.method == "equal":
            sum(losses).backward()
        else:
            combine(losses, shared, heads, retain=o.method == "jacobian")
        optimizer.step()
        times.append(time.time() - began)
    return {"milliseconds": 1e3 * statistics.median(times[2:])}


def combine(losses, shared, heads, retain):
    """Gradients task by task, as rows of J; weights from J J^T by PCGrad's projections; their sum to the parameters."""
    rows = []
    for k, loss in enumerate(losses):
        own = list(heads[k].parameters())
        found = torch.autograd.grad(loss, shared + own, retain_graph=retain and k + 1 < len(losses), allow_unused=True)
        rows.append(torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(shared, found)]))
        for p, g in zip(own, found[len(shared) :]):
            p.grad = g
    j = torch.stack(rows)
    gramian, weights = (j @ j.T).double(), torch.ones(len(losses), dtype=torch.float64)
    for i in range(len(losses)):
        for k in range(len(losses)):
            if i != k and gramian[i, k] < 0:
                weights[k] -= gramian[i, k] / gramian[k, k]
    direction, at = weights.float() @ j, 0
    for p in shared:
        p.grad = direction[at : at + p.numel()].view_as(p)
        at += p.numel()


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("what", choices=("train", "predict", "step", "balance"))
    a.add_argument("--model")
    a.add_argument("--data")
    a.add_argument("--shape", choices=SHAPES, default="s1")
    a.add_argument("--method", choices=("equal", "jacobian", "separate"), default="equal")
    a.add_argument("--tasks", type=int, default=8)
    a.add_argument("--epochs", type=int, default=3)
    a.add_argument("--batch", type=int, default=32)
    a.add_argument("--lr", type=float, default=1e-4)
    a.add_argument("--head-lr", type=float, default=1e-3)
    a.add_argument("--max-length", type=int, default=128)
    a.add_argument("--max-steps", type=int, default=0, help="stop after so many steps: for speed only")
    a.add_argument("--repeats", type=int, default=5, help="of a step, or of a pass over the test rows")
    a.add_argument("--seed", type=int, default=17)
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--group", action="store_true", help="batches of like length")
    a.add_argument("--bf16", action="store_true", help="autocast")
    o = a.parse_args()
    torch.set_num_threads(o.threads)
    random.seed(o.seed)
    np.random.seed(o.seed)
    torch.manual_seed(o.seed)
    result = {"train": train, "predict": predict, "step": step, "balance": balance}[o.what](o)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"torch": torch.__version__, **result, "peak_mib": peak}))


if __name__ == "__main__":
    main()
