"""Rows near a decision boundary: segments between rows of two classes, halved on the surrogate or on the target."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filch.core.attack import MOST_BYTES
from filch.core.features import FeatureSpace, Rows
from filch.models.surrogate import SurrogateModel

Ints = npt.NDArray[np.int64]
_HALVINGS = 12  # of a segment, down to the surrogate's boundary
_POOL = 4_000  # uniform rows from which segments are drawn


@dataclass(eq=False)
class Segments:
    """Segments between rows of different classes.

    Along a segment numbers move, and each category switches once, at a random place.

    Parameters
    ----------
    space : FeatureSpace
    a, b : (n, d)
        Rows of different classes, complete.
    label : (n,) int
        The class of each row of ``a``; any other counts as the class of ``b``.
    switch : (n, d)
        Where on the way each category switches.
    """

    space: FeatureSpace
    a: Rows
    b: Rows
    label: Ints
    switch: Rows

    def __post_init__(self) -> None:
        self.low, self.high = np.zeros(len(self.a)), np.ones(len(self.a))

    def at(self, share: Rows) -> Rows:
        """The rows at a share of the way each, on the grid; of shape (n, d)."""
        t = share[:, None]
        moved = self.a + t * (self.b - self.a)
        return self.space.snap(np.where(self.space.categorical, np.where(t > self.switch, self.b, self.a), moved))

    def narrow(self, share: Rows, labels: Ints, told: npt.NDArray[np.bool_]) -> None:
        """Learn the labels at a share of the way each, where they are told."""
        same = labels == self.label
        self.low = np.where(told & same, share, self.low)
        self.high = np.where(told & ~same, share, self.high)

    @classmethod
    def draw(cls, space: FeatureSpace, ends: Rows, labels: Ints, n: int, rng: np.random.Generator) -> Segments | None:
        """Draw segments among rows, each class as often as any other; None if all rows are of one class."""
        present, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
        if len(present) < 2:
            return None
        weights = 1.0 / counts[codes]
        first = rng.choice(len(ends), size=n, p=weights / weights.sum())
        second = _of_another_class(codes, first, len(present), rng)
        return cls(space, ends[first], ends[second], labels[first], rng.random((n, len(space))))


def near_boundary(
    model: SurrogateModel, heard: Rows, wanted: int, rng: np.random.Generator, *, others: int = _POOL
) -> Rows:
    """Rows on either side of a surrogate's decision boundary; of shape (≤ wanted, d).

    They lie between rows that were heard, or so many ``others``, which are uniform.
    """
    space = model.space
    ends = np.concatenate([space.sample(others, rng), heard[complete(space, heard)]])
    segments = Segments.draw(space, ends, model.labels(ends), wanted, rng)
    if segments is None:
        return ends[:0]
    everywhere = np.ones(wanted, dtype=bool)
    for _ in range(_HALVINGS):
        middle = (segments.low + segments.high) / 2
        segments.narrow(middle, model.labels(segments.at(middle)), everywhere)
    return segments.at(np.where(rng.random(wanted) < 0.5, segments.low, segments.high))


def complete(space: FeatureSpace, rows: Rows) -> npt.NDArray[np.bool_]:
    """Which rows lie in the ranges, with nothing omitted or unknown; of shape (n,)."""
    return np.asarray(((rows >= space.low) & (rows <= space.high)).all(axis=1))


def fresh(rows: Rows, seen: set[bytes]) -> npt.NDArray[np.int64]:
    """The places of rows that were not asked yet, each row once."""
    first: dict[bytes, int] = {}
    for place, row in enumerate(rows):
        first.setdefault(row.tobytes(), place)
    return np.array([place for key, place in first.items() if key not in seen], dtype=np.int64)


def blocks(rows: Rows, *, doubling: bool = False) -> Iterator[Rows]:
    """Cut rows into asks of bounded size; ``doubling`` cuts them into four, each as long as all before it."""
    cuts = {0, len(rows), *(math.ceil(len(rows) / 2**k) for k in range(4) if doubling)}
    most = max(1, MOST_BYTES // max(1, rows[:1].nbytes))
    for start, stop in itertools.pairwise(sorted(cuts | set(range(0, len(rows), most)))):
        yield rows[start:stop]


def _of_another_class(codes: Ints, first: Ints, n: int, rng: np.random.Generator) -> Ints:
    """For each row one of another class, each class as often as any other."""
    other = (codes[first] + rng.integers(1, n, size=len(first))) % n
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(n + 1))
    place = starts[other] + np.floor(rng.random(len(first)) * (starts[other + 1] - starts[other])).astype(np.int64)
    return np.asarray(order[place])
