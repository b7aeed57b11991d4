"""Rows on the curved boundaries of polynomials, for `halfspace` of a higher degree.

Along a straight line a polynomial of degree k is one in a single number: k + 1 values tell it, and halving finds where
it changes sign. Of the rows where it does so on a few dozen random lines, the one that tells most is asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filch.core.features import Rows
from filch.models.polynomial import Monomials

Floats = npt.NDArray[np.float64]
_LINES = 96  # whose boundary rows are chosen from
_PLACES = 9  # on each, between which a change of sign is looked for
_HALVINGS = 50


@dataclass(eq=False)
class Crossings:
    """Makes rows close to boundaries of polynomials.

    Parameters
    ----------
    design : Monomials
    """

    design: Monomials

    def __post_init__(self) -> None:
        space = self.design.space
        self.moves = (space.high > space.low) & (space.grid == 0)  # columns that a line may move along

    def rows(self, mean: Floats, ways: Floats, deviation: float, rng: np.random.Generator) -> Rows:
        """Rows (n, d) with a score near 0 under ``mean`` (p,), on random lines; a uniform row where a line has none."""
        space, degree = self.design.space, self.design.degree
        start, end = space.sample(_LINES, rng), space.sample(_LINES, rng)
        ends = np.where(rng.random(end.shape) < 0.5, space.low, space.high)
        end[::2] = ends[::2]  # a half of them towards corners, where monomials are largest
        end = np.where(self.moves, end, start)
        nodes = 0.5 - 0.5 * np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
        asked = (start + nodes[:, None, None] * (end - start)).reshape(-1, len(space))
        values = (self.design.matrix(asked) @ mean).reshape(degree + 1, _LINES)
        powers = np.linalg.solve(np.vander(nodes, increasing=True), values)  # (degree + 1, lines)

        def score(share: Floats) -> Floats:  # (…, lines)
            total = np.zeros_like(share)
            for power in powers[::-1]:
                total = total * share + power
            return total

        places = np.repeat(np.linspace(0.0, 1.0, _PLACES)[:, None], _LINES, axis=1)
        above = score(places) > 0
        change = above[1:] != above[:-1]
        crossed = change.any(axis=0)
        # Of several changes of sign any one.
        first = np.where(change, rng.random(change.shape), -1.0).argmax(axis=0)
        each = np.arange(_LINES)
        low, high, side = places[first, each], places[first + 1, each], above[first, each]
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            same = (score(middle) > 0) == side
            low, high = np.where(same, middle, low), np.where(same, high, middle)
        share = np.where(crossed, (low + high) / 2, 0.0)
        return np.clip(start + share[:, None] * (end - start), space.low, space.high)

    def near(self, rows: Rows, mean: Floats, deviation: float) -> Rows:
        """The rows as they are: there are others."""
        return rows
