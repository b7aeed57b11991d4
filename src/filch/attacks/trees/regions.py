"""Boxes of the feature space that the search for a tree's splits works on, and what was asked in them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from filch.core.features import FeatureSpace, Rows
from filch.models.trees.build import STOP

Ints = npt.NDArray[np.int64]
_KEPT = 256  # answered rows that a region keeps at hand; all others are remembered too


@dataclass(frozen=True, eq=False)
class Cut:
    """A split that was found.

    Attributes
    ----------
    column : int
    low, high : float
        A numeric split lies between these two values, which were both asked.
    groups : tuple of tuple of int
        The category codes of each branch; empty if numeric.
    """

    column: int
    low: float = 0.0
    high: float = 0.0
    groups: tuple[tuple[int, ...], ...] = ()

    @property
    def threshold(self) -> float:
        """The roundest number of the bracket: trained thresholds have few digits, and rows may lie just there."""
        return roundest(self.low, self.high)


def roundest(low: float, high: float) -> float:
    """The number in ``[low, high)`` with the fewest decimals.

    Examples
    --------
    >>> roundest(108.9997, 109.0003), roundest(-0.5, 3.2), roundest(0.12, 0.13)
    (109.0, 0.0, 0.12)
    """
    if not low < high:
        return low
    if low <= 0.0 < high:
        return 0.0
    for decimals in range(-math.ceil(math.log10(max(abs(low), abs(high)))), 18):
        number = round(math.ceil(low * 10.0**decimals) / 10.0**decimals, max(decimals, 0))
        if low <= number < high:
            return number
    return low + (high - low) / 2


@dataclass(eq=False)
class Region:
    """A box, the features that queries in it give, and what became of it.

    Attributes
    ----------
    low, high : (d,)
        Of numeric columns.
    open : dict of int to tuple of int
        The categories left, of each categorical column.
    given : (d,) bool
        The features that queries give; the others are omitted.
    flip : (d,) bool
        The numeric columns whose high end the first corner takes: it stays where it is as the box is cut.
    depth : int
    rows : list of (d,)
        Rows answered in here, with ``ids``.
    node : int or None
        The id that every row in here has, once that is known.
    cut : Cut or None
    parts : list of Region
        The regions on the sides of the cut.
    below : Region or None
        The same box with one feature more given, where the tree goes on to split.
    root : int or None
        The column that the tree splits first in here, where that is known.
    crossed : bool
        Whether that column was crossed.
    ended : bool
        Whether a complete row was told the same as one that gives no more than this region.
    closed : bool
        Whether its search came to an end, without a cut.
    missing : int
        Of a region that was cut: the part that takes a missing value; −1 if the node itself answers.
    told : int or None
        The id that the node gives then, if it was asked after the cut.
    """

    low: Rows
    high: Rows
    open: dict[int, tuple[int, ...]]
    given: npt.NDArray[np.bool_]
    flip: npt.NDArray[np.bool_]
    depth: int = 0
    rows: list[Rows] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    node: int | None = None
    cut: Cut | None = None
    parts: list[Region] = field(default_factory=list)
    below: Region | None = None
    root: int | None = None
    crossed: bool = False
    probed: int = 0
    ended: bool = False
    closed: bool = False
    missing: int = STOP
    told: int | None = None

    @classmethod
    def whole(cls, space: FeatureSpace, given: npt.NDArray[np.bool_]) -> Region:
        """The whole space."""
        codes = {int(j): tuple(range(int(space.sizes[j]))) for j in np.flatnonzero(space.categorical)}
        return cls(space.low.copy(), space.high.copy(), codes, given, np.zeros(len(space), dtype=bool))

    @property
    def dead(self) -> bool:
        """Whether a bracket took the whole box: thresholds are nearer than the precision."""
        return bool((self.low > self.high).any()) or not all(self.open.values())

    def corner(self, number: int, given: npt.NDArray[np.bool_] | None = None) -> Rows:
        """A corner of the box: numbers low or high by parity, categories in turn; features not given are omitted."""
        row = np.where(self.flip ^ bool(number % 2), self.high, self.low)
        for column, codes in self.open.items():
            row[column] = codes[number % len(codes)]
        row[~(self.given if given is None else given)] = np.nan
        return row

    def varying(self) -> Ints:
        """The given columns in which rows of the box may differ."""
        free = self.given & (self.low < self.high)
        for column, codes in self.open.items():
            free[column] = self.given[column] and len(codes) > 1
        return np.flatnonzero(free)

    def categories(self) -> list[int]:
        """Those of them that are categorical."""
        return [column for column in self.varying().tolist() if column in self.open]

    @property
    def column(self) -> int:
        """The column of the cut."""
        assert self.cut is not None
        return self.cut.column

    def holds(self, column: int, value: float) -> bool:
        """Whether a value of one column lies in the box."""
        return (
            value in self.open[column] if column in self.open else bool(self.low[column] <= value <= self.high[column])
        )

    def within(self, space: FeatureSpace, rng: np.random.Generator, n: int) -> Rows:
        """Random rows of the box, of shape (n, d), complete."""
        rows = rng.uniform(self.low, self.high, size=(n, len(self.low)))
        steps = np.round((rows - self.low) / np.where(space.grid > 0, space.grid, 1.0))
        rows = np.where(space.grid > 0, np.clip(self.low + steps * space.grid, self.low, self.high), rows)
        for column, codes in self.open.items():
            rows[:, column] = rng.choice(codes, size=n)
        return rows

    def inside(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Which rows lie in the box (an omitted value does)."""
        ok = np.ones(len(rows), dtype=bool)
        for column in range(rows.shape[1]):
            values = rows[:, column]
            if column in self.open:
                fits = np.isin(values, self.open[column])
            else:
                fits = (values >= self.low[column]) & (values <= self.high[column])
            ok &= fits | np.isnan(values)
        return ok

    def note(self, rows: Rows, ids: Ints) -> None:
        """Keep answered rows at hand."""
        self.rows.extend(rows)
        self.ids.extend(ids.tolist())
        if len(self.rows) > _KEPT:
            del self.rows[:-_KEPT], self.ids[:-_KEPT]

    def along(self, corner: Rows, column: int) -> tuple[Rows, Rows]:
        """The rows at hand that were told what rows on the line through a corner were told, and those that were not."""
        rows, ids = np.array(self.rows).reshape(len(self.rows), len(self.low)), np.array(self.ids, dtype=np.int64)
        apart = (rows != corner) & ~(np.isnan(rows) & np.isnan(corner))
        apart[:, column] = False
        like = np.isin(ids, ids[~apart.any(axis=1)])
        return rows[like], rows[~like]

    def uncovered(self, more: Rows | None = None) -> Rows:
        """The fewest rows that, with those at hand and ``more``, take both ends of every range and every category.

        If all of these rows have the id of one leaf, no split is left in the box: a first split on any feature would
        part two of them.
        """
        at_hand = np.array(self.rows).reshape(len(self.rows), len(self.low))
        at_hand = at_hand if more is None else np.concatenate([at_hand, more])
        wanted: dict[int, list[float]] = {}
        for column in self.varying().tolist():
            codes = self.open.get(column)
            values = [float(c) for c in codes] if codes else [float(self.low[column]), float(self.high[column])]
            seen = set(at_hand[:, column].tolist())
            wanted[column] = [value for value in values if value not in seen]
        count = max((len(values) for values in wanted.values()), default=0)
        if not at_hand.size:
            count = max(count, 1)
        rows = np.array([self.corner(number) for number in range(count)]).reshape(count, len(self.low))
        if at_hand.size:
            for column, values in wanted.items():
                rows[: len(values), column] = values
        return rows

    def uncut(self) -> list[Region]:
        """All boxes in this one that were not cut."""
        stack, found = [self], []
        while stack:
            region = stack.pop()
            if region.below is not None:
                stack.append(region.below)
            elif region.cut is None:
                found.append(region)
            stack.extend(region.parts)
        return found

    def _flipped(self, column: int) -> npt.NDArray[np.bool_]:
        flip = self.flip.copy()
        flip[column] = True
        return flip

    def ends(self, groups: tuple[tuple[int, ...], ...]) -> list[Region]:
        """The parts that a cut on ``root`` will leave, as far as their first corners go: bounds are not known yet."""
        assert self.root is not None
        if groups:
            opened = [{**self.open, self.root: group} for group in groups]
            return [Region(self.low, self.high, codes, self.given, self.flip, self.depth + 1) for codes in opened]
        flips = [self.flip, self._flipped(self.root)]
        return [Region(self.low, self.high, self.open, self.given, flip, self.depth + 1) for flip in flips]

    def divide(self, cut: Cut, keep: bool = False) -> list[Region]:
        """The parts on the sides of a cut; each takes the rows that lie in it.

        With ``keep`` the first corner of the upper part is at that end of the column which stays.
        """
        self.cut = cut
        sides = []
        if cut.groups:
            sides = [(self.low, self.high, {**self.open, cut.column: group}) for group in cut.groups]
        else:
            below, above = self.high.copy(), self.low.copy()
            below[cut.column], above[cut.column] = cut.low, cut.high
            sides = [(self.low, below, self.open), (above, self.high, self.open)]
        flips = [self.flip, self._flipped(cut.column) if keep and not cut.groups else self.flip]
        self.parts = [
            Region(low, high, codes, self.given, flips[place == 1], self.depth + 1)
            for place, (low, high, codes) in enumerate(sides)
        ]
        rows, ids = np.array(self.rows).reshape(len(self.rows), len(self.low)), np.array(self.ids, dtype=np.int64)
        for part in self.parts:
            values = rows[:, cut.column]
            if cut.groups:
                here = np.isin(values, part.open[cut.column])
            else:
                here = (values >= part.low[cut.column]) & (values <= part.high[cut.column])
            part.note(rows[here], ids[here])
        self.rows, self.ids = [], []
        return self.parts

    def give(self, column: int | None) -> Region:
        """The same box with one feature more given (all of them, if None)."""
        given = self.given.copy()
        given[slice(None) if column is None else column] = True
        self.below = Region(self.low, self.high, self.open, given, self.flip, self.depth, root=column)
        return self.below
