"""Mean and variance of a normal variable that is known to lie in an interval, to full precision in the tails too."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import erfcx, ndtr

Floats = npt.NDArray[np.float64]
_THIN = 0.05  # standard deviations: an interval so narrow, or …
_FAR = 50.0  # … so far out, holds an exponential distribution
_UNIFORM = 1e-3  # decay over the interval below which it is a uniform one
_WHOLE = 700.0  # decay over the interval from which its far end does not matter


def truncated(mean: Floats, variance: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Mean and variance of ``N(mean, variance)`` cut to ``low … high``, all of one shape; ends may be infinite.

    Examples
    --------
    >>> m, v = truncated(np.zeros(2), np.ones(2), np.array([0.0, 100.0]), np.array([np.inf, 100.3]))
    >>> m.round(3).tolist(), v.round(4).tolist()
    ([0.798, 100.01], [0.3634, 0.0001])
    """
    scale = np.sqrt(variance)
    low, high = (low - mean) / scale, (high - mean) / scale
    open_ = np.isinf(low) & np.isinf(high)
    low, high = np.where(open_, -1.0, low), np.where(open_, 1.0, high)
    mirrored = low + high < 0
    a, b = np.where(mirrored, -high, low), np.where(mirrored, -low, high)  # b > 0 and |a| ≤ b
    at, spread = np.zeros_like(a), np.ones_like(a)
    edge = (b - a < _THIN) | (a > _FAR)
    beside, across = ~edge & (a > 0), ~edge & (a <= 0)
    for which, moments in ((edge, _exponential), (beside, _beside), (across, _across)):
        if which.any():
            at[which], spread[which] = moments(a[which], b[which])
    spread = np.clip(spread, 1e-12 * np.minimum(b - a, 1.0) ** 2, 1.0)
    at = np.clip(at, a, b)
    at, spread = np.where(open_, 0.0, at), np.where(open_, 1.0, spread)
    return mean + scale * np.where(mirrored, -at, at), variance * spread


def _exponential(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Where the density falls like ``exp(−rate·x)`` from ``a`` to ``b``."""
    width = b - a
    rate = np.maximum(np.where(width < _THIN, a + 0.5 * np.minimum(width, _THIN), a), 1e-12)
    width = np.minimum(width, 2 * _WHOLE / rate)
    decay = np.minimum(rate * width, _WHOLE)
    flat, whole = decay < _UNIFORM, decay >= _WHOLE
    decay = np.where(flat, 1.0, decay)
    offset = np.where(flat, 0.5 - rate * width / 12, 1 / decay - 1 / np.expm1(decay))
    spread = np.where(flat, 1 / 12, 1 / decay**2 - 0.25 / np.sinh(decay / 2) ** 2)
    width = np.where(whole, 0.0, width)
    return a + np.where(whole, 1 / rate, offset * width), np.where(whole, 1 / rate**2, spread * width**2)


def _beside(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Where ``0 < a < b``."""
    end = np.where(np.isfinite(b), b, 0.0)
    falls = np.exp(np.where(np.isfinite(b), 0.5 * (a - end) * (a + end), -np.inf))
    mass = erfcx(a / np.sqrt(2)) - falls * erfcx(end / np.sqrt(2))
    first = np.sqrt(2 / np.pi) * (1 - falls) / mass
    return first, 1 + np.sqrt(2 / np.pi) * (a - end * falls) / mass - first**2


def _across(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Where ``a ≤ 0 < b``."""
    mass = ndtr(b) - ndtr(a)
    at_a, at_b = (np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi) / mass for x in (a, b))
    first = at_a - at_b
    ends = (np.where(np.isfinite(x), x, 0.0) for x in (a, b))
    second = 1 + next(ends) * at_a - next(ends) * at_b
    return first, second - first**2
