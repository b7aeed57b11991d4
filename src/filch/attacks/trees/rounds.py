"""Guesses at how round a feature's thresholds are, which spare a line search the digits that are 0.

A threshold that was learned from data lies midway between two values, so that data of one decimal have thresholds
at multiples of 0.05. The first guess comes from the ends of the range; each threshold found confirms or changes it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from filch.core.features import FeatureSpace, Rows

_GAIN = 4.0  # a guess that is not coarser than so many precisions is not worth the two rows that confirm it
_KEPT = 6  # thresholds, of each column, that a guess must fit
_SLACK = 1e-9


@dataclass(eq=False)
class Rounds:
    """The steps at whose multiples thresholds are looked for first.

    Parameters
    ----------
    space : FeatureSpace
    epsilon : (d,)
        The precision of each numeric column.
    """

    space: FeatureSpace
    epsilon: Rows
    step: Rows = field(init=False)
    """Of each column; 0 for none."""
    found: dict[int, list[tuple[float, float]]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.step = np.zeros(len(self.space))
        for column in np.flatnonzero(~self.space.categorical & (self.space.grid == 0)).tolist():
            ends = float(self.space.low[column]), float(self.space.high[column])
            guess = 0.5 * 10.0 ** -max(_decimals(end) for end in ends)
            self.step[column] = guess if guess >= _GAIN * self.epsilon[column] else 0.0

    def place(self, column: int, low: float, high: float) -> float | None:
        """Where to ask in a bracket so as to find a round threshold; None if there is none to be found."""
        step = float(self.step[column])
        if not step or high - low <= self.epsilon[column] * (1 + _SLACK):
            return None
        first, last = math.ceil(low / step - _SLACK), math.ceil(high / step - _SLACK) - 1
        if first > last:
            return None
        asked = abs(first * step - low) <= _SLACK * step
        if first == last and asked:
            return low + float(self.epsilon[column])
        middle = first + (last - first + asked) // 2
        return round(middle * step, 12)

    def learn(self, column: int, low: float, high: float) -> None:
        """Note a bracket as narrow as the precision, and guess anew if the last guess does not fit."""
        if self.space.grid[column] or self.epsilon[column] <= 0:
            return
        brackets = self.found.setdefault(column, [])
        if (low, high) in brackets:
            return
        brackets.append((low, high))
        del brackets[:-_KEPT]
        step = float(self.step[column])
        if not (step and _holds(step, low, high)):
            self.step[column] = self._guess(column, brackets)

    def _guess(self, column: int, brackets: list[tuple[float, float]]) -> float:
        span = float(self.space.high[column] - self.space.low[column])
        top = math.floor(math.log10(span)) if span > 0 else 0
        for exponent in range(top, top - 16, -1):
            for step in (0.5 * 10.0 ** (exponent + 1), 10.0**exponent):
                if step < _GAIN * self.epsilon[column]:
                    return 0.0
                misses = sum(not _holds(step, low, high) for low, high in brackets)
                if misses <= len(brackets) // 4:
                    return step
        return 0.0


def _holds(step: float, low: float, high: float) -> bool:
    """Whether a multiple of the step lies in ``[low, high)``."""
    return math.ceil(low / step - _SLACK) * step < high


def _decimals(number: float) -> int:
    """The decimals of a number's shortest text."""
    text = f"{number:.12f}".rstrip("0")
    return len(text.partition(".")[2])
