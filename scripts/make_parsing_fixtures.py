"""Writes what the tests of parsing and lemmas compare with:

- crates/metrics/tests/fixtures/arcs.json: attachment scores of CoNLL 2018's conll18_ud_eval.py, as trankit carries it;
- crates/tasks/tests/fixtures/parsing.json: losses and gradients of a biaffine parser as PyTorch's autograd computes them in
  float64, written arc by arc, and the best trees by enumeration;
- crates/tasks/tests/fixtures/lemmas.json: forms, lemmas and the scripts between them.

  pip install torch
  pip install --no-deps trankit
  python scripts/make_parsing_fixtures.py
"""
import importlib.util
import io
import itertools
import json
import random
from pathlib import Path

import torch
import torch.nn.functional as F

CRATES = Path(__file__).resolve().parent.parent / "crates"


def official_script():
    """The module by its path: importing trankit itself would need all of its dependencies."""
    folder = importlib.util.find_spec("trankit").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location("ud_eval", Path(folder) / "utils/scorers/conll18_ud_eval.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


UD = official_script()


def conllu(rows):
    """Sentences of arcs (head, relation)."""
    out = []
    for row in rows:
        for i, (head, relation) in enumerate(row, 1):
            out.append(f"{i}\tw{i}\tw\tX\t_\t_\t{head}\t{relation}\t_\t_")
        out.append("")
    return UD.load_conllu(io.StringIO("\n".join(out) + "\n"))


def arc_case(gold, predicted):
    scores = UD.evaluate(conllu(gold), conllu(predicted))
    return {"gold": gold, "predicted": predicted, **{name.lower(): scores[name].f1 for name in ("UAS", "LAS", "CLAS")}}


def random_tree(rng, n, relations):
    """Each word hangs on one that was hung before it, the first on the root."""
    order = rng.sample(range(1, n + 1), n)
    heads = {order[0]: 0, **{word: rng.choice(order[:i]) for i, word in enumerate(order) if i}}
    return [[heads[w], rng.choice(relations)] for w in range(1, n + 1)]


def noisy(rng, tree, relations, noise):
    """The tree with some relations changed, or another tree."""
    if rng.random() < noise / 2:
        return random_tree(rng, len(tree), relations)
    return [[h, rng.choice(relations) if rng.random() < noise else r] for h, r in tree]


def arc_cases(rng):
    yield arc_case([[[0, "root"]]], [[[0, "root"]]])
    yield arc_case([[[0, "nsubj:pass"], [1, "punct"]]], [[[0, "nsubj"], [1, "punct"]]])  # a subtype
    yield arc_case([[[0, "nsubj"], [1, "aux:pass"]]], [[[0, "nsubjx"], [1, "aux"]]])  # no subtype
    yield arc_case([[[0, "punct"], [1, "det"]]], [[[0, "punct"], [1, "det"]]])  # no content
    yield arc_case([[[0, "punct"], [1, "det"]]], [[[0, "root"], [1, "obj"]]])  # content where there is none
    relations = ["root", "nsubj", "nsubj:pass", "obl:npmod", "punct", "case", "det:predet", "acl:relcl", "unheard"]
    for noise in (0.0, 0.2, 0.6, 1.0):
        for _ in range(6):
            gold = [random_tree(rng, rng.randrange(1, 12), relations) for _ in range(rng.randrange(1, 5))]
            yield arc_case(gold, [noisy(rng, tree, relations, noise) for tree in gold])


torch.manual_seed(13)
torch.set_default_dtype(torch.float64)
HIDDEN, ARC, RELATION, LABELS = 5, 4, 3, 3
# Word of each token (None: special). Row 2 has 3 words of which the last is cut.
WORDS = [[None, 0, 1], [None], [0, 0, 1, 1], [None, None], [None, 0, 1, 1, 2, 3]]
OFFSETS = [0, *itertools.accumulate(len(row) for row in WORDS)]
# Head and relation of each word, None for one without.
ARCS = {
    0: [(2, 0), (0, 2)],
    2: [(3, 1), (0, 2), (1, 0)],  # word 1 hangs on the word that is cut
    4: [(2, 0), (0, 1), None, (2, 2)],
}


def draw(*shape):
    """f32 numbers, so that the reader has exactly the same inputs."""
    return torch.randn(*shape).float().double().requires_grad_()


inputs = {"states": draw(OFFSETS[-1], HIDDEN), "root": draw(HIDDEN)}
for name, width, outputs in (("arc", ARC, ARC), ("relation", RELATION, LABELS * (RELATION + 1))):
    for layer in (f"{name}_dependent", f"{name}_head"):
        inputs |= {f"{layer}.weight": draw(width, HIDDEN), f"{layer}.bias": draw(width)}
    inputs |= {f"{name}.weight": draw(outputs, width), f"{name}.bias": draw(outputs)}


def side(layer, state):
    return F.leaky_relu(inputs[f"{layer}.weight"] @ state + inputs[f"{layer}.bias"], 0.1)


def arc_score(dependent, head):
    d, h = side("arc_dependent", dependent), side("arc_head", head)
    # d U h + u h, where U^T and u are the layer that makes of a dependent what its heads are multiplied with.
    return d @ inputs["arc.weight"].T @ h + inputs["arc.bias"] @ h


def relation_scores(dependent, head):
    d, h = side("relation_dependent", dependent), side("relation_head", head)
    weight, bias = inputs["relation.weight"].view(LABELS, RELATION + 1, RELATION), inputs["relation.bias"].view(LABELS, -1)
    scores = [
        d @ weight[r, :RELATION].T @ h + weight[r, RELATION] @ d + bias[r, :RELATION] @ h + bias[r, RELATION]
        for r in range(LABELS)
    ]
    return torch.stack(scores)


def is_tree(heads):
    for word in range(1, len(heads) + 1):
        at, steps = word, 0
        while at and steps <= len(heads):
            at, steps = heads[at - 1], steps + 1
        if at:
            return False
    return heads.count(0) == 1


losses, trees = [], []
for row, arcs in ARCS.items():
    words = sorted({w for w in WORDS[row] if w is not None})
    states = [inputs["states"][OFFSETS[row] + WORDS[row].index(w)] for w in words]
    nodes = [inputs["root"], *states]
    scores = [
        torch.stack([arc_score(state, node) if j != i else torch.tensor(float("-inf")) for j, node in enumerate(nodes)])
        for i, state in enumerate(states, 1)
    ]
    shares = [torch.log_softmax(s, 0) for s in scores]
    for word, arc in enumerate(arcs[:len(words)]):
        if arc and arc[0] <= len(words):
            head, relation = arc
            relations = relation_scores(states[word], nodes[head])
            losses.append(-shares[word][head] + F.cross_entropy(relations[None], torch.tensor([relation])))
    options = [h for h in itertools.product(range(len(nodes)), repeat=len(words)) if is_tree(h)]
    best = max(options, key=lambda heads: sum(shares[w][h] for w, h in enumerate(heads)).item())
    tree = []
    for word, head in enumerate(best):
        relations = torch.softmax(relation_scores(states[word], nodes[head]), 0)
        probability = shares[word][head].exp() * relations.max()
        tree.append([head, relations.argmax().item(), probability.item()])
    trees.append(tree)
loss = torch.stack(losses).mean()
gradients = dict(zip(inputs, torch.autograd.grad(loss, list(inputs.values()))))


def casing(lemma):
    """The places where capitals begin and end, from the end in the second half."""
    large = [c != c.lower() for c in lemma]
    turns = [i for i in range(len(lemma)) if i == 0 or large[i] != large[i - 1]]
    return "¦".join(("↑" if large[i] else "↓") + str(i if i <= len(lemma) // 2 else i - len(lemma)) for i in turns)


def lemma_script(form, lemma):
    """The rules of UDPipe 2 and udify, without copies and with the form's capitals where they are right, by trying every
    common part, the longest first."""
    start, cased, target, form, lemma = casing(lemma), form, lemma, form.lower(), lemma.lower()
    for n in range(min(len(form), len(lemma)), 0, -1):
        for at in range(len(lemma) - n + 1):
            kept = lemma[at:at + n]
            if kept in form:
                before, behind = form.split(kept, 1)
                as_form = lemma[:at] + cased[len(before):len(cased) - len(behind)] + lemma[at + n:]
                if start != "↓0" and as_form == target:
                    start = "↕"
                change = lambda old, new: "".join("+" + c for c in new) + "-" * len(old)
                return f"{start};d{change(before, lemma[:at])}¦{change(behind, lemma[at + n:])}"
    return f"{start};a{lemma}"


FORMS = """forces force|killed kill|was be|is be|Al-Zaman Al-Zaman|US US|U.S. U.S.|went go|children child|better good|n't not
McDonald's McDonald|iPhones iPhone|eBay eBay|studies study|running run|ran run|DON'T do|gesehen sehen|aufgegeben aufgeben
Häuser Haus|Straßen Straße|ÉTÉ été|nejlepší dobrý|μέρες μέρα|книги книга|東京 東京|+1 +1|a-b a-b|a¦b a¦b|x;y x;y|=s =s
aab aba|abab ba|a a|A a|a A|ABCdef abcDEF|_ _|'s be|'s 's|ca can|wo will|mice mouse|LaTeX LaTeX|2nd 2nd|dz DZ"""


def lemma_cases(rng):
    for pair in FORMS.replace("\n", "|").split("|"):
        yield pair.split(" ")
    for _ in range(300):
        yield ["".join(rng.choices("abAB+-¦;é東", k=rng.randrange(1, 8))) for _ in range(2)]


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")
    print(path.relative_to(CRATES.parent))


write(CRATES / "metrics/tests/fixtures/arcs.json", list(arc_cases(random.Random(7))))
write(CRATES / "tasks/tests/fixtures/parsing.json", {
    "hidden": HIDDEN, "words": WORDS, "arc_width": ARC, "relation_width": RELATION, "items": len(losses),
    "inputs": {name: value.flatten().tolist() for name, value in inputs.items()},
    "arcs": {str(row): arcs for row, arcs in ARCS.items()},
    "loss": {"loss": loss.item(), "gradients": {name: g.flatten().tolist() for name, g in gradients.items()}},
    "trees": trees,
})
pairs = [(form, lemma) for form, lemma in lemma_cases(random.Random(8))]
write(CRATES / "tasks/tests/fixtures/lemmas.json", [[form, lemma, lemma_script(form, lemma)] for form, lemma in pairs])
