#!/usr/bin/env python3
"""Two jobs of scores.py in plain PyTorch and transformers, with the same rows, steps and rates: what they score there.

  score      VADER's ratings: mean-pooled states, one number, Huber's loss on standardised targets, two epochs
  emotions   GoEmotions: mean-pooled states, a sigmoid a label, one epoch, thresholds tuned on the validation split

  pip install torch transformers scikit-learn scipy
  python bench/reference_scores.py --data DIR --model DIR [--jobs score,emotions] [--seeds 17,18] [--threads 2]
"""
import argparse, json, os, random

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import numpy as np
import torch
import torch.nn as nn
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import f1_score, precision_recall_curve
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

MAX_LENGTH, TOKENS_PER_STEP, DROPOUT = 128, 512, 0.1
RATE, HEAD_RATE, DECAY, WARMUP, CLIP = 1e-4, 1e-3, 0.01, 0.1, 1.0


class Score:
    corpus, epochs = "vader_sentiment", 2

    def __init__(self, rows):
        values = [float(row["score"]) for row in rows]
        self.mean, self.deviation, self.outputs = np.mean(values), np.std(values), 1

    def targets(self, rows):
        return [[(float(row["score"]) - self.mean) / self.deviation] for row in rows]

    def loss(self, outputs, targets):
        return nn.functional.huber_loss(outputs, targets)

    def scores(self, validation, test):
        found, right = test[0][:, 0], test[1][:, 0]
        return {"spearman": spearmanr(found, right).statistic, "pearson": pearsonr(found, right).statistic}


class Emotions:
    corpus, epochs = "goemotions", 1

    def __init__(self, rows):
        self.labels = sorted({label for row in rows for label in row["emotions"]})
        self.outputs = len(self.labels)

    def targets(self, rows):
        return [[float(label in row["emotions"]) for label in self.labels] for row in rows]

    def loss(self, outputs, targets):
        return nn.functional.binary_cross_entropy_with_logits(outputs, targets)

    def scores(self, validation, test):
        thresholds = [best_threshold(*pair) for pair in zip(validation[1].T, validation[0].T)]
        found = test[0] >= np.array(thresholds)
        return {f"{how}_f1": f1_score(test[1], found, average=how, zero_division=0) for how in ("macro", "micro")}


def best_threshold(right, outputs):
    precision, recall, thresholds = precision_recall_curve(right, outputs)
    return thresholds[np.argmax((2 * precision * recall / np.maximum(precision + recall, 1e-12))[:-1])]


class Net(nn.Module):
    def __init__(self, path, outputs):
        super().__init__()
        config = AutoConfig.from_pretrained(path)
        self.encoder = AutoModel.from_pretrained(path, config=config, attn_implementation="sdpa", add_pooling_layer=False)
        self.head = nn.Linear(config.hidden_size, outputs)

    def forward(self, ids, mask):
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return self.head(nn.functional.dropout(pooled, DROPOUT, self.training))


def batches(lengths, order):
    """Rows in this order, as many at once as have at most so many tokens."""
    batch, tokens = [], 0
    for row in order:
        if batch and tokens + lengths[row] > TOKENS_PER_STEP:
            yield batch
            batch, tokens = [], 0
        batch.append(row)
        tokens += lengths[row]
    yield batch


def padded(ids, rows):
    longest = max(len(ids[row]) for row in rows)
    pad = lambda values, with_: values + [with_] * (longest - len(values))
    return torch.tensor([pad(ids[row], 0) for row in rows]), torch.tensor([pad([1] * len(ids[row]), 0) for row in rows])


def run(job, o, seed):
    random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{o.model}/tokenizer.json").backend_tokenizer
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_LENGTH)
    read = lambda split: [json.loads(line) for line in open(f"{o.data}/{job.corpus}/{split}.jsonl", encoding="utf8")]
    splits = {split: read(split) for split in ("train", "validation", "test")}
    job = job(splits["train"])
    ids = {split: [e.ids for e in tokenizer.encode_batch([row["text"] for row in rows])] for split, rows in splits.items()}
    targets = {split: torch.tensor(job.targets(rows), dtype=torch.float32) for split, rows in splits.items()}
    net = Net(o.model, job.outputs)
    plan = []
    for epoch in range(job.epochs):
        order = list(range(len(ids["train"])))
        random.shuffle(order)
        plan += batches([len(row) for row in ids["train"]], order)
    decays = lambda name: 0.0 if name.endswith("bias") or "LayerNorm" in name else DECAY
    rate = lambda name: HEAD_RATE if name.startswith("head") else RATE
    groups = [{"params": [p], "weight_decay": decays(n), "lr": rate(n)} for n, p in net.named_parameters()]
    optimizer = torch.optim.AdamW(groups, fused=True)
    warm = max(1, round(WARMUP * len(plan)))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: (step + 1) / warm if step < warm else (len(plan) - step) / max(1, len(plan) - warm))
    net.train()
    for rows in plan:
        job.loss(net(*padded(ids["train"], rows)), targets["train"][rows]).backward()
        nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
    net.eval()
    said = {}
    with torch.no_grad():
        for split in ("validation", "test"):
            order = sorted(range(len(ids[split])), key=lambda row: len(ids[split][row]))
            outputs = np.zeros((len(order), job.outputs))
            for rows in batches([len(row) for row in ids[split]], order):
                outputs[rows] = net(*padded(ids[split], rows)).numpy()
            said[split] = (outputs, targets[split].numpy())
    return job.scores(said["validation"], said["test"])


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--data", required=True)
    a.add_argument("--model", required=True)
    a.add_argument("--jobs", default="score,emotions")
    a.add_argument("--seeds", default="17,18")
    a.add_argument("--threads", type=int, default=os.cpu_count())
    o = a.parse_args()
    torch.set_num_threads(o.threads)
    for name in o.jobs.split(","):
        for seed in o.seeds.split(","):
            scores = run({"score": Score, "emotions": Emotions}[name], o, int(seed))
            print(json.dumps({"job": name, "seed": int(seed), **{k: round(float(v), 4) for k, v in scores.items()}}), flush=True)


if __name__ == "__main__":
    main()
