"""Writes crates/metrics/tests/fixtures/differences.json: differences with their intervals, by numpy and scipy.

  pip install numpy scipy
  python scripts/make_comparison_fixtures.py
"""
import json
import sys
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "compare"))
from difference import anova_variance, difference  # noqa: E402

rng = np.random.default_rng(16)
cases = []
for seeds, rows, samples in ((1, 40, 30), (2, 30, 25), (3, 50, 40), (5, 200, 40), (3, 2, 25)):
    for of_seeds in (0.0, 0.02, 0.3):
        values = (rng.normal(0.01, 1, seeds) * of_seeds + rng.normal(0.05, 0.02, seeds)).round(6)
        resampled = (values[:, None] + rng.normal(0, 0.05, samples)[None, :] + rng.normal(0, 0.03, (seeds, samples))).round(6)
        cases.append({"values": values.tolist(), "resampled": resampled.tolist(), "rows": rows, "expected": difference(values, resampled, rows)})
tables = []
for seeds, rows, (of_seeds, of_rows) in ((3, 60, (0.1, 1.0)), (5, 40, (0.3, 0.2)), (4, 50, (0.2, 0.5))):
    cells = rng.normal(0, of_seeds, (seeds, 1)) + rng.normal(0, of_rows, (1, rows)) + rng.normal(0, 0.5, (seeds, rows))
    cells = cells.round(4)
    tables.append({"cells": cells.tolist(), "variance": anova_variance(cells)})
scores = [[round(float(x), 1) for x in rng.uniform(0, 1, 5)] for _ in range(12)]
ranks = np.mean([rankdata([-x for x in row]) for row in scores], axis=0).tolist()
out = ROOT.parent / "crates" / "metrics" / "tests" / "fixtures" / "differences.json"
out.write_text(json.dumps({"cases": cases, "tables": tables, "ranks": {"scores": scores, "expected": ranks}}))
print(out, len(cases), "cases")
