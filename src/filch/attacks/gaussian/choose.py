"""Rows to ask: some from everywhere, and some where a score function is 0."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from filch.attacks.committees.spread import indicators
from filch.core.features import FeatureSpace, Rows

Floats = npt.NDArray[np.float64]
_HALVINGS = 12  # of a segment, down to the score's zero


def abroad(space: FeatureSpace, n: int, edges: float, rng: np.random.Generator) -> Rows:
    """Uniform rows, and a share of rows at the ends of all ranges; of shape (n, d).

    Of those each has its own part of low ends, so that sparse rows, as one-hot encoding makes them, are among them.
    Where columns are named as indicators of categories, three of four hold one category of each, and half of these
    have numbers within their ranges.
    """
    rows = space.sample(n, rng)
    count = round(n * edges)
    ends = np.where(rng.random((count, len(space))) < rng.random((count, 1)), space.low, space.high)
    blocks = indicators(space)
    if blocks:
        kind = np.arange(count) % 4
        inner = np.where((kind % 2 == 1)[:, None], rows[n - count :], ends)
        hold = np.flatnonzero(kind)
        ends = np.where((kind == 0)[:, None], ends, inner)
        for block in blocks:
            ends[np.ix_(hold, block)] = space.low[block]
            ends[hold, rng.choice(block, size=len(hold))] = space.high[block[0]]
    rows[n - count :] = np.where(space.categorical, rows[n - count :], space.snap(ends))
    return rows


def zeros(space: FeatureSpace, score: Callable[[Rows], Floats], ends: Rows, n: int, rng: np.random.Generator) -> Rows:
    """Rows between two of ``ends`` whose scores differ in sign, as near to 0 as steps allow; of shape (≤ n, d).

    Along a segment numbers move, and each category switches once, at a random place.

    Parameters
    ----------
    space : FeatureSpace
    score : callable
        Of coded rows (n, d), of shape (n,).
    ends : (m, d)
    n : int
    rng : Generator
    """
    positive = score(ends) > 0
    if positive.all() or not positive.any():
        return ends[:0]
    a, b = ends[rng.choice(np.flatnonzero(positive), n)], ends[rng.choice(np.flatnonzero(~positive), n)]
    switch = rng.random(a.shape)
    low, high = np.zeros(n), np.ones(n)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = score(_between(space, a, b, middle, switch)) > 0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return _between(space, a, b, np.where(rng.random(n) < 0.5, low, high), switch)


def unseen(rows: Rows, seen: set[bytes]) -> Rows:
    """The rows that are not in ``seen``, each once."""
    fresh = dict.fromkeys(row.tobytes() for row in rows)
    return np.array([np.frombuffer(key) for key in fresh if key not in seen]).reshape(-1, rows.shape[1])


def _between(space: FeatureSpace, a: Rows, b: Rows, share: Floats, switch: Rows) -> Rows:
    moved = a + share[:, None] * (b - a)
    return space.snap(np.where(space.categorical, np.where(share[:, None] > switch, b, a), moved))
