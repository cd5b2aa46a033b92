"""The difference of two ways of training with its confidence interval, in numpy and scipy: what `metrics::Difference` computes."""
import numpy as np
from scipy import stats


def difference(values, resampled, rows):
    """`values` [S] differences on all rows, `resampled` [S][samples] on bootstrap samples of the rows."""
    values, resampled = np.asarray(values, float), np.asarray(resampled, float)
    seeds, mean = len(values), float(values.mean())
    of_mean = float(resampled.mean(axis=0).var(ddof=1))
    if seeds == 1:
        total, df = of_mean, rows - 1
    else:
        over_seeds = float(values.var(ddof=1) / seeds)
        interaction = max(0.0, (float(resampled.var(axis=1, ddof=1).mean()) - of_mean) / (seeds - 1))
        total = max(over_seeds + of_mean - interaction, over_seeds, of_mean)
        rest = total - over_seeds
        df = total**2 / (over_seeds**2 / (seeds - 1) + rest**2 / (rows - 1))
    error = total**0.5
    low, high = (float(edge) for edge in stats.t.interval(0.95, df, loc=mean, scale=error))
    p_value = float(2 * stats.t.sf(abs(mean) / error, df))
    return {"mean": mean, "standard_error": error, "degrees_of_freedom": df, "interval": [low, high], "p_value": p_value}


def anova_variance(cells):
    """The variance of the mean of `cells` [S][rows], whose seeds and rows are crossed: by the mean squares of a two-way table."""
    cells = np.asarray(cells, float)
    (seeds, rows), grand = cells.shape, cells.mean()
    by_seed, by_row = cells.mean(axis=1), cells.mean(axis=0)
    seed_square = rows * ((by_seed - grand) ** 2).sum() / (seeds - 1)
    row_square = seeds * ((by_row - grand) ** 2).sum() / (rows - 1)
    rest = cells - by_seed[:, None] - by_row[None, :] + grand
    rest_square = (rest**2).sum() / ((seeds - 1) * (rows - 1))
    return float((seed_square + row_square - rest_square) / (seeds * rows))
