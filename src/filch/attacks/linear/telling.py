"""Rows that tell most about a logistic model of which much is known already (`filch.attacks.linear.belief`).

Candidates lie between two classes, at ends of the ranges where their margin is least known, and are moved to where
probabilities lie between two rounded values, so that the answer, whichever it is, halves what is open. Of many
candidates those are chosen that together cover the most variance; once there are about as many answers as unknowns of a
score, they are moved to where they decide most labels (`filch.attacks.linear.deciding`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.special import expit

from filch.attacks.linear.belief import Belief, logits
from filch.attacks.linear.deciding import MOST, Deciding
from filch.attacks.linear.design import Design, unasked
from filch.core.features import Rows
from filch.core.seeds import child

Floats = npt.NDArray[np.float64]
_RATIO, _LEAST = 6, 512  # candidates for each row that is chosen, and at all
_ANY = 0.25  # of the candidates lie between two classes that need not be neighbours
_ROUNDS = 2  # of moving a candidate to where its margin is less known
_TARGET = 1.0  # margins between −1 and 1 are sought
_LEAP = 2.5  # standard deviation of a margin beyond which its answer is likely to be 0 or 1
_NEWTON = 4  # steps onto the thresholds
_OMIT = 0.2  # of what may be omitted is
_MET = 0.9  # of the unknowns of a score: answers from which on rows are moved
_SCARCE = 2.5  # times these unknowns: a whole budget that is planned together
_FINE = 1e-4  # deviation of margins below which hardly a label is in doubt
_COMMON = 0.005  # resolution: two decimals
_NODES = np.polynomial.hermite_e.hermegauss(9)


@dataclass(frozen=True, eq=False)
class Telling:
    """Chooses rows by what they would tell.

    Parameters
    ----------
    design : Design
    belief : Belief
    resolution : float
        How far a revealed probability may be from the true one.
    shown : int
        So many of the highest probabilities are revealed.
    """

    design: Design
    belief: Belief
    resolution: float
    shown: int

    def rows(self, n: int, rng: np.random.Generator, asked: Rows, left: int | None = None) -> tuple[Rows, float]:
        """Choose up to n rows that were not asked, and say how well known they are: the median deviation of margins.

        Where the ``left`` rows of the budget are few, n of them are asked, but all are planned together.
        """
        size = self.design.size
        scarce = left is not None and len(asked) + left <= _SCARCE * size
        planned = max(n, left) if scarce and left is not None else n
        candidates = unasked(self.candidates(max(_LEAST, _RATIO * planned), rng), asked)
        if not len(candidates):
            return candidates, 0.0
        features, deviation = self._features(candidates)
        # Pivots of a QR decomposition: each the row of which those before it leave most open.
        order = linalg.qr(features.T, mode="r", pivoting=True, check_finite=False)[1][:planned]
        rows, known = candidates[order], float(np.median(deviation[order[:n]]))
        if len(asked) >= _MET * size and known > _FINE and self._decides():
            deciding = Deciding(self.design, self.belief, self.resolution, child(rng, "deciding"))
            rows = unasked(self.on_thresholds(deciding.moved(rows)[:n]), asked)
        return rows[:n], known

    def _decides(self) -> bool:
        """Whether rows can be moved to where they decide most labels: all probabilities of a softmax are shown."""
        belief = self.belief
        return not belief.one_vs_rest and self.shown == belief.classes and belief.size * belief.axes <= MOST

    def candidates(self, n: int, rng: np.random.Generator) -> Rows:
        """Rows between two classes, of shape (n, d)."""
        first, second = self._pairs(n, child(rng, "pairs"))
        rows = self.design.space.sample(n, child(rng, "starts"))
        rows = self._stretched(rows, first, second, child(rng, "margins"))
        if self.design.omission:
            leave = child(rng, "omit").random(rows.shape) < _OMIT
            rows[leave & self.design.space.categorical] = np.nan
        return self.on_thresholds(rows) if len(self.belief.design) else rows

    def _scores(self, rows: Rows) -> Floats:
        return np.asarray(self.design.matrix(rows) @ self.belief.weights)

    def _pairs(self, n: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """For each candidate two classes: the highest of a random row, or any."""
        order = np.argsort(-self._scores(self.design.space.sample(n, rng)), axis=1)
        first, second = order[:, 0], order[:, 1]
        classes = order.shape[1]
        other = (first + rng.integers(1, classes, size=n)) % classes
        return first, np.where(rng.random(n) < _ANY, other, second)

    # ── between two classes ─────────────────────────────────────────────────────────────────────────────

    def _stretched(
        self, rows: Rows, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], rng: np.random.Generator
    ) -> Rows:
        """Move rows to ends of the ranges where the margin of two classes varies most, yet is about 0."""
        belief, size = self.belief, self.design.size
        classes = belief.classes
        blocks = belief.covariance.reshape(belief.axes, size, belief.axes, size)
        coef, bias = self.design.weights(belief.weights)
        target = rng.uniform(-_TARGET, _TARGET, size=len(rows))
        jitter = np.exp(0.5 * rng.normal(size=rows.shape))
        extent = rng.uniform(1.0, _LEAP, size=len(rows))
        pairs = first * classes + second
        for pair in np.unique(pairs):
            which = np.flatnonzero(pairs == pair)
            i, j = divmod(int(pair), classes)
            way = belief.basis[i] - belief.basis[j]
            margin = np.einsum("a,apbr,b->pr", way, blocks, way, optimize=True)
            mean, constant = coef[i] - coef[j], bias[i] - bias[j]
            part, reach = rows[which], np.ones(len(which))
            for _ in range(_ROUNDS):
                matrix = self.design.matrix(part)
                gradient = matrix @ margin
                deviation = np.sqrt(np.maximum((gradient * matrix).sum(axis=1), 0.0))
                reach = np.minimum(1.0, reach * extent[which] / np.maximum(deviation, 1e-300))
                part = self._crossing(part, gradient, mean, constant - target[which], reach, jitter[which])
            rows[which] = part
        return rows

    def _crossing(
        self, rows: Rows, gradient: Floats, mean: Floats, constant: Floats, reach: Floats, jitter: Floats
    ) -> Rows:
        """Go to the ends that ``gradient`` points to, then back in as few columns as bring the margin to 0."""
        space, view = self.design.space, self.design.view
        wide = np.zeros((len(rows), view.width))
        wide[:, self.design.kept] = gradient[:, :-1]
        numeric, every = ~space.categorical, np.arange(len(rows))
        up = wide[:, view.starts] > 0
        half = reach[:, None] * view.scale
        there, back = (
            np.where(up, view.centre + half, view.centre - half),
            np.where(up, view.centre - half, view.centre + half),
        )
        slope = mean[view.starts] / view.scale
        worth = np.where(numeric, 2 * np.abs(wide[:, view.starts]) * reach[:, None], 0.0)
        fall = np.where(numeric, slope * (there - back), 0.0)  # of the margin, if the column goes back
        level = constant + np.where(numeric, slope * (there - view.centre), 0.0).sum(axis=1)
        for column in np.flatnonzero(space.categorical):
            block = slice(view.starts[column], view.starts[column] + view.widths[column])
            best = wide[:, block].argmax(axis=1)
            best = np.where(np.ptp(wide[:, block], axis=1) > 0, best, rows[:, column].astype(np.int64))
            there[:, column] = best
            level += mean[block][best]
            back[:, column] = mean[block].argmin()
            fall[:, column] = mean[block][best] - mean[block].min()
            worth[:, column] = wide[every, view.starts[column] + best] - wide[:, block][:, mean[block].argmin()]
        # A margin below 0 is brought up instead: the same with all signs changed.
        low = level < 0
        if low.any():
            for column in np.flatnonzero(space.categorical):
                block = slice(view.starts[column], view.starts[column] + view.widths[column])
                back[low, column] = mean[block].argmax()
                fall[low, column] = mean[block][there[low, column].astype(np.int64)] - mean[block].max()
            level, fall = np.where(low, -level, level), np.where(low[:, None], -fall, fall)
        price = np.where(fall > 0, (np.abs(worth) + 1e-12) / np.where(fall > 0, fall, 1.0), np.inf) * jitter
        order = np.argsort(price, axis=1)
        gains = np.maximum(np.take_along_axis(fall, order, axis=1), 0.0)
        left = level[:, None] - np.cumsum(gains, axis=1)  # the margin after each column has gone back
        place = np.argsort(order, axis=1)
        before = np.take_along_axis(left + gains, place, axis=1)
        after = np.take_along_axis(left, place, axis=1)
        goes = (before > 0) & (fall > 0)
        part = np.where(after < 0, before / np.where(fall > 0, fall, 1.0), 1.0)  # only so much of the last one
        share = np.where(goes, np.where(space.categorical, 1.0, part), 0.0)
        return space.snap(there + share * (back - there))

    # ── between two rounded values ──────────────────────────────────────────────────────────────────────

    def on_thresholds(self, rows: Rows) -> Rows:
        """Move continuous columns, by as little as it takes, so that probabilities lie where rounding changes."""
        space, view, belief = self.design.space, self.design.view, self.belief
        columns = np.flatnonzero(~space.categorical & (space.grid == 0.0) & (space.high > space.low))
        if not len(columns):
            return rows
        coef, _ = self.design.weights(belief.weights)
        slope = 2 * coef[:, view.starts[columns]]  # of the scores, over a whole range
        low, span = space.low[columns], (space.high - space.low)[columns]
        step = 2 * self.resolution
        logit, _ = logits(self._scores(rows), one_vs_rest=belief.one_vs_rest)
        likely = expit(logit)
        threshold = (np.round(likely / step - 0.5) + 0.5) * step
        # Probabilities sum to 1: one of them follows from the others. Nor do hidden ones have thresholds.
        ranks = np.argsort(np.argsort(-likely, axis=1), axis=1)
        aimed = (threshold < 1) & (likely > self.resolution / 2) & (ranks < self.shown)
        off = np.where(aimed, np.abs(likely - threshold), -1.0)
        if belief.classes > 2 and self.shown >= belief.classes - 1:
            aimed[np.arange(len(rows)), off.argmax(axis=1)] = False
        elif belief.classes == 2:
            aimed[:, 0] = False
        threshold = np.clip(threshold, 1e-12, 1 - 1e-12)
        wanted = np.log(threshold) - np.log1p(-threshold)
        rows = rows.copy()
        ridge = np.eye(belief.classes)
        for _ in range(_NEWTON):
            logit, slopes = logits(self._scores(rows), one_vs_rest=belief.one_vs_rest)
            off = np.where(aimed, wanted - logit, 0.0)
            jacobian = (slopes @ slope) * aimed[:, :, None]
            at = (rows[:, columns] - low) / span
            free = np.ones_like(at)
            for _ in range(2):  # columns that would leave their range stay; the others make up for them
                moving = jacobian * free[:, None, :]
                square = moving @ moving.transpose(0, 2, 1)
                size = np.trace(square, axis1=1, axis2=2)[:, None, None]
                dual = np.linalg.solve(square + (1e-9 * size + 1e-300) * ridge, off[:, :, None])
                change = (moving.transpose(0, 2, 1) @ dual)[:, :, 0]
                free *= (at + change >= 0) & (at + change <= 1)
            rows[:, columns] = low + span * np.clip(at + change, 0.0, 1.0)
        return space.snap(rows)

    # ── what rows would tell ────────────────────────────────────────────────────────────────────────────

    def _features(self, rows: Rows) -> tuple[Floats, Floats]:
        """A vector for each row whose square is what its answer would tell, and the deviation of its margin."""
        belief, size = self.belief, self.design.size
        matrix = self.design.matrix(rows)
        scores = matrix @ belief.weights
        order = np.argsort(-scores, axis=1)
        every = np.arange(len(rows))
        if self.shown == 1 or belief.one_vs_rest:
            _, slopes = logits(scores, one_vs_rest=belief.one_vs_rest)
            way = (slopes @ belief.basis)[every, order[:, 0]]
        else:
            way = belief.basis[order[:, 0]] - belief.basis[order[:, 1]]
        try:
            root = linalg.cholesky(belief.covariance, lower=True, check_finite=False)
        except linalg.LinAlgError:
            root = np.diag(np.sqrt(np.maximum(belief.covariance.diagonal(), 0.0)))
        features = np.zeros((len(rows), size * belief.axes))
        for axis in range(belief.axes):
            features += way[:, axis, None] * (matrix @ root[axis * size : (axis + 1) * size])
        deviation = np.sqrt((features**2).sum(axis=1))
        # The first rows are the same however answers are rounded, so that an audit asks them once.
        resolution = self.resolution if len(belief.design) else _COMMON
        margin = scores[every, order[:, 0]] - scores[every, order[:, 1]]
        nodes, shares = _NODES
        likely = margin[:, None] + deviation[:, None] * nodes
        slope = expit(likely) * expit(-likely)
        told = np.log1p(3 * (deviation[:, None] * slope / resolution) ** 2) @ (shares / shares.sum())
        length = np.sqrt(np.expm1(np.minimum(told, 60.0)))
        return features * (length / np.maximum(deviation, 1e-300))[:, None], deviation
