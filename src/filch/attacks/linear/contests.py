"""What labels leave open of linear scores of several classes: a normal distribution over all their weights.

A label says that its class's score is above each other one's. Scores count by their differences only, so that weights
are kept as c − 1 orthonormal contrasts of them, which treat all classes alike. Each difference whose sign a label tells
is taken in as in `filch.attacks.linear.halfspaces`: one after the other as they come, and from time to time all against
each other (expectation propagation [Minka01]). The covariance is kept as a square root.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.special import log_ndtr, ndtr

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_LOG_ROOT = 0.5 * math.log(2 * math.pi)
_MOST = 1 - 1e-6  # the part of a variance that one label takes at most
_FAR = 5.0  # deviations: a difference so far from 0 learns nothing from its sign
_FURTHEST = 1e4  # deviations on the wrong side that are told apart
_DRAWS = 24  # of the weights, from which deviations are guessed before they are worked out
_SWEEPS, _STILL = 20, 0.05  # of propagation: at most so many, until margins move no more
_DAMPED, _FALLS, _LEAST = 0.7, 0.7, 0.05  # each goes so far; half as far where moves did not fall so much; at least
_WORST = 0.5  # of a margin's move: propagation that is still so far from rest is given up
_SLOW = 3e8  # multiplications of an orthogonal step
_LOST = 1e-7  # of the mean's length: with so small a deviation the inverse covariance has no digits left


def contrasts(classes: int) -> Floats:
    """Orthonormal contrasts of so many classes, of shape (c − 1, c): each row sums to 0."""
    basis = np.asarray(linalg.helmert(classes))
    return basis


@dataclass(eq=False)
class ClassBelief:
    """A normal distribution over the weights of c linear scores, given which of them is the highest in some rows.

    Parameters
    ----------
    deviations : (p,)
        Standard deviations of each score's weights before anything is known.
    classes : int

    Examples
    --------
    >>> belief = ClassBelief(np.ones(1), 3)
    >>> belief.hear(np.ones((1, 1)), np.array([2]))
    >>> int(belief.scores(np.ones((1, 1))).argmax())
    2
    """

    deviations: Floats
    classes: int
    rows: Floats = field(init=False)
    labels: Ints = field(init=False)

    def __post_init__(self) -> None:
        p = len(self.deviations)
        self.basis = contrasts(self.classes)
        self.prior = np.tile(self.deviations, self.classes - 1)
        self.mean = np.zeros(len(self.prior))
        self.root = np.diag(self.prior)  # covariance = root rootᵀ
        self.rows, self.labels = np.empty((0, p)), np.empty(0, dtype=np.int64)
        # Of each sign that a label told: its row, the class below the label's, and its normal factor.
        self.signs = np.empty((0, 2), dtype=np.int64)
        self.factors = np.empty((0, 2))

    # ── scores ──────────────────────────────────────────────────────────────────────────────────────────

    @property
    def weights(self) -> Floats:
        """The mean's weights, of shape (c, p)."""
        return np.asarray(self.basis.T @ self.mean.reshape(self.classes - 1, -1))

    def scores(self, design: Floats) -> Floats:
        """The mean's scores of rows, of shape (n, c)."""
        return np.asarray(design @ self.weights.T)

    def draws(self, count: int, rng: np.random.Generator) -> Floats:
        """Weights that may be, less the mean's: of shape (count, c, p)."""
        ways = rng.standard_normal((count, len(self.root))) @ self.root.T
        return np.asarray(np.einsum("kc,nkp->ncp", self.basis, ways.reshape(count, self.classes - 1, -1)))

    def differences(self, design: Floats, above: Ints, below: Ints) -> Floats:
        """What differences of two scores are made of: rows over all contrasts, of shape (n, (c − 1) p)."""
        gaps = (self.basis[:, above] - self.basis[:, below]).T
        return np.asarray((gaps[:, :, None] * design[:, None, :]).reshape(len(design), -1))

    def along(self, design: Floats, above: Ints, below: Ints) -> Floats:
        """Differences of two scores times the root, less the weights' scale, which no label tells; (n, (c − 1) p)."""
        rows = self.differences(design, above, below)
        return np.asarray((rows - np.outer(rows @ self.unit, self.unit)) @ self.root)

    @property
    def unit(self) -> Floats:
        """The direction of the mean."""
        return np.asarray(self.mean / (float(np.linalg.norm(self.mean)) or 1.0))

    def deviation(self, design: Floats, above: Ints, below: Ints) -> Floats:
        """The standard deviations of differences of two scores, given the weights' scale; of shape (n,)."""
        variance = np.empty(len(design))
        root = self.root - np.outer(self.unit, self.unit @ self.root)
        blocks = root.reshape(self.classes - 1, len(self.deviations), -1)
        for pair in np.unique(above * self.classes + below):
            j, k = divmod(int(pair), self.classes)
            which = (above == j) & (below == k)
            way = np.tensordot(self.basis[:, j] - self.basis[:, k], blocks, axes=1)
            variance[which] = ((design[which] @ way) ** 2).sum(axis=1)
        return np.sqrt(np.maximum(variance, 1e-300))

    # ── learning ────────────────────────────────────────────────────────────────────────────────────────

    def hear(self, design: Floats, labels: Ints) -> None:
        """Take in the labels of rows, of shapes (n, p) and (n,)."""
        if not len(design):
            return
        first = len(self.rows)
        self.rows, self.labels = np.vstack([self.rows, design]), np.append(self.labels, labels)
        signs = np.stack(np.nonzero(np.arange(self.classes) != labels[:, None]), axis=1)
        at, below = signs.T
        rows = self.differences(design[at], labels[at], below)
        along = rows @ self.root
        gap, variance = rows @ self.mean, (along**2).sum(axis=1)
        open_ = gap < _FAR * np.sqrt(variance)
        taken = self._take(along[open_], gap[open_])
        self.signs = np.vstack([self.signs, signs[open_] + [first, 0]])
        self.factors = np.vstack([self.factors, taken])

    def _take(self, along: Floats, gap: Floats) -> Floats:
        """Take in that differences are above 0, one after the other; the factors that stand for that, (n, 2)."""
        count = len(along)
        cross = along @ along.T
        gone, moved = np.zeros((count, count)), np.zeros(count)  # covariance: root (1 − alongᵀ gone along) rootᵀ
        factors = np.zeros((count, 2))
        for i in range(count):
            now = -(gone @ cross[:, i])
            now[i] += 1.0
            variance = max(float(cross[i] @ now), 1e-300)
            score, deviation = float(gap[i] + cross[i] @ moved), math.sqrt(variance)
            slope, taken = (float(part[0]) for part in moments(np.array([score / deviation])))
            left = variance * (1.0 - taken)
            factors[i] = 1 / left - 1 / variance, (score + slope * deviation) / left - score / variance
            moved += (slope / deviation) * now
            gone += (taken / variance) * np.outer(now, now)
        self.mean = self.mean + self.root @ (along.T @ moved)
        turn, upper = linalg.qr(along.T, mode="economic")
        value, vector = linalg.eigh(upper @ gone @ upper.T)
        inner = (vector * (1.0 - np.sqrt(np.clip(1.0 - value, 1.0 - _MOST, 1.0)))) @ vector.T
        self.root = self.root - ((self.root @ turn) @ inner) @ turn.T
        return factors

    def settle(self, rng: np.random.Generator) -> bool:
        """Weigh all labels against each other anew; whether they came to rest."""
        if not len(self.rows):
            return True
        rest = self._rest(rng)
        signs = np.vstack([self.signs, rest])
        factors = np.vstack([self.factors, np.zeros((len(rest), 2))])
        order = np.lexsort((signs[:, 1], self.labels[signs[:, 0]]))
        signs, factors = signs[order], factors[order]
        at, below = signs.T
        above = self.labels[at]
        edges = np.flatnonzero(np.diff(above * self.classes + below)) + 1
        groups = [slice(a, b) for a, b in zip([0, *edges], [*edges, len(signs)], strict=True)]
        design = self.rows[at]
        precision, pull = factors.T.copy()
        mean, root = self.mean, self.root
        damped, last, change = _DAMPED, np.inf, np.inf
        for _ in range(_SWEEPS):
            score, variance = self._marginals(design, above, below, groups, mean, root)
            cavity = np.maximum(1 / variance - precision, 1e-3 / variance)  # the precision without the label itself
            middle = (score / variance - pull) / cavity
            slope, taken = moments(middle * np.sqrt(cavity))
            wanted = np.maximum(cavity / (1 - taken) - cavity, 0.0)
            toward = (middle + slope / np.sqrt(cavity)) * (cavity + wanted) - middle * cavity
            precision, pull = precision + damped * (wanted - precision), pull + damped * (toward - pull)
            fine = variance.min() < (_LOST * float(np.linalg.norm(mean))) ** 2
            found = (self._orthogonal if fine else self._joined)(design, above, below, groups, precision, pull)
            if found is None or not np.isfinite(found[0]).all():
                return False
            before, (mean, root) = mean, found
            change = float(np.abs(self._gaps(design, above, below, groups, mean - before) / np.sqrt(variance)).max())
            if change < _STILL:
                break
            damped, last = max(damped / 2, _LEAST) if change > _FALLS * last else damped, change
        if change > _WORST:
            return False
        self.mean, self.root = mean, root
        self.signs, self.factors = signs, np.column_stack([precision, pull])
        return True

    def _rest(self, rng: np.random.Generator) -> Ints:
        """Signs that labels told and that were not taken in, because they were clear, and no longer are: (n, 2)."""
        weights = self.weights
        spread = np.sqrt(np.mean([self._below(draw) ** 2 for draw in self.draws(_DRAWS, rng)], axis=0))
        open_ = self._below(weights) < _FAR * spread
        open_[self.signs[:, 0], self.signs[:, 1]] = False
        open_[np.arange(len(self.labels)), self.labels] = False
        return np.stack(np.nonzero(open_), axis=1)

    def _below(self, weights: Floats) -> Floats:
        """How far each class's score lies below that of the label, of shape (n, c)."""
        scores = self.rows @ weights.T
        return np.asarray(scores[np.arange(len(scores)), self.labels][:, None] - scores)

    def _gaps(self, design: Floats, above: Ints, below: Ints, groups: list[slice], mean: Floats) -> Floats:
        weights = self.basis.T @ mean.reshape(self.classes - 1, -1)
        return np.concatenate([design[g] @ (weights[above[g.start]] - weights[below[g.start]]) for g in groups])

    def _marginals(
        self, design: Floats, above: Ints, below: Ints, groups: list[slice], mean: Floats, root: Floats
    ) -> tuple[Floats, Floats]:
        """Means and variances of differences."""
        blocks = root.reshape(self.classes - 1, len(self.deviations), -1)
        parts = []
        for g in groups:
            way = np.tensordot(self.basis[:, above[g.start]] - self.basis[:, below[g.start]], blocks, axes=1)
            if g.stop - g.start > len(self.deviations):
                way = np.asarray(linalg.qr(way.T, mode="r")[0][: len(way)].T, dtype=np.float64)
            parts.append(((design[g] @ way) ** 2).sum(axis=1))
        return self._gaps(design, above, below, groups, mean), np.maximum(np.concatenate(parts), 1e-300)

    def _joined(
        self, design: Floats, above: Ints, below: Ints, groups: list[slice], precision: Floats, pull: Floats
    ) -> tuple[Floats, Floats] | None:
        """Mean and root of the prior and all factors; None if float precision does not allow it."""
        p, c = len(self.deviations), self.classes
        square = np.zeros((c - 1, p, c - 1, p))
        whole = np.zeros((c - 1, p))
        for g in groups:
            gap = self.basis[:, above[g.start]] - self.basis[:, below[g.start]]
            part = (design[g].T * precision[g]) @ design[g]
            square += np.outer(gap, gap)[:, None, :, None] * part[None, :, None, :]
            whole += np.outer(gap, pull[g] @ design[g])
        matrix = square.reshape(len(self.prior), -1)
        matrix[np.diag_indices(len(matrix))] += 1 / self.prior**2
        unit = 1 / np.sqrt(matrix.diagonal())
        try:
            factor = linalg.cholesky(matrix * unit[:, None] * unit, lower=True)
            root = unit[:, None] * linalg.solve_triangular(factor, np.eye(len(matrix)), lower=True).T
        except (linalg.LinAlgError, ValueError):
            return None
        return root @ (root.T @ whole.reshape(-1)), root

    def _orthogonal(
        self, design: Floats, above: Ints, below: Ints, groups: list[slice], precision: Floats, pull: Floats
    ) -> tuple[Floats, Floats] | None:
        """The same by orthogonal steps, with twice the digits, and slower; None if it would be far too slow."""
        size = len(self.prior)
        if len(design) * size**2 > _SLOW:
            return None
        weight = np.sqrt(precision)
        rows = self.differences(design, above, below) * weight[:, None]
        goal = np.divide(pull, weight, out=np.zeros_like(pull), where=weight > 0)
        whole = np.vstack([np.diag(1 / self.prior), rows])
        upper = linalg.qr(np.column_stack([whole, np.append(np.zeros(size), goal)]), mode="r")[0][:size]
        try:
            root = linalg.solve_triangular(upper[:, :size], np.eye(size))
        except (linalg.LinAlgError, ValueError):
            return None
        return root @ upper[:, size], root


def moments(margins: Floats) -> tuple[Floats, Floats]:
    """How far signs move scores towards themselves, in deviations, and the parts of the variances they take."""
    margins = np.maximum(margins, -_FURTHEST)
    slope = np.exp(-0.5 * margins**2 - _LOG_ROOT - log_ndtr(margins))
    return slope, np.minimum(slope * (slope + margins), _MOST)


def worth(margins: Floats) -> Floats:
    """The part of a difference's variance that its sign takes away on average, at most 2/π."""
    chance = np.clip(ndtr(margins), 1e-12, 1 - 1e-12)
    density = np.exp(-0.5 * np.minimum(np.abs(margins), 30.0) ** 2 - _LOG_ROOT)
    return np.asarray(density**2 / (chance * (1 - chance)))
