"""Writes crates/tasks/tests/fixtures/heads.json: losses, gradients and decodings of the heads as PyTorch's autograd computes
them in float64, the CRF by enumeration of all rows of tags.

  pip install torch
  python scripts/make_task_fixtures.py
"""
import itertools
import json
from pathlib import Path

import torch
import torch.nn.functional as F

OUT = Path(__file__).resolve().parent.parent / "crates" / "tasks" / "tests" / "fixtures" / "heads.json"
torch.manual_seed(11)
torch.set_default_dtype(torch.float64)
HIDDEN, LABELS, LENGTHS = 5, 3, [3, 1, 4, 2, 6]
OFFSETS = [0, *itertools.accumulate(LENGTHS)]


def draw(*shape):
    """f32 numbers, so that the reader has exactly the same inputs."""
    return torch.randn(*shape).float().double().requires_grad_()


states, weight, bias = draw(OFFSETS[-1], HIDDEN), draw(LABELS, HIDDEN), draw(LABELS)
start, transitions, end = draw(LABELS), draw(LABELS, LABELS), draw(LABELS)
inputs = {"states": states, "weight": weight, "bias": bias, "start": start, "transitions": transitions, "end": end}


def case(loss, **rows):
    """The loss and its gradient for each input that it depends on, or for the first `rows` of an input."""
    used = torch.autograd.grad(loss, list(inputs.values()), retain_graph=True, allow_unused=True)
    gradients = {n: g[:rows.get(n)].flatten().tolist() for n, g in zip(inputs, used) if g is not None}
    return {"loss": loss.item(), "gradients": gradients}


def logits(x):
    return x @ weight.T + bias


# Rows 0, 2, 3 and 4 belong to the task; row 3 has no label.
ROWS, TARGETS, CLASS_WEIGHTS = [0, 2, 4], [2, 0, 1], [0.5, 1.0, 2.5]
mean = torch.stack([states[OFFSETS[r]:OFFSETS[r + 1]].mean(0) for r in ROWS])
first = torch.stack([states[OFFSETS[r]] for r in ROWS])
classes = torch.tensor(TARGETS)


def focal(scores, gamma, weights):
    """Lin et al. 2017, equation 5, alpha being the class weights, whose mean it is."""
    p = torch.softmax(scores, 1).gather(1, classes[:, None])[:, 0]
    return (weights[classes] * (1 - p) ** gamma * -p.log()).sum() / weights[classes].sum()


def binary_focal(scores, gamma, weights):
    """As torchvision.ops.sigmoid_focal_loss, with a weight for each label where it holds in place of alpha."""
    p = torch.sigmoid(scores)
    return (holds * weights * (1 - p) ** gamma * -p.log() + (1 - holds) * p ** gamma * -(1 - p).log()).mean()


classification = {
    "mean": case(F.cross_entropy(logits(mean), classes)),
    "first_weighted_smoothed": case(
        F.cross_entropy(logits(first), classes, weight=torch.tensor(CLASS_WEIGHTS), label_smoothing=0.1)
    ),
    "focal": case(focal(logits(mean), 2.0, torch.ones(LABELS))),
    "first_weighted_focal": case(focal(logits(first), 1.5, torch.tensor(CLASS_WEIGHTS))),
    "probabilities": torch.softmax(logits(mean), 1).flatten().tolist(),
}

# Several labels a row: row 0 has two, row 2 none, row 4 one; what holds weighs as the class weights say.
SETS = [[0, 2], [], [1]]
holds = torch.tensor([[float(label in s) for label in range(LABELS)] for s in SETS])
multi_label = {
    "plain": case(F.binary_cross_entropy_with_logits(logits(mean), holds)),
    "weighted": case(F.binary_cross_entropy_with_logits(logits(first), holds, pos_weight=torch.tensor(CLASS_WEIGHTS))),
    "focal": case(binary_focal(logits(mean), 2.0, torch.ones(LABELS))),
    "weighted_focal": case(binary_focal(logits(first), 0.5, torch.tensor(CLASS_WEIGHTS))),
    "probabilities": torch.sigmoid(logits(mean)).flatten().tolist(),
}

# A number a row, standardised by the mean and the deviation of the numbers of rows 0 to 4; the first output alone.
NUMBERS = [2.5, -1.0, 0.5, None, 4.0]
known = torch.tensor([x for x in NUMBERS if x is not None])
numbers = (torch.tensor([NUMBERS[r] for r in ROWS]) - known.mean()) / known.std(correction=0)
output = logits(mean)[:, 0]
regression = {
    "mse": case(F.mse_loss(output, numbers), weight=1, bias=1),
    "huber": case(F.huber_loss(output, numbers, delta=0.8), weight=1, bias=1),
    "raw": case(F.mse_loss(output, torch.tensor([NUMBERS[r] for r in ROWS])), weight=1, bias=1),
    "values": (output * known.std(correction=0) + known.mean()).tolist(),
}

# Ordered classes: one row of weights for both borders, a bias for each (CORAL).
borders = mean @ weight[:1].T + bias[:LABELS - 1]
above = torch.tensor([[float(y > k) for k in range(LABELS - 1)] for y in TARGETS])
ordinal = {
    "coral": case(F.binary_cross_entropy_with_logits(borders, above, reduction="sum") / len(ROWS), weight=1, bias=LABELS - 1),
    "above": torch.sigmoid(borders).flatten().tolist(),
}

# Word of each token (None: special). Row 0 has 2 words, row 2 has 3 of which the last is cut, row 4 has 4.
WORDS = [[None, 0, 1], [None], [0, 0, 1, 1], [None, None], [None, 0, 1, 1, 2, 3]]
TAGS = {0: [0, 2], 2: [1, 1, 2], 4: [2, None, 0, 1]}
chains = []
for row, tags in TAGS.items():
    firsts = [WORDS[row].index(w) for w in sorted({w for w in WORDS[row] if w is not None})]
    chains.append(([OFFSETS[row] + t for t in firsts], tags[:len(firsts)]))
tokens = [t for ts, gs in chains for t, g in zip(ts, gs) if g is not None]
gold = torch.tensor([g for ts, gs in chains for t, g in zip(ts, gs) if g is not None])


# Answers: a token that begins one and a token that ends it, among the row's first token (no answer) and those with a word.
ANSWERS = {0: [0, 0], 4: [2, 4]}
MOST_TOKENS = 2
answer_losses, answers = 0.0, []
for row, gold_tokens in ANSWERS.items():
    scores = (states[OFFSETS[row]:OFFSETS[row + 1]] @ weight[:2].T + bias[:2]).T
    answer_losses = answer_losses + sum(F.cross_entropy(s[None], torch.tensor([y])) for s, y in zip(scores, gold_tokens)) / 2
    length = LENGTHS[row]
    pairs = [(i, j) for i in range(1, length) for j in range(i, min(length, i + MOST_TOKENS))]
    top = max([(0, 0), *pairs], key=lambda p: (scores[0][p[0]] + scores[1][p[1]]).item())
    shares = torch.softmax(scores, 1)
    answers.append([*top, (shares[0][top[0]] * shares[1][top[1]]).item()])
span = {"loss": case(answer_losses / len(ANSWERS), weight=2, bias=2), "answers": answers}

# Row 4 in two windows of three tokens: the second has all of its answer, the first none. Row 0 has no answer. The choice among
# windows is that of BERT's run_squad.py: the best answer of all, unless the least score of "no answer" is as high.
WINDOWS = {0: [(0, 3, [0, 0])], 4: [(0, 3, [0, 0]), (3, 6, [1, 2])]}
window_losses, count, window_answers = 0.0, 0, []
for row, windows in WINDOWS.items():
    nothing, found = [], []
    for sequence, (begin, until, gold_tokens) in enumerate(windows):
        scores = (states[OFFSETS[row] + begin:OFFSETS[row] + until] @ weight[:2].T + bias[:2]).T
        window_losses = window_losses + sum(F.cross_entropy(s[None], torch.tensor([y])) for s, y in zip(scores, gold_tokens)) / 2
        count += 1
        shares = torch.softmax(scores, 1)
        total = lambda i, j: (scores[0][i] + scores[1][j]).item()
        nothing.append((total(0, 0), (shares[0][0] * shares[1][0]).item()))
        for i in range(1, until - begin):
            for j in range(i, min(until - begin, i + MOST_TOKENS)):
                found.append((total(i, j), sequence, i, j, (shares[0][i] * shares[1][j]).item()))
    best_found, least = max(found), min(nothing)[0]
    window_answers.append(list(best_found[1:]) if best_found[0] > least else [0, 0, 0, min(p for _, p in nothing)])
span |= {"windows": case(window_losses / count, weight=2, bias=2), "window_answers": window_answers}

# Choices: the tokens of each row's sequences, and which of them is right; row 3 has no label.
CHOICES = {0: [1, 2], 1: [1], 2: [1, 1, 2], 3: [1, 1], 4: [2, 4]}
RIGHT = {0: 1, 2: 2, 4: 0}
choice_losses, choice_shares = {"mean": 0.0, "first": 0.0}, []
for row, right in RIGHT.items():
    ends = [OFFSETS[row] + n for n in [0, *itertools.accumulate(CHOICES[row])]]
    sequences = [states[a:b] for a, b in zip(ends, ends[1:])]
    for pooling, pooled in [("mean", [s.mean(0) for s in sequences]), ("first", [s[0] for s in sequences])]:
        scores = (torch.stack(pooled) @ weight[:1].T + bias[:1]).squeeze(1)
        choice_losses[pooling] = choice_losses[pooling] + F.cross_entropy(scores[None], torch.tensor([right])) / len(RIGHT)
        if pooling == "mean":
            choice_shares.append(torch.softmax(scores, 0).tolist())
multiple_choice = {
    "sequences": [CHOICES[row] for row in range(len(LENGTHS))],
    **{pooling: case(loss, weight=1, bias=1) for pooling, loss in choice_losses.items()},
    "probabilities": choice_shares,
}


def score(emissions, path):
    total = start[path[0]] + end[path[-1]] + sum(emissions[t, tag] for t, tag in enumerate(path))
    return total + sum(transitions[a, b] for a, b in zip(path, path[1:]))


nll, best, marginals = 0.0, [], []
for ts, gs in chains:
    emissions = logits(states[ts])
    paths = list(itertools.product(range(LABELS), repeat=len(ts)))
    scores = torch.stack([score(emissions, p) for p in paths])
    agrees = torch.tensor([all(g is None or g == tag for g, tag in zip(gs, p)) for p in paths])
    nll = nll + torch.logsumexp(scores, 0) - torch.logsumexp(scores[agrees], 0)
    best.append(list(paths[scores.argmax()]))
    share = torch.softmax(scores, 0)
    marginals.append([sum(s.item() for s, p in zip(share, paths) if p[t] == tag) for t, tag in enumerate(best[-1])])
tagging = {
    "plain_smoothed": case(F.cross_entropy(logits(states[tokens]), gold, label_smoothing=0.2)),
    "crf": case(nll / len(tokens)),
    "greedy": [logits(states[ts]).argmax(1).tolist() for ts, _ in chains],
    "best": best,
    "marginals": marginals,
}

OUT.parent.mkdir(parents=True, exist_ok=True)
OUT.write_text(json.dumps({
    "hidden": HIDDEN, "labels": LABELS, "lengths": LENGTHS,
    "inputs": {name: value.flatten().tolist() for name, value in inputs.items()},
    "class_weights": CLASS_WEIGHTS, "rows": ROWS, "targets": TARGETS, "words": WORDS,
    "tags": {str(row): tags for row, tags in TAGS.items()},
    "sets": SETS, "classification": classification, "multi_label": multi_label,
    "numbers": NUMBERS, "regression": regression, "ordinal": ordinal, "span": span, "multiple_choice": multiple_choice, "tagging": tagging,
}) + "\n")
