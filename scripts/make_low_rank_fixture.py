"""Writes crates/model/src/factorization/fixture.json: low-rank approximations of small weights by numpy, as SVD-LLM defines them.

    python scripts/make_low_rank_fixture.py

For a weight `[out, in]` and inputs `[tokens, in]`: the Cholesky factor S of X^T X, the singular value decomposition of W S, its
truncation, times S^-1; and the error on the inputs themselves, which never sees S. For a table: the singular value decomposition of its rows
times the roots of their weights.
"""

import json
import pathlib

import numpy as np

PATH = pathlib.Path(__file__).parent.parent / "crates/model/src/factorization/fixture.json"


def weight(rng, out, inputs, tokens, rank):
    w = rng.normal(size=(out, inputs)).astype(np.float32)
    # Inputs whose directions differ in size, and depend on each other.
    x = rng.normal(size=(tokens, inputs)) @ (rng.normal(size=(inputs, inputs)) * np.geomspace(1, 0.05, inputs))
    x = x.astype(np.float32)
    gram = x.astype(float).T @ x.astype(float)
    s = np.linalg.cholesky(gram)
    u, values, vt = np.linalg.svd(w.astype(float) @ s, full_matrices=False)
    best = (u[:, :rank] * values[:rank]) @ vt[:rank] @ np.linalg.inv(s)
    error = np.sum((x @ w.astype(float).T - x @ best.T) ** 2)
    assert np.isclose(error, np.sum(values[rank:] ** 2))
    return {
        "shape": [out, inputs], "rank": rank, "weight": w.ravel().tolist(), "gram": gram.ravel().tolist(),
        "product": best.ravel().tolist(), "energy": float(np.sum(values**2)), "lost": float(error),
    }


def table(rng, rows, columns, rank):
    w = rng.normal(size=(rows, columns)).astype(np.float32)
    weights = rng.integers(1, 40, size=rows).astype(float)
    root = np.sqrt(weights)[:, None]
    u, values, vt = np.linalg.svd(root * w.astype(float), full_matrices=False)
    best = (u[:, :rank] * values[:rank]) @ vt[:rank] / root
    error = np.sum(weights[:, None] * (w - best) ** 2)
    return {
        "shape": [rows, columns], "rank": rank, "weight": w.ravel().tolist(), "weights": weights.tolist(),
        "product": best.ravel().tolist(), "energy": float(np.sum(values**2)), "lost": float(error),
    }


def main():
    rng = np.random.default_rng(17)
    cases = {
        "weights": [weight(rng, 6, 9, 40, 3), weight(rng, 11, 7, 30, 4), weight(rng, 8, 8, 50, 8)],
        "tables": [table(rng, 20, 6, 3)],
    }
    PATH.write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
