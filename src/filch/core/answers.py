"""What an oracle answers, and how much of it is revealed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filch.core.features import Rows
from filch.errors import UsageError

Floats = npt.NDArray[np.float64]
Index = slice | npt.NDArray[Any]
_TELLING, _FINEST = 4, 8  # so many values that end at the same decimals show that they are rounded; at most so many
_WITH_VALUE = ("value", "node", "confidence")  # what a regressor may reveal


@dataclass(frozen=True)
class Answers:
    """The answers to n rows. What was not revealed is None; arrays are read-only.

    Attributes
    ----------
    rows : (n, d)
        The rows that were asked.
    labels : (n,) int or None
        The predicted class, as an index into ``spec.classes``.
    probabilities : (n, c) or None
        One column a class; NaN where not revealed (top-k).
    value : (n,) or None
        A regressor's prediction.
    scores : (n, c) or None
        Raw scores (a decision function); c = 1 for a binary one.
    node : (n,) int or None
        The id of the tree node that answered.
    confidence : (n,) or None
        The confidence in the label, where it is no probability.
    fields : (n, d) bool or None
        The columns that are in the query or on the path.
    refused : (n,) bool
        Rows that were paid but not answered (rate limit, guard); their other entries mean nothing.
    """

    rows: Rows
    labels: npt.NDArray[np.int64] | None = None
    probabilities: Floats | None = None
    value: Floats | None = None
    scores: Floats | None = None
    node: npt.NDArray[np.int64] | None = None
    confidence: Floats | None = None
    fields: npt.NDArray[np.bool_] | None = None
    refused: npt.NDArray[np.bool_] = None  # type: ignore[assignment]  # filled in below

    def __post_init__(self) -> None:
        if self.refused is None:
            object.__setattr__(self, "refused", np.zeros(len(self.rows), dtype=bool))
        for name, array in self.arrays().items():
            if len(array) != len(self.rows):
                raise UsageError(f"{len(self.rows)} rows, but {len(array)} {name}")
            if not array.flags.c_contiguous:  # one layout, so that a replay's sums round as the first run's did
                array = np.ascontiguousarray(array)
                object.__setattr__(self, name, array)
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.rows)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything revealed, by name."""
        return {name: array for name in _NAMES if (array := getattr(self, name)) is not None}

    def __getitem__(self, index: Index) -> Answers:
        return Answers(**{name: array[index] for name, array in self.arrays().items()})

    @property
    def given(self) -> Answers:
        """The answers to the rows that were not refused."""
        return self if not self.refused.any() else self[~self.refused]

    @staticmethod
    def concat(parts: Iterable[Answers], rows: Rows | None = None) -> Answers:
        """Join answers of the same oracle, in order.

        ``rows`` are the rows of all parts where the caller has them in one piece, which spares copying them.

        Raises
        ------
        UsageError
            No parts, or parts that reveal different things.
        """
        parts = list(parts)
        if not parts:
            raise UsageError("there are no answers to join")
        full = [part for part in parts if len(part)] or parts[:1]
        if len(full) == 1:
            return full[0]
        if any(part.arrays().keys() != full[0].arrays().keys() for part in full):
            raise UsageError("answers that reveal different things cannot be joined")
        stacks = {name: [getattr(part, name) for part in full] for name in full[0].arrays()}
        joined = {name: np.concatenate(stack) for name, stack in stacks.items() if name != "rows" or rows is None}
        return Answers(**joined) if rows is None else Answers(rows=rows, **joined)

    @classmethod
    def none(cls, d: int) -> Answers:
        """No answers at all, for rows of d columns."""
        return cls(rows=np.empty((0, d)))


_NAMES = tuple(field.name for field in dataclasses.fields(Answers))


@dataclass(frozen=True)
class Reveal:
    """How much of an answer is shown.

    Parameters
    ----------
    level : str
        ``labels``, ``top-k`` (the label and the k highest probabilities), ``probabilities``, ``value``, ``scores``,
        ``node`` (a tree's label or value, and its leaf's id) or ``confidence`` (a tree's label or value, and the
        confidence in it).
    decimals : int, optional
        Probabilities, values, scores and confidences are rounded to so many decimals.

    Raises
    ------
    UsageError
        A level or a number of decimals that does not exist.

    Examples
    --------
    >>> Reveal("top-3").k, Reveal("probabilities", 2).decimals
    (3, 2)
    """

    level: str = "probabilities"
    decimals: int | None = None

    def __post_init__(self) -> None:
        levels = ("labels", "probabilities", "value", "scores", "node", "confidence")
        if self.level not in levels and not re.fullmatch(r"top-[1-9][0-9]*", self.level):
            raise UsageError(f"no reveal {self.level!r}: choose {', '.join(levels)} or top-1, top-2, …")
        if self.decimals is not None and not 0 <= self.decimals <= 17:
            raise UsageError(f"decimals must be 0 … 17, got {self.decimals}")

    @property
    def k(self) -> int | None:
        """The number of probabilities that a top-k reveal shows."""
        return int(self.level.removeprefix("top-")) if self.level.startswith("top-") else None

    @property
    def shows_probabilities(self) -> bool:
        """Whether any probabilities are shown."""
        return self.level == "probabilities" or self.k is not None

    def apply(self, answers: Answers) -> Answers:
        """Cut full answers down to what is revealed. Labels are those of the unrounded answers."""
        probabilities = answers.probabilities if self.shows_probabilities else None
        if probabilities is not None and self.k is not None and self.k < probabilities.shape[1]:
            order = np.argsort(-probabilities, axis=1, kind="stable")[:, : self.k]
            shown = np.full_like(probabilities, np.nan)
            np.put_along_axis(shown, order, np.take_along_axis(probabilities, order, axis=1), axis=1)
            probabilities = shown
        return Answers(
            rows=answers.rows,
            refused=answers.refused,
            labels=answers.labels,
            probabilities=self._rounded(probabilities),
            value=self._rounded(answers.value) if self.level in _WITH_VALUE else None,
            scores=self._rounded(answers.scores) if self.level == "scores" else None,
            node=answers.node if self.level == "node" else None,
            confidence=self._rounded(answers.confidence) if self.level != "labels" else None,
            fields=answers.fields,
        )

    def _rounded(self, array: Floats | None) -> Floats | None:
        return array if array is None or self.decimals is None else np.round(array, self.decimals)


def rounded_to(value: Floats) -> int | None:
    """The decimals, 0 … 8, that values all end at; None for others, and where they are fewer than four.

    Examples
    --------
    >>> rounded_to(np.array([1.25, 3.5, -7.0, 2.75])), rounded_to(np.array([1.25, 3.5, 1 / 3, 2.75]))
    (2, None)
    """
    for decimals in range(_FINEST + 1 if len(value) >= _TELLING else 0):
        if (np.round(value, decimals) == value).all():
            return decimals
    return None
