"""Rows to begin with: uniform ones, and ones that differ from a corner of the ranges in some columns."""

from __future__ import annotations

import numpy as np

from filch.core.features import FeatureSpace, Rows


def scatter(space: FeatureSpace, n: int, rng: np.random.Generator) -> Rows:
    """Rows, three quarters of them uniform, the others a corner in which a random share of the columns is; shuffled.

    Real tables hold many columns that are mostly at one end of their range. A class that lives there is hardly met
    by uniform rows: all columns of such a row would have to be at their end at once. Categories are uniform.
    """
    rows = space.sample(n, rng)
    k = n // 4
    lowest = rng.random((k, 1)) < 0.5  # all columns at their low end, or each at either
    high = (rng.random((k, len(space))) < rng.random((k, 1))) & ~lowest
    corner = np.where(high, space.high, space.low)
    stays = (rng.random((k, len(space))) < rng.random((k, 1))) & ~space.categorical
    rows[:k] = np.where(stays, corner, rows[:k])
    return rng.permutation(space.snap(rows))
