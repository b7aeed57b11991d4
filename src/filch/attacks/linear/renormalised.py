"""Probabilities that were rounded and then made to sum to 1 again: how coarse they are, and what they were before.

Such answers have all the digits of a float and yet tell no more than a few decimals. Rounded to D decimals, entries are
whole numbers of ``10^−D`` whose sum is m of them: the answers are fractions with the denominator m. Those of a softmax
sum to nearly 1, so that m, and with it each entry before, is read off. One-vs-rest scores may sum to anything: m is not
always told, but D is.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from filch.core.answers import Answers
from filch.core.attack import Ask
from filch.errors import BudgetSpent

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
T = TypeVar("T")
_FINEST_SUM, _FINEST_ANY = 6, 4  # decimals that are looked for, where sums are near 1 and where they are not
_TELLING = 3  # answers from which that is no accident
_ROWS = 24  # the last of them are looked at where sums may be any
_FLOATS = 1e-13  # of a whole number: what a division and a product may have rounded
_LARGE = 0.05  # of 10^D: the median denominator, lest what a tree's leaves hold is taken for it


@dataclass(frozen=True)
class Division:
    """How answers were rounded before they were divided by their sum.

    Attributes
    ----------
    decimals : int
    near : bool
        Whether the sums were 1 up to rounding, as of a softmax; else any, as of one-vs-rest scores.
    """

    decimals: int
    near: bool


def division(answers: Answers) -> Division | None:
    """The fewest decimals that answers may have had before they were divided by their sum; None if they were not.

    Examples
    --------
    >>> rows, scores = np.zeros((10, 1)), np.random.default_rng(0).random((10, 3))
    >>> shown = scores.round(2) / scores.round(2).sum(axis=1, keepdims=True)
    >>> division(Answers(rows, probabilities=shown))
    Division(decimals=2, near=False)
    >>> shares = (scores / scores.sum(axis=1, keepdims=True)).round(2)
    >>> division(Answers(rows, probabilities=shares / shares.sum(axis=1, keepdims=True)))
    Division(decimals=2, near=True)
    """
    shown = _inner(answers)
    for decimals in range(1, _FINEST_SUM + 1 if len(shown) >= _TELLING else 0):
        if _before(shown, decimals)[1].all():
            return Division(decimals, True)
        if decimals <= _FINEST_ANY and shown.shape[1] > 2 and _scores(shown[-_ROWS:], decimals):
            return Division(decimals, False)
    return None


def restored(answers: Answers, decimals: int, *, divided: bool = True) -> Answers:
    """The answers as they were before the division; those that were not divided stay as they are.

    Parameters
    ----------
    answers : Answers
    decimals : int
    divided : bool
        Whether every row may have been divided. Then one that several sums explain, as they do (1, 0, 0), counts as
        refused: what it was before is not told.
    """
    if answers.probabilities is None or not len(answers):
        return answers
    before, ways = _before(answers.probabilities, decimals)
    told = np.where(np.isfinite(before), before, answers.probabilities)
    return replace(answers, probabilities=told, refused=answers.refused | (divided & (ways > 1)))


def restoring(steps: Generator[Ask, Answers, T], decimals: int, seen: Answers) -> Generator[Ask, Answers, T | None]:
    """Pass asks on, and answers back as they were before the division, once one in ``seen`` or later shows it.

    Ends with None as soon as an answer cannot have been rounded to so many decimals and divided by a sum near 1.
    """
    divided = divides(seen, decimals)

    def told(answers: Answers) -> Answers:
        nonlocal divided
        divided = divided or divides(answers, decimals)
        return restored(answers, decimals, divided=divided)

    try:
        ask = next(steps)
        while True:
            try:
                answers = yield ask
            except BudgetSpent as spent:
                ask = steps.throw(BudgetSpent(told(spent.partial)))
            else:
                if ask.account == "attack" and not _before(_inner(answers), decimals)[1].all():
                    return None
                ask = steps.send(told(answers))
    except StopIteration as stop:
        found: T = stop.value
        return found


def divides(answers: Answers, decimals: int) -> bool:
    """Whether some answers have more decimals than they had before a division."""
    shown = answers.given.probabilities
    if shown is None or not len(shown):
        return False
    return bool((_before(shown, decimals)[1].astype(bool) & ~_whole(shown * 10.0**decimals)).any())


def _inner(answers: Answers) -> Floats:
    """Answers that are neither 0 nor 1 throughout, each once, in their order."""
    shown = answers.given.probabilities
    if shown is None:
        return np.empty((0, 2))
    inner: Floats = shown[((shown > 0.0) & (shown < 1.0)).sum(axis=1) > 1]
    return inner[np.sort(np.unique(inner, axis=0, return_index=True)[1])]


def _before(shown: Floats, decimals: int) -> tuple[Floats, Ints]:
    """Entries before the division, of shape (n, c), by the sum nearest to 1; NaN where there is none; and how many are.

    Each entry was off by at most half a unit, so that the sum was off by less than c/2.
    """
    unit, reach = 10.0**decimals, (shown.shape[1] - 1) // 2
    away = np.arange(-reach, reach + 1.0)
    sums = unit + away[np.argsort(np.abs(away), kind="stable")]
    counts = shown[:, None, :] * sums[:, None]
    whole: Flags = _whole(counts)
    chosen = np.round(counts[np.arange(len(shown)), whole.argmax(axis=1)]) / unit
    ways: Ints = whole.sum(axis=1)
    return np.where(ways[:, None] > 0, chosen, np.nan), ways


def _scores(shown: Floats, decimals: int) -> bool:
    """Whether answers can be scores of at most 1, rounded and divided by what they sum to.

    The shares of a tree's rows and the votes of neighbours or of a forest are fractions, too. Votes have one
    denominator for all, and what a leaf holds is often less than scores would sum to.
    """
    unit, classes = 10**decimals, shown.shape[1]
    sums = np.arange(1.0, classes * unit + 1)
    least = [_least_sum(row, sums[row.max() * sums <= unit + 0.5]) for row in shown]
    return all(least) and math.lcm(*least) > classes * unit and float(np.median(least)) > _LARGE * unit


def _least_sum(row: Floats, sums: Floats) -> int:
    """The least sum that makes all entries whole; 0 where none does."""
    whole = np.flatnonzero(_whole(row * sums[:, None]))
    return int(sums[whole[0]]) if len(whole) else 0


def _whole(counts: Floats) -> Flags:
    """Whether all entries along the last axis are whole numbers but for float rounding."""
    allowed = _FLOATS * np.maximum(counts.max(axis=-1), 1.0) * 10
    whole: Flags = np.abs(counts - np.round(counts)).max(axis=-1) <= allowed
    return whole
