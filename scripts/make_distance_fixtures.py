"""Writes crates/metrics/tests/fixtures/{logistic,distances}.json: scikit-learn's logistic regressions, and proxy A-distances
made with them.

  pip install scikit-learn
  python scripts/make_distance_fixtures.py
"""
import json
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

FOLDER = Path(__file__).resolve().parent.parent / "crates" / "metrics" / "tests" / "fixtures"


def fit(points, classes, c):
    return LogisticRegression(C=c, tol=1e-12, max_iter=100_000, solver="newton-cholesky").fit(points, classes)


def short(points):
    """Numbers of few digits, for small files."""
    return np.round(points, 3)


def logistic_case(rng, n, features, apart, c, share=0.5):
    classes = np.arange(n) < max(1, int(share * n))
    points = short(rng.normal(size=(n, features)) + apart * classes[:, None] * rng.normal(size=features))
    model = fit(points, classes, c)
    return {
        "points": points.tolist(), "classes": classes.tolist(), "c": c,
        "weights": model.coef_[0].tolist(), "intercept": float(model.intercept_[0]),
    }


def distance(first, second):
    """As `crates/metrics/src/numbers/proxy_a_distance.rs` says."""
    n = min(len(first), len(second))
    first, second = np.float64(first[:n]), np.float64(second[:n])
    halves = [slice(0, n // 2), slice(n // 2, n)]
    wrong = 0
    for fitted, judged in (halves, halves[::-1]):
        points = np.concatenate([first[fitted], second[fitted]])
        classes = np.repeat([1, 0], [len(first[fitted]), len(second[fitted])])
        mean = points.mean(0)
        norm = np.sqrt(((points - mean) ** 2).sum(1).mean())
        model = fit((points - mean) / norm, classes, 10.0)
        for judged_points, truth in ((first[judged], 1), (second[judged], 0)):
            wrong += int((model.predict((judged_points - mean) / norm) != truth).sum())
    error = wrong / (2 * n)
    return {"error": error, "distance": max(0.0, 2 * (1 - 2 * error)), "points": n}


def distance_case(rng, rows, features, apart):
    first = short(rng.normal(size=(rows[0], features)))
    second = short(rng.normal(size=(rows[1], features)) + apart * np.eye(features)[0])
    # The points are read as numbers of 32 bits.
    return {"first": first.tolist(), "second": second.tolist(), **distance(np.float32(first), np.float32(second))}


def main():
    rng = np.random.default_rng(17)
    logistic = [
        logistic_case(rng, n, features, apart, c, share)
        for n, features in ((12, 1), (30, 4), (40, 60))
        for apart in (0.0, 0.5, 4.0)
        for c, share in ((0.01, 0.5), (1.0, 0.5), (100.0, 0.2))
    ]
    distances = [
        distance_case(rng, rows, features, apart)
        for rows, features in (((20, 20), 2), ((41, 60), 8))
        for apart in (0.0, 1.0, 2.0, 8.0)
    ]
    for name, cases in (("logistic", logistic), ("distances", distances)):
        (FOLDER / f"{name}.json").write_text(json.dumps(cases) + "\n")
        print(name, len(cases), "cases")


if __name__ == "__main__":
    main()
