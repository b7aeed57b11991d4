"""What rounded answers leave open: a normal distribution over the weights of a logistic model.

Each shown probability is an interval, not a number: it bounds ``logit f_i``, which is nearly linear in the scores. The
uniform distribution over the weights that meet all bounds is approximated by a normal one, whose mean and variances are
those that each bound in turn asks for (expectation propagation [Minka01]); the mean is the estimate, and the covariance
says which rows would tell most.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.special import expit, logsumexp

from filch.attacks.linear.moments import truncated

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
_PRIOR = 2.0  # standard deviation of a score at a corner of the space before anything is known
_COUNTS = 4.0  # weights that the prior's own scale counts for
_FLOOR = 1e-13  # of the largest precision: a smaller one would be lost in rounding
_CENTRE, _SWEEPS, _SLOW = 20, 12, 40  # steps at most: to a start, of propagation, and of its careful repetition
_STRIDE = 4.0  # a score moves at most so far in one step
_LINEAR = 0.3  # deviation of a logit up to which it is taken as linear in the weights
_FALLS, _LEAST = 0.9, 0.05  # of its last movement, at which the mean still comes to rest; the least share
_STILL = 0.1  # standard deviations of movement at which the mean rests
_CHANGE = 0.1  # of the largest precision in one step, likewise
_CAVITY = 1e-3  # least part of a variance that is attributed to all other bounds
_LOST = 1e4  # deviations: a bound so far off is not met by further steps
_SPENT, _CLEAR = 1e-6, 8.0  # bounds that weigh so little, and lie so many deviations off, are left out


def bounds(shown: Floats, off: Floats | float) -> tuple[Floats, Floats]:
    """What probabilities within ``off`` of those shown say of their logits: lower and upper bounds, of shape (n, c).

    A hidden probability (NaN) is at most the lowest one that is shown.

    Examples
    --------
    >>> low, high = bounds(np.array([[0.5, 0.5]]), 0.1)
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([[-0.405, -0.405]], [[0.405, 0.405]])
    """
    hidden = np.isnan(shown)
    least = np.min(np.where(hidden, 1.0, shown), axis=1, keepdims=True)
    low = np.clip(np.where(hidden, 0.0, shown - off), 0.0, 1.0)
    high = np.clip(np.where(hidden, least, shown) + off, 0.0, 1.0)
    with np.errstate(divide="ignore"):
        return np.log(low) - np.log1p(-low), np.log(high) - np.log1p(-high)


def logits(scores: Floats, *, one_vs_rest: bool = False) -> tuple[Floats, Floats]:
    """``logit f_i`` of shape (n, c), and its slopes in the scores (n, c, c)."""
    classes = scores.shape[1]
    own = np.eye(classes, dtype=bool)
    logs = -np.logaddexp(0.0, -scores) if one_vs_rest else scores
    others = np.where(own, -np.inf, logs[:, None, :])
    rest = logsumexp(others, axis=2)
    slopes = np.where(own, 1.0, -np.exp(others - rest[:, :, None]))
    if one_vs_rest:
        slopes = slopes * expit(-scores)[:, None, :]
    return logs - rest, slopes


@dataclass(eq=False)
class Belief:
    """A normal distribution over the weights of a softmax, binary or one-vs-rest model, given bounds on logits.

    Parameters
    ----------
    size : int
        Unknowns of one score (p), the bias included.
    classes : int
    one_vs_rest : bool
    """

    size: int
    classes: int
    one_vs_rest: bool = False
    consistent: bool = field(default=True, init=False)
    """Whether weights were found that meet all bounds, or nearly."""

    def __post_init__(self) -> None:
        c, p = self.classes, self.size
        # A softmax's scores matter up to a constant of each row: c − 1 coordinates, so that nothing cancels.
        self.basis = np.eye(c) if self.one_vs_rest else linalg.helmert(c).T
        self.axes = self.basis.shape[1]
        self.scale = self.start = _PRIOR / np.sqrt(p)
        self.mean = np.zeros((p, self.axes))
        self.covariance = np.eye(p * self.axes) * self.scale**2
        self.design, self.low = np.empty((0, p)), np.empty((0, c))
        self.high, self.precision, self.middle = self.low, self.low, self.low
        self.fresh = self.slack = np.empty(0, dtype=bool)

    @property
    def weights(self) -> Floats:
        """The mean, of shape (p, c)."""
        return np.asarray(self.mean @ self.basis.T)

    def hear(self, design: Floats, low: Floats, high: Floats) -> None:
        """Take in bounds on the logits of rows."""
        if self.classes == 2:  # the two bounds of a row say the same
            low, high = low.copy(), high.copy()
            low[:, 0], high[:, 0] = -np.inf, np.inf
        nothing, n = np.zeros_like(low), len(design)
        self.design = np.vstack([self.design, design])
        self.low, self.high = np.vstack([self.low, low]), np.vstack([self.high, high])
        self.precision, self.middle = np.vstack([self.precision, nothing]), np.vstack([self.middle, nothing])
        self.fresh = np.append(self.fresh, np.ones(n, dtype=bool))
        self.slack = np.append(self.slack, np.zeros(n, dtype=bool))

    def spread(self, design: Floats) -> Floats:
        """The covariance of the scores of rows, in the basis' coordinates: of shape (n, q, q)."""
        blocks = self.covariance.reshape(self.axes, self.size, self.axes, self.size)
        found = np.empty((len(design), self.axes, self.axes))
        for i in range(self.axes):
            for j in range(i + 1):
                found[:, i, j] = found[:, j, i] = ((design @ blocks[i, :, j]) * design).sum(axis=1)
        return found

    def allows(self, design: Floats, low: Floats, high: Floats) -> bool:
        """Whether bounds on the logits of further rows are within four deviations of what is believed of them."""
        logit, slopes = logits(design @ self.weights, one_vs_rest=self.one_vs_rest)
        slopes = slopes @ self.basis
        deviation = np.sqrt(np.maximum(np.einsum("nci,nij,ncj->nc", slopes, self.spread(design), slopes), 0.0))
        return bool((np.maximum(low - logit, logit - high) <= 4.0 * deviation + 1e-9).all())

    def settle(self, rough: Callable[[], Floats] | None = None) -> bool:
        """Work what was heard into the distribution; whether weights meet all bounds, or nearly.

        ``rough`` gives weights (p, c) to begin from, where those so far lead nowhere.
        """
        if self._vague():
            self._centre(self.fresh)
        start = self.mean, self.covariance, self.precision.copy(), self.middle.copy(), self.slack.copy(), self.scale
        self.consistent = self._propagate(_SWEEPS, 1.0)
        if not self.consistent:  # too far at once
            self.mean, self.covariance, self.precision, self.middle, self.slack, self.scale = start
            self.consistent = self._propagate(_SLOW, 0.5)
        if not self.consistent:
            self.mean = np.zeros_like(self.mean) if rough is None else rough() @ self.basis
            self.scale = max(self.start, float(np.sqrt((self.mean**2).mean())))
            self.precision, self.middle = np.zeros_like(self.low), np.zeros_like(self.low)
            self._centre(np.ones_like(self.fresh))
            self.consistent = self._propagate(_SLOW, 0.5)
        self.fresh = np.zeros_like(self.fresh)
        return self.consistent

    def _vague(self) -> bool:
        """Whether logits of fresh rows are so little known that they are not linear in the weights."""
        _, slopes = self._logits(self.fresh)
        variance = np.einsum("nci,nij,ncj->nc", slopes, self.spread(self.design[self.fresh]), slopes)
        return bool(variance.max(initial=0.0) > _LINEAR**2)

    # ── steps ───────────────────────────────────────────────────────────────────────────────────────────

    def _centre(self, new: Flags) -> None:
        """Gauss–Newton steps in which new bounds are normal errors about their middle, for a point to linearise at."""
        self.slack &= False
        closed = np.isfinite(self.low) & np.isfinite(self.high)
        width = np.where(closed, self.high - self.low, 1.0)
        middle = np.where(closed, self.low + 0.5 * width, 0.0)

        def pull(logit: Floats) -> tuple[Floats, Floats]:
            """Precision and middle of all bounds; open ones pull only where they are broken."""
            above, below = logit > self.high, logit < self.low
            edge = np.where(above, self.high, np.where(below, self.low, 0.0))
            precision = np.where(closed, 12 / width**2, (above | below).astype(float))
            weight = np.where(new[:, None], precision, self.precision)
            return weight, np.where(new[:, None], np.where(closed, middle, edge), self.middle)

        def loss(mean: Floats) -> tuple[float, Floats]:
            logit, _ = logits(self.design @ (mean @ self.basis.T), one_vs_rest=self.one_vs_rest)
            precision, middle = pull(logit)
            value = (precision * (logit - middle) ** 2).sum() + (mean**2).sum() / self.scale**2
            return float(value), logit

        value, logit = loss(self.mean)
        for _ in range(_CENTRE):
            self.precision, self.middle = pull(logit)
            logit, slopes = self._logits()
            way = self._solve(logit, slopes, np.ones_like(self.fresh), covariance=False)
            length = min(1.0, _STRIDE / max(self._reach(way), 1e-300))
            for _ in range(8):
                tried, logit = loss(self.mean + length * way)
                if tried <= value:
                    break
                length /= 2
            self.mean = self.mean + length * way
            if value - tried <= 1e-4 * value:
                break
            value = tried
        self.precision, self.middle = pull(logit)
        self._solve(*self._logits(), np.ones_like(self.fresh))

    def _propagate(self, sweeps: int, share: float) -> bool:
        """Match moments bound by bound, all at once, until the mean rests; whether it then meets all bounds.

        Where the mean does not come to rest, only a share of what is found is taken on, and half the share again.
        """
        last = np.inf
        for _ in range(sweeps):
            active = ~self.slack
            logit, slopes, variance = self._spreads(active)
            precision, middle = self.precision[active], self.middle[active]
            rest = np.maximum(1 / variance - precision, _CAVITY / variance)  # the precision without the bound itself
            about = logit + (logit - middle) * precision / rest
            gap = np.maximum(self.low[active] - about, about - self.high[active])
            if (gap > _LOST / np.sqrt(rest)).any():
                return False
            mean, narrowed = truncated(about, 1 / rest, self.low[active], self.high[active])
            wanted = np.clip(1 / narrowed - rest, 0.0, 1e6 * rest)
            moved = (1 - share) * precision * middle + share * (mean / narrowed - about * rest)
            wanted = (1 - share) * precision + share * wanted
            weighs = wanted * variance > 1e-9
            self.precision[active] = np.where(weighs, wanted, 0.0)
            self.middle[active] = np.where(weighs, moved / np.where(weighs, wanted, 1.0), 0.0)
            way = self._solve(logit, slopes, active, covariance=False)
            if not np.isfinite(way).all():
                return False
            way *= min(np.sqrt(share), _STRIDE / max(self._reach(way), 1e-300))
            self.mean = self.mean + way
            shift = np.abs(np.einsum("nci,ni->nc", slopes, self.design[active] @ way)) / np.sqrt(variance)
            furthest = float(shift.max(initial=0.0))
            change = np.abs(wanted - precision).max(initial=0.0) / max(np.abs(wanted).max(initial=0.0), 1e-300)
            if np.isfinite(last) and furthest < _STILL * share and change < _CHANGE:
                break
            if furthest > _FALLS * last:
                share = max(share / 2, _LEAST)
            last = furthest
        self._rescale()
        return self._meets(self._spreads(active)[2], active)

    def _spreads(self, active: Flags) -> tuple[Floats, Floats, Floats]:
        """Logits at the mean, their slopes, and their variances by just these slopes.

        By the slopes of a step before, a variance could be less than its own bound allows.
        """
        logit, slopes = self._logits(active)
        self._solve(logit, slopes, active)
        variance = np.einsum("nci,nij,ncj->nc", slopes, self.spread(self.design[active]), slopes)
        return logit, slopes, np.maximum(variance, 1e-300)

    def _meets(self, variance: Floats, active: Flags) -> bool:
        """Whether the mean meets all bounds to within a few deviations; leaves out those that matter no more."""
        deviation = np.zeros_like(self.low)
        deviation[active] = np.sqrt(variance)
        logit, _ = self._logits()
        beyond = np.maximum(self.low - logit, logit - self.high)
        spent = self.precision[active] * variance < _SPENT
        self.slack[active] = (spent & (beyond[active] < -_CLEAR * deviation[active])).all(axis=1)
        return bool(np.isfinite(logit).all() and (beyond <= 3.0 * deviation + 1e-9).all())

    def _rescale(self) -> None:
        """Fit the prior's scale to the weights that are known by now."""
        known = max(0.0, self.mean.size - float(self.covariance.trace()) / self.scale**2)
        square = (float((self.mean**2).sum()) + _COUNTS * self.start**2) / (known + _COUNTS)
        self.scale = float(np.clip(np.sqrt(square), self.scale / 3, self.scale * 3))

    def _logits(self, which: Flags | None = None) -> tuple[Floats, Floats]:
        """Logits at the mean, and their slopes in the basis' coordinates (n, c, q)."""
        design = self.design if which is None else self.design[which]
        logit, slopes = logits(design @ self.weights, one_vs_rest=self.one_vs_rest)
        return logit, slopes @ self.basis

    def _reach(self, way: Floats) -> float:
        """How far a step moves the scores of any row."""
        moved = self.design @ way
        return float(np.abs(moved).max(initial=0.0))

    def _solve(self, logit: Floats, slopes: Floats, which: Flags, *, covariance: bool = True) -> Floats:
        """Return the step to the mean of the bounds' normal stand-ins, and take on their covariance if asked to."""
        q, p = self.axes, self.size
        design, precision, middle = self.design[which], self.precision[which], self.middle[which]
        pulls = np.einsum("nci,nc->ni", slopes, precision * (middle - logit))
        curvature = np.einsum("nci,nc,ncj->nij", slopes, precision, slopes)
        blocks = np.empty((q, p, q, p))
        for i in range(q):
            for j in range(i + 1):
                blocks[i, :, j] = (design.T * curvature[:, i, j]) @ design
                blocks[j, :, i] = blocks[i, :, j].T
        square = blocks.reshape(q * p, q * p)
        prior = max(1 / self.scale**2, _FLOOR * float(square.diagonal().max()))
        right = (design.T @ pulls - prior * self.mean).T.reshape(-1)
        square[np.diag_indices(q * p)] += prior
        unit = 1 / np.sqrt(square.diagonal())
        factor = linalg.cholesky(square * unit[:, None] * unit, lower=True, check_finite=False)
        step = unit * linalg.cho_solve((factor, True), unit * right, check_finite=False)
        if covariance:
            half = linalg.lapack.dpotri(factor, lower=1)[0]  # the lower half of the inverse; above it are zeros
            self.covariance = (half + np.tril(half, -1).T) * unit[:, None] * unit
        return np.asarray(step.reshape(q, p).T)
