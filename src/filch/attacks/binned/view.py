"""Answers of an additive model as sums: what a row adds to the base row's scores, and how precisely that is known.

For softmax and binary models the scores are the log-ratios ``log f_i − log f_0``, for a regression the value itself.
Both are sums over the attributes. One-vs-rest answers are no sums; their log-ratios still tell bins apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filch.core.answers import Answers
from filch.core.features import Rows
from filch.core.oracle import OracleSpec

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
_ROUNDING = 2e-14  # of scores, relative: sums in another order, logarithms, 16 digits
_DIGIT = 1e-15  # of a probability: what 1 − f and 16 significant digits leave
_LEAST = 1e-300


@dataclass(eq=False)
class View:
    """Rows that give few attributes, and what their answers add to the base row's.

    Parameters
    ----------
    spec : OracleSpec
    coarse : float, default 0
        How far a shown probability or value may be from the true one, for rounding.
    """

    spec: OracleSpec
    coarse: float = 0.0

    def __post_init__(self) -> None:
        space = self.spec.space
        self.base: Rows = (
            np.full(len(space), np.nan) if self.spec.omission else np.where(space.categorical, 0.0, space.low)
        )
        self.origin: Floats | None = None
        self.slack = 0.0

    def row(self, given: dict[int, float]) -> Rows:
        """The base row with some attributes given."""
        row = self.base.copy()
        row[list(given)] = list(given.values())
        return row

    def scores(self, answers: Answers) -> tuple[Floats, Floats]:
        """The scores of each answer, (n, k), and their errors, (n,): infinite where an answer tells nothing."""
        if self.spec.classes is None:
            assert answers.value is not None
            value = answers.value[:, None]
            error = self.coarse + _ROUNDING * (1.0 + np.abs(value[:, 0]))
            return np.nan_to_num(value), np.where(np.isfinite(value[:, 0]) & ~answers.refused, error, np.inf)
        shown = answers.probabilities
        assert shown is not None
        logs = np.log(np.maximum(shown, max(self.coarse / 2, _LEAST)))
        ratios = logs[:, 1:] - logs[:, :1]
        least = np.maximum(np.nan_to_num(shown.min(axis=1)), max(self.coarse / 2, _LEAST))
        error = _ROUNDING * (1.0 + np.abs(ratios).max(axis=1)) + (_DIGIT + 2 * self.coarse) / least
        bad = answers.refused | ~np.isfinite(ratios).all(axis=1)
        return np.nan_to_num(ratios), np.where(bad, np.inf, error)

    def centre(self, answers: Answers) -> bool:
        """Take the base row's answer as the origin; whether it tells anything."""
        scores, errors = self.scores(answers)
        if not np.isfinite(errors[0]):
            return False
        self.origin, self.slack = scores[0], float(errors[0])
        return True

    def added(self, answers: Answers) -> tuple[Floats, Floats]:
        """What each row adds to the base row's scores, (n, k), and the errors, (n,)."""
        scores, errors = self.scores(answers)
        assert self.origin is not None
        return scores - self.origin, errors + self.slack
