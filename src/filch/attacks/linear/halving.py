"""Rows on a boundary, inside the ranges, on the grid and in the vocabulary, that tell most of a linear model.

Among rows with ``m·x = 0`` one wants a large ``g·x``. Over ranges and categories the row with the largest
``cos φ g·x − sin φ m·x`` is found column by column; the φ at which ``m·x`` changes sign is found by halving, and what
is then missing to 0 is made up for in single columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filch.attacks.linear.design import Design
from filch.core.features import Rows

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_HALVINGS = 40
_MENDS = 4  # columns that are changed one after the other so that a row comes to lie on the boundary
_NEAR = 0.03  # deviations: a score so close to 0 is as good as 0


@dataclass(eq=False)
class Halving:
    """Makes rows close to boundaries.

    Parameters
    ----------
    design : Design
    """

    design: Design

    def __post_init__(self) -> None:
        space, view = self.design.space, self.design.view
        d, categorical = len(space), space.categorical
        self.numeric = np.flatnonzero(~categorical & (space.high > space.low))
        self.whole = space.grid[self.numeric] > 0
        most = max(2, int(space.sizes.max(initial=0)))
        # The values that a column is moved to: its ends, or all its categories.
        self.values = np.tile(np.arange(float(most)), (d, 1))
        self.values[~categorical, :2] = np.column_stack([space.low, space.snap(space.high[None])[0]])[~categorical]
        self.there = np.arange(most) < np.where(categorical, space.sizes, 2)[:, None]
        place = np.full(view.width, -1)
        place[self.design.kept] = np.arange(len(self.design.kept))
        cell = view.starts[:, None] + np.where(categorical[:, None], np.arange(most), 0)
        self.place = place[np.minimum(cell, view.width - 1)]  # of the encoded column, among the kept ones
        amount = np.where(categorical[:, None], 1.0, (self.values - view.centre[:, None]) / view.scale[:, None])
        self.amount = np.where(self.there & (self.place >= 0), amount, 0.0)
        self.at, self.ends = self.place[self.numeric, 0], self.amount[self.numeric, :2]
        self.step = space.grid[self.numeric] / view.scale[self.numeric]

    def table(self, weights: Floats) -> Floats:
        """What each value of each column adds to a score, of shape (…, d, k), from weights (…, p)."""
        return np.asarray(weights[..., self.place] * self.amount)

    def rows(self, mean: Floats, ways: Floats, deviation: float, rng: np.random.Generator) -> Rows:
        """Rows (n, d) with a score near 0 under ``mean`` (p,) that lie far out along ``ways`` (n, p).

        Scores far below ``deviation`` are taken as 0. Where no row has a score of 0, the one that is closest.
        """
        n = len(ways)
        columns, length = np.arange(len(self.design.space)), float(np.linalg.norm(mean)) or 1.0
        score = self.table(mean / length)
        far = self.table(ways / np.maximum(np.linalg.norm(ways, axis=1), 1e-300)[:, None])

        def pick(angle: npt.ArrayLike) -> Ints:
            turn = np.asarray(angle)[:, None, None]
            return np.asarray(np.where(self.there, np.cos(turn) * far - np.sin(turn) * score, -np.inf).argmax(axis=2))

        low, high = np.full(n, -np.pi / 2), np.full(n, np.pi / 2)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            above = score[columns, pick(middle)].sum(axis=1) + mean[-1] / length > 0
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        rows = self.values[columns, pick(np.where(rng.random(n) < 0.5, low, high))]
        return self.mended(rows, mean, far, deviation)

    def near(self, rows: Rows, mean: Floats, deviation: float) -> Rows:
        """Move rows (n, d) to the boundary of ``mean``, or as near to it as a few columns bring them."""
        return self.mended(rows, mean, np.zeros((len(rows), *self.values.shape)), deviation)

    def mended(self, rows: Rows, mean: Floats, far: Floats, deviation: float) -> Rows:
        """Change single columns of rows (n, d) so that their scores come as near to 0 as they can.

        Of changes that do so equally well, the one that keeps most of ``far`` (n, d, k), what values add to ``g·x``.
        """
        rows, space, view = rows.copy(), self.design.space, self.design.view
        each, numeric = np.arange(len(rows)), self.numeric
        category, centre, scale = np.flatnonzero(space.categorical), view.centre[numeric], view.scale[numeric]
        score, near = self.table(mean)[category], max(_NEAR * deviation, 4e-16 * float(np.abs(mean).sum()))
        for _ in range(_MENDS):
            off = self.design.matrix(rows) @ mean
            moved, left, loss = self._numbers((rows[:, numeric] - centre) / scale, off, mean, far)
            if len(category):
                codes, block = rows[:, category].astype(np.int64), np.arange(len(category))
                change = off[:, None, None] + score - score[block, codes][:, :, None]
                gone = far[each[:, None], category, codes][:, :, None] - far[:, category]
                left = np.hstack([left, np.where(self.there[category], change, np.inf).reshape(len(rows), -1)])
                loss = np.hstack([loss, gone.reshape(len(rows), -1)])
            reach = np.abs(left)
            good = reach <= near
            best = np.where(good.any(axis=1), np.where(good, loss, np.inf).argmin(axis=1), reach.argmin(axis=1))
            better = (np.abs(off) > near) & (reach[each, best] < np.abs(off))
            if not better.any():
                break
            who = np.flatnonzero(better & (best < len(numeric)))
            column = best[who]
            rows[who, numeric[column]] = moved[who, column] * scale[column] + centre[column]
            who = np.flatnonzero(better & (best >= len(numeric)))
            block, code = np.divmod(best[who] - len(numeric), self.values.shape[1])
            rows[who, category[block]] = code
        return space.snap(rows)

    def _numbers(self, x: Floats, off: Floats, mean: Floats, far: Floats) -> tuple[Floats, Floats, Floats]:
        """Where each number would go to bring its row's score to 0, what of it is then left, and what is lost."""
        weights = mean[self.at]
        with np.errstate(divide="ignore", over="ignore"):
            move = np.where(weights != 0, -off[:, None] / np.where(weights != 0, weights, 1.0), 0.0)
        step = np.where(self.whole, self.step, 1.0)
        move = np.where(self.whole, np.round(move / step) * step, move)
        moved = np.clip(x + move, self.ends[:, 0], self.ends[:, 1])
        width = np.maximum(self.ends[:, 1] - self.ends[:, 0], 1e-300)
        slope = (far[:, self.numeric, 1] - far[:, self.numeric, 0]) / width
        return moved, off[:, None] + (moved - x) * weights, (x - moved) * slope
