"""What rounded values leave open: a normal distribution over the weights of a linear regression.

A value that is shown to so many decimals is an interval. The uniform distribution over the weights that meet all
intervals is approximated by a normal one, whose mean and variances are those that each interval in turn asks for
(expectation propagation [Minka01]). The mean is the estimate; the covariance says which rows would tell most, and how
far a prediction may be off. A row that is moved to where the estimate lies between two rounded values halves, whichever
is answered, what was open of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg, optimize

from filch.attacks.linear.design import Design
from filch.attacks.linear.moments import truncated
from filch.core.features import Rows
from filch.core.seeds import child

Floats = npt.NDArray[np.float64]
_SWEEPS, _DAMPED, _STILL = 60, 0.7, 0.02  # of propagation: at most so many, each so far, until the mean rests (σ)
_WIDE = 3_000  # unknowns above which intervals are taken as normal errors
_VAGUE = 1e-10  # of the largest precision: the prior's
_CAVITY = 1e-3  # least part of a variance that is attributed to all other intervals
_RATIO, _LEAST = 6, 256  # candidates for each row that is chosen, and at all
_INWARD = 0.2  # rows lie within this part of half a range of its ends
_OMIT = 0.2  # of what may be omitted is
_SLACK = 1e-6  # of half an interval, for the last digits of sums
_LOST = 1e4  # deviations: an interval so far off is not met by further steps
_ROOM = 4.0  # deviations by which the estimate may miss an interval
_MANY, _WELL = 300_000, 8.0  # entries of a matrix above which no linear program decides, but so many deviations


@dataclass(eq=False)
class ValueBelief:
    """A normal distribution over weights, given intervals of values.

    Parameters
    ----------
    matrix : (n, p)
        The design matrix of the rows that were answered; entries of about 1.
    value : (n,)
        The middles of the intervals.
    half : float
        Half their width.

    Attributes
    ----------
    weights : (p,)
        The mean.
    root : (p, p)
        A square root of the covariance, in units of half an interval.
    misses : bool
        Whether no weights meet all intervals.

    Examples
    --------
    >>> belief = ValueBelief(np.array([[-1.0, 1.0], [1.0, 1.0]]), np.array([0.0, 2.0]), 0.5)
    >>> belief.weights.round(3).tolist(), belief.deviation(np.array([[0.0, 1.0]])).round(2).tolist()
    ([1.0, 1.0], [0.2])
    """

    matrix: Floats
    value: Floats
    half: float

    def __post_init__(self) -> None:
        start = linalg.lstsq(self.matrix, self.value, check_finite=False)[0]
        # In units of half an interval, about the least squares: intervals are off ± 1.
        off = (self.value - self.matrix @ start) / self.half
        mean, self.misses = self._propagated(off), False
        if not (np.abs(self.matrix @ mean - off) <= 1.0 + _ROOM * self._deviation(self.matrix) + _SLACK).all():
            mean = self._solve(np.full(len(off), 3.0), off)
            if self.matrix.size <= _MANY:
                within = _within(self.matrix, off)
                self.misses = within is None
                mean = mean if within is None else within
            else:
                beyond = np.abs(self.matrix @ mean - off) - 1.0
                self.misses = bool((beyond > _WELL * self._deviation(self.matrix) + _SLACK).any())
        self.weights: Floats = start + self.half * mean

    def deviation(self, matrix: Floats) -> Floats:
        """Standard deviations of the values of rows, of shape (n,)."""
        return self.half * self._deviation(matrix)

    def meets(self, matrix: Floats, value: Floats) -> bool:
        """Whether values of further rows are as near as their intervals and these deviations let expect."""
        off = np.abs(matrix @ self.weights - value)
        return bool((off <= self.half * (1 + 1e-6) + _ROOM * self.deviation(matrix)).all())

    def _deviation(self, matrix: Floats) -> Floats:
        return np.asarray(np.sqrt(((matrix @ self.root) ** 2).sum(axis=1)))

    def _propagated(self, off: Floats) -> Floats:
        """The mean, in units of half an interval; leaves a square root of the covariance behind."""
        precision, middle = np.full(len(off), 3.0), off
        mean = self._solve(precision, middle)
        for _ in range(_SWEEPS if self.matrix.shape[1] <= _WIDE else 0):
            expected, variance = self.matrix @ mean, np.maximum(self._deviation(self.matrix) ** 2, 1e-300)
            rest = np.maximum(1 / variance - precision, _CAVITY / variance)  # the precision without the interval itself
            about = expected + (expected - middle) * precision / rest
            if (np.abs(about - off) > 1.0 + _LOST / np.sqrt(rest)).any():
                break
            at, narrowed = truncated(about, 1 / rest, off - 1.0, off + 1.0)
            wanted = np.clip(1 / narrowed - rest, 1e-9 / variance, 1e6 * rest)
            pull = at / narrowed - about * rest
            pull = (1 - _DAMPED) * precision * middle + _DAMPED * pull
            precision = (1 - _DAMPED) * precision + _DAMPED * wanted
            middle = pull / precision
            before, mean = mean, self._solve(precision, middle)
            shift = np.abs(self.matrix @ (mean - before)) / np.sqrt(variance)
            if not np.isfinite(shift).all() or shift.max(initial=0.0) < _STILL:
                break
        return mean

    def _solve(self, precision: Floats, middle: Floats) -> Floats:
        square = (self.matrix.T * precision) @ self.matrix
        square[np.diag_indices(len(square))] += _VAGUE * max(float(square.diagonal().max()), 1.0)
        unit = 1 / np.sqrt(square.diagonal())
        factor = linalg.cholesky(square * unit[:, None] * unit, lower=True, check_finite=False)
        self.root = unit[:, None] * linalg.solve_triangular(factor, np.eye(len(square)), lower=True).T
        return np.asarray(self.root @ (self.root.T @ (self.matrix.T @ (precision * middle))))


def _within(matrix: Floats, off: Floats) -> Floats | None:
    """Weights whose largest miss is the least, by a linear program; None if that is more than 1."""
    p, ones = matrix.shape[1], np.ones((len(matrix), 1))
    above, below = np.hstack([matrix, -ones]), np.hstack([-matrix, -ones])
    bounds = [(None, None)] * p + [(0.0, None)]
    found = optimize.linprog(np.eye(p + 1)[-1], np.vstack([above, below]), np.append(off, -off), bounds=bounds)
    solution = np.asarray(found.x, dtype=np.float64)
    return solution[:-1] if found.status == 0 and solution[-1] <= 1.0 + _SLACK else None


def ends(design: Design, n: int, rng: np.random.Generator) -> Rows:
    """Rows with numbers near the ends of their ranges, which tell most of a slope; of shape (n, d)."""
    space, view = design.space, design.view
    rows = design.varied(n, child(rng, "categories"))
    draw = child(rng, "ends")
    way = draw.choice([-1.0, 1.0], size=rows.shape) * (1.0 - _INWARD * draw.random(rows.shape))
    near = view.centre + way * np.where(space.high > space.low, view.scale, 0.0)
    rows = np.where(space.categorical, rows, np.clip(space.snap(near), space.low, space.high))
    if design.omission:
        leave = child(rng, "omit").random(rows.shape) < _OMIT
        rows[leave & space.categorical] = np.nan
    return rows


def chosen(design: Design, root: Floats, n: int, rng: np.random.Generator) -> tuple[Rows, float]:
    """Choose up to n rows near the ends that together cover most of what a covariance leaves open.

    Returns also the largest standard deviation of the values of all rows that were looked at.

    Parameters
    ----------
    design : Design
    root : (p, p)
        A square root of the covariance.
    n : int
    rng : Generator
    """
    rows = ends(design, max(_LEAST, n, _RATIO * min(n, design.size)), rng)
    open_ = design.matrix(rows) @ root
    # Pivots of a QR decomposition: each the row of which those before it leave most open.
    order = linalg.qr(open_.T, mode="r", pivoting=True, check_finite=False)[1][:n]
    return rows[order], float(np.sqrt((open_**2).sum(axis=1)).max())


def on_thresholds(design: Design, weights: Floats, rows: Rows, unit: float) -> Rows:
    """Move one number of each row to where the estimate lies between two multiples of a unit, where there is room."""
    space, view = design.space, design.view
    raw = np.searchsorted(view.starts, design.kept, side="right") - 1
    smooth = ~space.categorical[raw] & (space.grid[raw] == 0)
    if not smooth.any():
        return rows
    columns = raw[smooth]
    slopes = weights[:-1][smooth] / view.scale[columns]
    value = design.matrix(rows) @ weights
    nearest = (np.floor(value / unit) + 0.5) * unit - value
    wanted = nearest[:, None] + unit * np.array([0.0, 1.0, -1.0])  # and those beside it
    with np.errstate(divide="ignore", invalid="ignore"):
        step = (wanted[:, None, :] / slopes[:, None]).reshape(len(rows), -1)  # a place for each column and threshold
    place = np.repeat(columns, 3)
    reached = rows[:, place] + step
    fits = np.isfinite(step) & (reached >= space.low[place]) & (reached <= space.high[place])
    cost = np.where(fits, np.abs(step) / view.scale[place], np.inf)
    best = cost.argmin(axis=1)
    (able,) = np.nonzero(np.isfinite(cost.min(axis=1)))
    moved = rows.copy()
    moved[able, place[best[able]]] = reached[able, best[able]]
    return moved
