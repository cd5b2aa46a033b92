"""Writes crates/balance/tests/fixtures/fairgrad.json and excess_mtl.json.

fairgrad.json: FairGrad's equations `(G w)_i = w_i^(-1/alpha)` solved in 180 digits, for alphas from 0.1 to 20 and gradients that
conflict, differ in length by up to 10^8 or nearly cancel. By Newton's method with a line search on the convex function whose gradient
is the difference of the two sides, along a path of exponents from 1 to `1/alpha`. What is written has been put into the equations:
they hold to 1e-100.

excess_mtl.json: LibMTL's ExcessMTL (`LibMTL/weighting/ExcessMTL.py`), as its formula in 50 digits: the first call stores the
excess risks and weighs all tasks alike.

  pip install mpmath
  python scripts/make_balance_exact_fixtures.py
"""
import json
import random
from pathlib import Path

from mpmath import matrix, mp, mpf, exp, log, lu_solve, sqrt

FOLDER = Path(__file__).resolve().parent.parent / "crates" / "balance" / "tests" / "fixtures"
ALPHAS = ["0.1", "0.2", "0.5", "1", "2", "5", "10", "20"]
# Of the path of exponents.
STEPS = 20


def gramian(rows):
    return [[sum((mpf(x) * mpf(y) for x, y in zip(a, b)), mpf(0)) for b in rows] for a in rows]


def residuals(g, w, power):
    """Both sides of the equations times w: `w_i (G w)_i - w_i^(1 - power)`, and the second terms."""
    pushes = [v ** (1 - power) for v in w]
    products = [sum(a * b for a, b in zip(row, w)) for row in g]
    return [v * p - q for v, p, q in zip(w, products, pushes)], pushes


def value(g, w, power):
    """The convex function whose gradient is the difference of the two sides."""
    square = sum(v * sum(a * b for a, b in zip(row, w)) for v, row in zip(w, g))
    barrier = (lambda v: log(v)) if power == 1 else (lambda v: v ** (1 - power) / (1 - power))
    return square / 2 - sum(barrier(v) for v in w)


def newton(g, w, power):
    n = len(w)
    for _ in range(1000):
        rest, pushes = residuals(g, w, power)
        if max(abs(r / q) for r, q in zip(rest, pushes)) < mpf(10) ** -110:
            return w
        # In the relative unknowns `v = dw / w`: the Hessian, scaled by w on both sides.
        hessian = matrix(n, n)
        for i in range(n):
            for j in range(n):
                hessian[i, j] = w[i] * g[i][j] * w[j]
            hessian[i, i] += power * pushes[i]
        v = lu_solve(hessian, matrix([-r for r in rest]))
        descent = sum(r * u for r, u in zip(rest, v))
        step = min([mpf(1)] + [mpf("0.9") / -u for u in v if u < 0])
        before = value(g, w, power)
        # Near the solution the function is too flat to compare; there whole steps are right.
        while -descent > mpf(10) ** -60 and value(g, [a * (1 + step * u) for a, u in zip(w, v)], power) > before + step * descent / 4:
            step /= 2
        w = [a * (1 + step * u) for a, u in zip(w, v)]
    raise ArithmeticError("no convergence")


def fairgrad(rows, alpha):
    g = gramian(rows)
    power = 1 / mpf(alpha)
    w = newton(g, [1 / sqrt(g[i][i]) for i in range(len(rows))], mpf(1))
    for step in range(1, STEPS + 1):
        w = newton(g, w, power ** (mpf(step) / STEPS))
    rest, pushes = residuals(g, w, power)
    assert max(abs(r / q) for r, q in zip(rest, pushes)) < mpf(10) ** -100
    direction = [sum(w[i] * mpf(rows[i][k]) for i in range(len(rows))) for k in range(len(rows[0]))]
    return [float(v) for v in w], [float(d) for d in direction]


def near(rng, base, distance):
    """A gradient `distance` from `base`."""
    return [b + distance * rng.gauss(0, 1) for b in base]


def problems():
    rng = random.Random(11)
    gauss = lambda tasks, length: [[rng.gauss(0, 1) for _ in range(length)] for _ in range(tasks)]
    opposed = lambda tasks, length, mean: [
        near(rng, [mean * (-1) ** i] + [0] * (length - 1), 1.0) for i in range(tasks)
    ]
    yield "random, 3", gauss(3, 6)
    yield "random, 6", gauss(6, 8)
    yield "two, cosine -0.9", [[1.0, 0.0], [-0.9, 0.43588989435406744]]
    yield "two, cosine -0.9, a thousand times longer", [[1000.0, 0.0], [-0.9, 0.43588989435406744]]
    yield "opposed, 4", opposed(4, 6, 2.0)
    yield "opposed, 8", opposed(8, 12, 3.0)
    base = gauss(1, 6)[0]
    yield "nearly cancelling, 1e-2", [base, near(rng, [-b for b in base], 1e-2)]
    yield "nearly cancelling, 1e-4", [base, near(rng, [-b for b in base], 1e-4)]
    yield "nearly parallel, 1e-4, and one against them", [base, near(rng, base, 1e-4), near(rng, [-b for b in base], 0.5)]
    three = gauss(2, 5)
    three.append([-a - b + 1e-2 * rng.gauss(0, 1) for a, b in zip(*three)])
    yield "three whose sum nearly cancels", three
    scaled = [[x * 10.0 ** (4 * (i % 3) - 4) for x in row] for i, row in enumerate(opposed(5, 8, 2.0))]
    yield "opposed, 5, of lengths 1e-4 to 1e4", scaled
    yield "random, 7, of lengths 1e-4 to 1e4", [[x * 10.0 ** (4 * (i % 3) - 4) for x in row] for i, row in enumerate(gauss(7, 12))]
    yield "random, 4, of lengths 0.1 to 10", [[x * 10.0 ** (i % 3 - 1) for x in row] for i, row in enumerate(gauss(4, 12))]
    yield "opposed, 8, of lengths 0.1 to 10", [[x * 10.0 ** (i % 3 - 1) for x in row] for i, row in enumerate(opposed(8, 12, 30.0))]


def excess_mtl(rows_of_steps, eta):
    tasks = len(rows_of_steps[0])
    sums = [[mpf(0)] * len(rows_of_steps[0][0]) for _ in range(tasks)]
    weights, initial, out = [mpf(1)] * tasks, None, []
    for rows in rows_of_steps:
        excess = []
        for task, row in enumerate(rows):
            sums[task] = [s + mpf(g) ** 2 for s, g in zip(sums[task], row)]
            excess.append(sum(mpf(g) ** 2 / sqrt(s + mpf("1e-7")) for s, g in zip(sums[task], row)))
        if initial is None:
            initial = excess
        else:
            weights = [w * exp(mpf(eta) * e / first) for w, e, first in zip(weights, excess, initial)]
            weights = [tasks * w / sum(weights) for w in weights]
        out.append({"rows": rows, "weights": [float(w) for w in weights]})
    return {"eta": float(eta), "steps": out}


def write(name, cases):
    lines = ",\n".join(json.dumps(case) for case in cases)
    (FOLDER / name).write_text(f"[\n{lines}\n]\n", encoding="utf-8")


mp.dps = 180
cases = []
for name, rows in problems():
    answers = []
    for alpha in ALPHAS:
        weights, direction = fairgrad(rows, alpha)
        answers.append({"alpha": float(alpha), "weights": weights, "direction": direction})
    cases.append({"name": name, "rows": rows, "answers": answers})
write("fairgrad.json", cases)

mp.dps = 50
rng = random.Random(12)
# Multiples of 1/64, which f32 holds exactly; the second task's gradients are a thousand times as long as the first one's.
step = lambda: [[rng.randint(-64, 64) / 64 * size for _ in range(5)] for size in (0.015625, 16.0, 1.0)]
golden = [[[2.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [2.0, 0.0]]]
write("excess_mtl.json", [excess_mtl(golden, "1"), excess_mtl([step() for _ in range(12)], "0.01"), excess_mtl([step() for _ in range(6)], "0.5")])
