"""What labels leave open: a normal distribution over the weights of a linear model.

A label says on which side of 0 one score lies. The distribution that this leaves is replaced by the normal one of the
same mean and covariance, label by label as they come, and from time to time for all labels against each other
(expectation propagation [Minka01]). The covariance is kept as a square root, for digits that differences would lose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.special import log_ndtr, ndtr

Floats = npt.NDArray[np.float64]
_LOG_ROOT = 0.5 * math.log(2 * math.pi)
_MOST = 1 - 1e-6  # the part of a variance that one label takes at most
_LOST = 1e-7  # of the mean's length: with so small a deviation the inverse covariance has no digits left
_EDGE = 1e-12  # a probability below it is taken as it
_BESIDE = 64  # rows closest to the boundary: they tell how densely rows lie there
_SWEEPS, _DAMPED, _STILL = 40, 0.5, 1e-2  # of propagation: at most so many, each so far, until margins move no more


@dataclass(eq=False)
class LabelBelief:
    """A normal distribution over weights θ, given the signs of scores ``θ·x``, some of which may be flipped.

    Parameters
    ----------
    deviations : (p,)
        Standard deviations of the weights before anything is known.
    flips : float
        The share of labels that are flipped.

    Examples
    --------
    >>> belief = LabelBelief(np.ones(2))
    >>> belief.hear(np.array([1.0, 0.0]), True)
    >>> belief.mean.round(3).tolist(), belief.variance(np.eye(2)).round(3).tolist()
    ([0.798, 0.0], [0.363, 1.0])
    """

    deviations: Floats
    flips: float = 0.0

    def __post_init__(self) -> None:
        self.mean = np.zeros(len(self.deviations))
        self.root = np.diag(self.deviations)  # covariance = root rootᵀ
        # Of each label: its score's row, its sign, and the normal factor that stands for it.
        self.rows: list[Floats] = []
        self.signs: list[float] = []
        self.factors: list[tuple[float, float]] = []

    def hear(self, x: Floats, positive: bool) -> None:
        """Take in the sign of one score."""
        sign, along = 1.0 if positive else -1.0, x @ self.root
        variance = float(along @ along)
        deviation = math.sqrt(variance)
        score = float(x @ self.mean)
        slope, taken = (float(part[0]) for part in self.moments(np.array([sign * score / deviation])))
        left, across = variance * (1.0 - taken), self.root @ along
        self.rows.append(x)
        self.signs.append(sign)
        self.factors.append((1 / left - 1 / variance, (score + sign * slope * deviation) / left - score / variance))
        self.mean += sign * slope / deviation * across
        self.shrink(across, along, taken)

    def moments(self, margins: Floats) -> tuple[Floats, Floats]:
        """How far labels move scores towards themselves, in deviations, and the parts of the variances they take."""
        clear = 1.0 - 2.0 * self.flips
        log_given = np.asarray(log_ndtr(margins))
        if self.flips:
            log_given = np.log(self.flips + clear * np.exp(log_given))
        slope = clear * np.exp(-0.5 * margins**2 - _LOG_ROOT - log_given)
        return slope, np.minimum(slope * (slope + margins), _MOST)

    def settle(self) -> bool:
        """Weigh all labels against each other anew; whether they came to rest.

        The order in which they were heard then matters no more. If they do not come to rest, or deviations are too
        small for the inverse covariance, all stays as it was.
        """
        if not self.rows:
            return True
        design, signs = np.array(self.rows), np.array(self.signs)
        precision, pull = np.array(self.factors).T.copy()
        mean, root = self.mean, self.root
        if self.variance(design).min() < (_LOST * float(np.linalg.norm(mean))) ** 2:
            return False
        for _ in range(_SWEEPS):
            score, variance = design @ mean, ((design @ root) ** 2).sum(axis=1)
            rest = np.maximum(1 / variance - precision, 1e-3 / variance)  # the precision without the label itself
            middle = (score / variance - pull) / rest
            slope, taken = self.moments(signs * middle * np.sqrt(rest))
            wanted = np.maximum(rest / (1 - taken) - rest, 0.0)
            toward = (middle + signs * slope / np.sqrt(rest)) * (rest + wanted) - middle * rest
            precision, pull = precision + _DAMPED * (wanted - precision), pull + _DAMPED * (toward - pull)
            square = (design.T * precision) @ design
            square[np.diag_indices(len(square))] += 1 / self.deviations**2
            unit = 1 / np.sqrt(square.diagonal())
            try:
                factor = linalg.cholesky(square * unit[:, None] * unit, lower=True)
            except (linalg.LinAlgError, ValueError):
                return False
            root = unit[:, None] * linalg.solve_triangular(factor, np.eye(len(square)), lower=True).T
            before, mean = mean, root @ (root.T @ (design.T @ pull))
            if np.abs(design @ (mean - before) / np.sqrt(variance)).max() < _STILL:
                self.mean, self.root = mean, root
                self.factors = list(zip(precision.tolist(), pull.tolist(), strict=True))
                return True
        return False

    def shrink(self, across: Floats, along: Floats, taken: float) -> None:
        """Take a part of the variance of a score away; ``along = rootᵀ x``, ``across = root along``."""
        self.root = self.root - ((1.0 - math.sqrt(1.0 - taken)) / float(along @ along)) * np.outer(across, along)

    def expect(self, x: Floats) -> None:
        """Narrow the distribution as far as the label of a row will on average, without moving it."""
        along = x @ self.root
        self.shrink(self.root @ along, along, min(float(self.worth(self.margins(x[None]))[0]), _MOST))

    def variance(self, design: Floats) -> Floats:
        """The variances of scores of rows, of shape (n,)."""
        return np.asarray(((design @ self.root) ** 2).sum(axis=1))

    def margins(self, design: Floats) -> Floats:
        """The scores of rows in deviations from 0, given the scale of the weights, which no label tells; shape (n,)."""
        return np.asarray((design @ self.mean) / np.maximum(self.deviation(design), 1e-300))

    def deviation(self, design: Floats) -> Floats:
        """The standard deviations of scores of rows, given the scale of the weights, of shape (n,)."""
        unit = self.mean / (float(np.linalg.norm(self.mean)) or 1.0)
        return np.sqrt(self.variance(design - np.outer(design @ unit, unit)))

    def worth(self, margins: Floats) -> Floats:
        """The part of a score's variance that its label takes away on average, at most 2/π; of shape (n,)."""
        clear = 1.0 - 2.0 * self.flips
        chance = np.clip(self.flips + clear * ndtr(margins), _EDGE, 1 - _EDGE)
        density = np.exp(-0.5 * np.minimum(np.abs(margins), 30.0) ** 2 - _LOG_ROOT)
        return np.asarray((clear * density) ** 2 / (chance * (1 - chance)))

    def gain(self, design: Floats, metric: Floats) -> Floats:
        """How much of the summed variance of all scores the label of each row takes away on average, of shape (n,).

        ``metric`` of shape (p,) weighs the weights' variances. What is open along the mean does not count: it is the
        scale, which no label tells.
        """
        along = design @ self.root
        across = along @ self.root.T
        unit = self.mean / (float(np.linalg.norm(self.mean)) or 1.0)
        across = across - np.outer(across @ unit, unit)
        variance = np.maximum((along**2).sum(axis=1), 1e-300)
        return np.asarray(self.worth(self.margins(design)) * ((across**2) @ metric) / variance)

    @property
    def angle(self) -> float:
        """The root of the expected squared angle between the mean and the weights, where it is small; rad."""
        length = float(np.linalg.norm(self.mean))
        if not length:
            return math.pi / 2
        unit = self.mean / length
        return float(np.linalg.norm(self.root - np.outer(unit, unit @ self.root))) / length

    def disagreement(self, design: Floats) -> float:
        """The expected share of uniform rows, of which ``design`` holds a few, that are given another label."""
        scores, deviation = design @ self.mean, self.deviation(design)
        beside = np.abs(scores).argpartition(_BESIDE)[:_BESIDE]
        reach = max(float(np.abs(scores[beside]).max()), 1e-300)
        dense = _BESIDE / len(scores) / (2 * reach)  # rows for each unit of score, at the boundary
        far = np.delete(np.abs(scores) / np.maximum(deviation, 1e-300), beside)
        near = min(0.8 * dense * float(np.median(deviation[beside])), 0.5 * _BESIDE / len(scores))
        return near + float(ndtr(-far).sum()) / len(scores)
