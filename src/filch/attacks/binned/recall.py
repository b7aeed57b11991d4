"""Rows whose answers are known already are not asked again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from filch.core.answers import Answers
from filch.core.attack import Finding, Steps
from filch.core.features import Rows
from filch.errors import BudgetSpent


class Recall:
    """Answers that are paid already.

    Parameters
    ----------
    known : Answers

    Attributes
    ----------
    unused : Answers
        Those that no step has asked for.
    """

    def __init__(self, known: Answers) -> None:
        self._known = known.given
        self._places = {key: place for place, key in enumerate(_keys(self._known.rows))}
        self._used = np.zeros(len(self._known), dtype=bool)

    @property
    def unused(self) -> Answers:
        """What no step has asked for."""
        return self._known[~self._used]

    def over(self, steps: Steps) -> Steps:
        """Pass asks on without the rows whose answers are known."""
        try:
            ask = next(steps)
            while True:
                places = [self._places.get(key) for key in _keys(ask.rows)]
                new = np.array([place is None for place in places], dtype=bool)
                told = self._known[np.array([place for place in places if place is not None], dtype=np.int64)]
                self._used[[place for place in places if place is not None]] = True
                if not new.any():
                    ask = steps.send(told)
                    continue
                try:
                    answers = yield replace(ask, rows=ask.rows[new]) if len(told) else ask
                except BudgetSpent as spent:
                    ask = steps.throw(spent)
                    continue
                if len(told):
                    order = np.argsort(np.argsort(new, kind="stable"), kind="stable")
                    answers = Answers.concat([told, answers])[order]
                ask = steps.send(answers)
        except StopIteration as stop:
            finding: Finding = stop.value
            return finding


def _keys(rows: Rows) -> list[bytes]:
    """Rows as bytes: one NaN, one zero."""
    return [row.tobytes() for row in np.where(np.isnan(rows), np.nan, rows + 0.0)]


__all__ = ["Recall"]
