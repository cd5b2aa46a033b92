"""Writes crates/balance/tests/fixtures/uncertainty.json: uncertainty weighting as PyTorch's autograd and Adam do it, in
float64. A task that is absent from a step has no gradient, and torch.optim.Adam leaves it and its state alone.

And peers.json: what TorchJD's aggregators, weightings and scalarizers answer to a few steps each, in float64, and for four
methods that it lacks or reads differently what their formulas, written in PyTorch, answer. `method` is our config; a step has what the method
looks at (`losses`, `rows`, `second` for the other half's rows) and `weights` or a `direction`. `tolerance` is relative to the
largest number: f64's rounding, or how near to its own optimum the peer stops, what it adds to denominators, or the f32 in which
gradients are handed to us.

  pip install torch "torchjd[full]==0.18.0"
  python scripts/make_balance_fixtures.py
"""
import json
import random
from pathlib import Path

import torch
import torchjd.aggregation as agg
import torchjd.scalarization as sca
from torchjd.aggregation._utils.simplex import project_onto_simplex

FOLDER = Path(__file__).resolve().parent.parent / "crates" / "balance" / "tests" / "fixtures"


def case(rng, tasks, steps, initial, learning_rate, absent):
    s = [torch.tensor(initial, dtype=torch.float64, requires_grad=True) for _ in range(tasks)]
    adam = torch.optim.Adam(s, lr=learning_rate, betas=(0.9, 0.999), eps=1e-8)
    losses, weights = [], []
    for _ in range(steps):
        row = [None if rng.random() < absent else 10 ** rng.uniform(-3, 2) for _ in range(tasks)]
        adam.zero_grad(set_to_none=True)
        terms = [0.5 * torch.exp(-s_i) * l + 0.5 * s_i for s_i, l in zip(s, row) if l is not None]
        weights.append([0.0 if l is None else 0.5 * torch.exp(-s_i).item() for s_i, l in zip(s, row)])
        losses.append(row)
        if terms:
            sum(terms).backward()
            adam.step()
    return {"initial": initial, "learning_rate": learning_rate, "losses": losses, "weights": weights, "s": [v.item() for v in s]}


rng = random.Random(3)
cases = [
    case(rng, 3, 60, 0.0, 0.01, 0.0),
    case(rng, 4, 60, -0.5, 0.1, 0.4),
    case(rng, 1, 20, 2.0, 0.5, 0.2),
]
FOLDER.mkdir(parents=True, exist_ok=True)
lines = ",\n".join(json.dumps(c) for c in cases)
(FOLDER / "uncertainty.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")

torch.set_default_dtype(torch.float64)

EXACT = 1e-12
# What TorchJD adds to the diagonal; our default is 0.
REGULARIZED = {"regularization": 1e-4}


def matrix(seed, tasks, columns, scales=None):
    """Normal numbers that are exact in f32."""
    g = torch.Generator().manual_seed(seed)
    m = torch.randn(tasks, columns, generator=g)
    if scales is not None:
        m = m * torch.tensor(scales)[:, None]
    return m.float().double()


MATRICES = {
    "two": matrix(1, 2, 5),
    "three": matrix(2, 3, 6, [1.0, 2.0, 0.5]),
    "five": matrix(3, 5, 8, [1.0, 3.0, 0.3, 1.0, 2.0]),
    "conflict": torch.tensor([[1.0, 0.5, 0.0, 0.25], [-1.0, 0.25, 0.5, 0.0], [0.25, -1.0, 0.5, 0.125]]),
}
IMPORTANCE = torch.tensor([1.0, 2.0, 0.5])
LOSSES = [[10 ** rng.uniform(-1, 1) for _ in range(3)] for _ in range(8)]
peers = []


def add(name, method, steps, tolerance, importance=None):
    peer = {"name": name, "method": method, "tolerance": tolerance, "steps": steps}
    if importance is not None:
        peer["importance"] = importance.tolist()
    peers.append(peer)


def gramian(name, method, weighting, tolerance, matrices=MATRICES, importance=None):
    for key, j in matrices.items():
        steps = [{"rows": j.tolist(), "weights": weighting(j @ j.T).tolist()}]
        add(f"TorchJD {name}, {key}", method, steps, tolerance, importance)


gramian("MGDA", {"mgda": {}}, agg.MGDAWeighting(epsilon=1e-12, max_iters=20000), 2e-3)
gramian("UPGrad", {"upgrad": REGULARIZED}, agg.UPGradWeighting(), EXACT)
gramian("DualProj", {"dualproj": REGULARIZED}, agg.DualProjWeighting(), EXACT)
for c in [0.4, 1.0]:
    gramian(f"CAGrad {c}", {"cagrad": {"c": c, "rescale": "none"}}, agg.CAGradWeighting(c=c), 5e-5)
gramian("IMTL-G", {"imtl_g": {}}, agg.IMTLGWeighting(), EXACT)
for mode in ["min", "median", "rmse"]:
    gramian(f"Aligned-MTL {mode}", {"aligned_mtl": {"scale": mode}}, agg.AlignedMTLWeighting(scale_mode=mode), EXACT)
for alpha in [0.5, 1.0, 2.0]:
    gramian(f"FairGrad {alpha}", {"fairgrad": {"alpha": alpha}}, agg.FairGradWeighting(alpha=alpha), 1e-8)
for key, j in MATRICES.items():
    add(f"TorchJD ConFIG, {key}", {"config": {}}, [{"rows": j.tolist(), "direction": agg.ConFIG()(j).tolist()}], EXACT)
    nash = agg.NashMTL(n_tasks=len(j), max_norm=1.0, update_weights_every=1, optim_niter=100)
    add(f"TorchJD Nash-MTL, {key}", {"nash_mtl": {}}, [{"rows": j.tolist(), "direction": nash(j).tolist()}], 1e-6)
# With two tasks there is one order only.
gramian("PCGrad", {"pcgrad": {}}, agg.PCGradWeighting(), EXACT, {"two": MATRICES["two"]})

# Preferences: our importance.
conflict = {"conflict": MATRICES["conflict"]}
for name, method, weighting in [
    ("UPGrad", {"upgrad": REGULARIZED}, agg.UPGradWeighting(pref_vector=IMPORTANCE / 3)),
    ("DualProj", {"dualproj": REGULARIZED}, agg.DualProjWeighting(pref_vector=IMPORTANCE / 3)),
    ("Aligned-MTL", {"aligned_mtl": {}}, agg.AlignedMTLWeighting(pref_vector=IMPORTANCE / 3)),
]:
    gramian(f"{name} with preference", method, weighting, EXACT, conflict, IMPORTANCE)
j = MATRICES["conflict"]
of = [{"rows": j.tolist(), "direction": agg.ConFIG(pref_vector=IMPORTANCE)(j).tolist()}]
add("TorchJD ConFIG with preference, conflict", {"config": {}}, of, EXACT, IMPORTANCE)

# Methods with state, step after step.
steps = [matrix(10 + t, 2, 5) for t in range(6)]
for name, method, weighting, tolerance in [
    ("GradVac", {"gradvac": {}}, agg.GradVacWeighting(), 2e-8),
    ("CR-MOGM", {"cr_mogm": {"method": {"upgrad": REGULARIZED}}}, agg.CRMOGMWeighting(agg.UPGradWeighting()), EXACT),
]:
    of = [{"rows": j.tolist(), "weights": weighting(j @ j.T).tolist()} for j in steps]
    add(f"TorchJD {name}", method, of, tolerance)
# Two estimates of one gradient: TorchJD divides by 1e-8 where no task's product is above 0, ours then stays where it is.
halves = [(matrix(30 + t, 3, 6), (matrix(30 + t, 3, 6) + 0.5 * matrix(40 + t, 3, 6)).float().double()) for t in range(5)]
for name, method, weighting, tolerance in [
    ("MoDo", {"modo": {"gamma": 0.1}}, agg.MoDoWeighting(), EXACT),
    ("SDMGrad", {"sdmgrad": {}}, agg.SDMGradWeighting(lr=5.0), 1e-6),
    ("SDMGrad, slow", {"sdmgrad": {"learning_rate": 0.05}}, agg.SDMGradWeighting(lr=0.05), 5e-9),
]:
    of = [{"rows": a.tolist(), "second": b.tolist(), "weights": weighting(a @ b.T).tolist()} for a, b in halves]
    add(f"TorchJD {name}", method, of, tolerance)
# As LibMTL writes it: the first call only stores the excess risks. TorchJD puts them into its weights.
squares, of = torch.zeros(3, 6), []
for t, (a, _) in enumerate(halves):
    squares = squares + a**2
    excess = (a**2 / (squares + 1e-7).sqrt()).sum(dim=1)
    if t == 0:
        initial, weights = excess, torch.ones(3)
    else:
        weights = weights * torch.exp(0.1 * excess / initial)
        weights = 3 * weights / weights.sum()
    of.append({"rows": a.tolist(), "weights": weights.tolist()})
add("LibMTL ExcessMTL", {"excess_mtl": {"eta": 0.1}}, of, 1e-7)


def scalarized(name, method, scalarizer, tolerance, after=lambda losses: None, importance=None):
    """The gradient of the scalar with respect to the losses; `after` is handed the losses of the next step."""
    of = []
    for row, following in zip(LOSSES, LOSSES[1:] + [None]):
        losses = torch.tensor(row, requires_grad=True)
        scalarizer(losses).backward()
        of.append({"losses": row, "weights": losses.grad.tolist()})
        if following is not None:
            after(torch.tensor(following))
    add(f"TorchJD {name}", method, of, tolerance, importance)


def learned(scalarizer):
    """The scalarizer's parameters take an Adam step after each of ours."""
    adam = torch.optim.Adam(scalarizer.parameters(), lr=0.01)

    def after(_):
        adam.step()
        adam.zero_grad()

    return after


fixed = {f"t{i}": weight for i, weight in enumerate(IMPORTANCE.tolist())}
scalarized("Sum", {"equal": {}}, sca.Sum(), EXACT)
scalarized("Constant", {"static": {"weights": fixed}}, sca.Constant(IMPORTANCE), EXACT)
scalarized("COSMOS", {"cosmos": {"lambda": 2.0}}, sca.COSMOS(2.0, IMPORTANCE), EXACT, importance=IMPORTANCE)
scalarized("PBI", {"pbi": {}}, sca.PBI(5.0, IMPORTANCE), 1e-11, importance=IMPORTANCE)
share = IMPORTANCE / IMPORTANCE.sum()
scalarized("STCH", {"stch": {"mu": 0.5}}, sca.STCH(0.5, share), EXACT, importance=IMPORTANCE)
scalarized("GLS", {"gls": {}}, sca.GeometricMean(), EXACT)
famo = sca.FAMO(3)
scalarized("FAMO", {"famo": {}}, famo, EXACT, famo.update)
for name, method, scalarizer in [("IMTL-L", "imtl_l", sca.IMTLL(3)), ("UW", "uncertainty", sca.UW(3))]:
    scalarized(name, {method: {}}, scalarizer, EXACT, learned(scalarizer))

dwa = sca.DWA()
of = []
for t, row in enumerate(LOSSES):
    losses = torch.tensor(row, requires_grad=True)
    dwa(losses).backward()
    of.append({"losses": row, "weights": losses.grad.tolist(), "epoch_end": t % 2 == 1})
    if t % 2 == 1:
        dwa.step()
add("TorchJD DWA", {"dwa": {}}, of, EXACT)

# GradNorm: autograd over theta, as LibMTL writes it; norms in units of the longest gradient, as ours.
theta = torch.zeros(3, requires_grad=True)
adam = torch.optim.Adam([theta], lr=0.025)
of = []
for row, j in zip(LOSSES, [matrix(50 + t, 3, 6) for t in range(8)]):
    w = 3 * torch.softmax(theta, 0)
    norms = torch.linalg.norm(w[:, None] * j, dim=1) / torch.linalg.norm(j, dim=1).max()
    rates = torch.tensor(row) / torch.tensor(LOSSES[0])
    target = (norms.mean() * (rates / rates.mean()) ** 1.5).detach()
    adam.zero_grad()
    (norms - target).abs().sum().backward()
    of.append({"losses": row, "rows": j.tolist(), "weights": w.tolist()})
    adam.step()
add("LibMTL GradNorm", {"gradnorm": {}}, of, EXACT)

# DB-MTL as LibMTL writes it, and MoCo as its paper does.
y, shares, buffer = torch.zeros(3, 6), torch.ones(3) / 3, torch.zeros(3, 6)
moco, db = [], []
for t, (row, j) in enumerate(zip(LOSSES, [matrix(60 + t, 3, 6) for t in range(8)]), 1):
    y = y - 0.5 / t**0.5 * (y - j)
    shares = project_onto_simplex(shares - 0.1 / t**0.5 * (y @ y.T) @ shares)
    moco.append({"losses": row, "rows": j.tolist(), "weights": shares.tolist(), "direction": (y.T @ shares).tolist()})
    g = j / (torch.tensor(row) + 1e-8)[:, None]
    buffer = g + 0.9 / t**0.25 * (buffer - g)
    norms = buffer.norm(dim=1)
    db.append({"losses": row, "rows": j.tolist(), "direction": ((norms.max() / norms)[:, None] * buffer).sum(0).tolist()})
add("MoCo", {"moco": {}}, moco, 1e-6)
add("LibMTL DB-MTL", {"db_mtl": {"beta": 0.9, "sigma": 0.25}}, db, 1e-6)

lines = ",\n".join(json.dumps(p) for p in peers)
(FOLDER / "peers.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
