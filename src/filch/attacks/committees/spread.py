"""Where a committee looks for rows: uniform ones, and ones spread out as real data often are."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import numpy.typing as npt

from filch.core.columns import Numeric
from filch.core.features import FeatureSpace, Rows

_ENDS = 0.3  # of the numbers of records: at the lower end, as gains and counts often are


def spread(space: FeatureSpace, n: int, rng: np.random.Generator) -> Rows:
    """Draw n rows that lie nearer the edges of the space than uniform ones do; shape (n, d).

    In many columns, uniform rows are all alike: each sum over the columns is near its mean. Real rows are often sparse,
    or lie at corners. Of each four rows one is uniform in a few numeric columns and at their lower ends elsewhere; one
    is at the higher end in a few, and one in a random share; in one, columns lean low or high together. Categories are
    uniform. Where columns are named as indicators of categories, each row holds one category of each attribute, as
    records do, and in every second row each number leans low or high by itself, or is at its lower end.
    """
    low, high, d = space.low, space.high, len(space)
    uniform = space.sample(n, rng)
    few = np.exp(rng.uniform(-math.log(d), 0.0, size=(n, 1)))  # the share of columns that move
    share = np.where((np.arange(n) % 4 == 2)[:, None], rng.random((n, 1)), few)
    moves = rng.random((n, d)) < share
    lean = np.exp(rng.uniform(-2.0, 2.0, size=(n, 1)))
    kinds = [
        np.where(moves, uniform, low),
        np.where(moves, high, low),
        np.where(moves, high, low),
        low + (high - low) * rng.random((n, d)) ** lean,
    ]
    rows = np.select([(np.arange(n) % 4 == kind)[:, None] for kind in range(4)], kinds)
    blocks = indicators(space)
    if blocks:
        lean = np.exp(rng.uniform(-2.0, 2.0, size=(n, d)))
        own = np.where(rng.random((n, d)) < _ENDS, low, low + (high - low) * rng.random((n, d)) ** lean)
        rows = np.where((np.arange(n) // 4 % 2 == 1)[:, None], own, rows)
    for block in blocks:
        rows[:, block] = low[block]
        one = rng.choice(block, size=n)
        rows[np.arange(n), one] = high[one]
    return space.snap(np.where(space.categorical, uniform, rows))


def indicators(space: FeatureSpace) -> list[npt.NDArray[np.int64]]:
    """Neighbouring columns that stand for the categories of one attribute: from 0 to 1, ``sex=f`` beside ``sex=m``.

    Names may be parted by ``=`` or, as pandas and scikit-learn do, by the last ``_``.
    """
    stems = [
        found[1] if isinstance(feature, Numeric) and (feature.low, feature.high) == (0, 1) and found else None
        for feature in space.features
        for found in [re.match(r"([^=]+)=", feature.name) or re.match(r"(.+)_", feature.name)]
    ]
    runs = [list(run) for stem, run in itertools.groupby(range(len(stems)), key=stems.__getitem__) if stem is not None]
    return [np.array(run) for run in runs if len(run) > 1]
