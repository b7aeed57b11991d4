"""All sides of the leaf in a box's corner at once, in few requests, and which of them is the box's first split.

A row that is changed in some columns is told another id if one of them is split on its path. So halves of the columns
are changed, and halves of those halves that matter, all in the same request; and every split on the lines of the
columns found is searched side by side. The first split is among them: its sides share no id. That holds where each
leaf has an id of its own, and nearly where few share one; where many do, the first box's rows contradict each other,
and nothing is searched this way. Nor is it in boxes without numeric columns, of whose categories rows show one each.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from filch.attacks.trees.lines import Pair, Step
from filch.attacks.trees.memory import REFUSED, Ints
from filch.attacks.trees.nodes import Nodes
from filch.attacks.trees.regions import Cut, Region
from filch.core.answers import Answers
from filch.core.attack import Also
from filch.core.features import Rows

Face = tuple[Cut, Pair]
_LIARS = 2  # ids that several leaves are shown to share in the whole space, from which on ids are not relied on


@dataclass(eq=False)
class Faces(Nodes):
    """Searches for the first split of a box from the leaf in its corner."""

    around: dict[bytes, list[Rows]] = field(default_factory=dict)
    """By row: those asked that differ from it in columns that were tried together."""

    def _faces(self, region: Region) -> Generator[Rows | Also, Answers | None, list[Face]]:
        """The splits on the line of the column that seems to be split first, from the region's first corner.

        Empty if the corners do not tell. The lines of other columns are searched beside it.
        """
        self.crowded |= self.memory.spec.reveal.level == "labels"
        if self.crowded or self.space.categorical[region.varying()].all():
            return []
        corner, other = region.corner(0), region.corner(1)
        a, b = (yield from self._ask(region, np.array([corner, other]))).tolist()
        if a == b or REFUSED in (a, b):
            return []
        pairs = yield from self._around(region, Pair(corner, other, a, b))
        if not region.depth and self._liars(region) >= _LIARS:
            self.crowded = True
            del region.rows[2:], region.ids[2:]  # rows close to each other, where an id of its own would say more
        if self.crowded or not pairs:
            return []
        doubts = {column: self._doubts(region, column) for column in pairs}
        likely = [column for column in pairs if doubts[column] == min(doubts.values())]
        if len(likely) > 1:
            rows = np.repeat(other[None], 2 * len(likely), axis=0)
            for place, column in enumerate(likely):
                rows[2 * place : 2 * place + 2, column] = pairs[column].x[column], pairs[column].y[column]
            told = (yield from self._ask(region, rows)).reshape(-1, 2)
            likely = [column for column, (x, y) in zip(likely, told.tolist(), strict=True) if x != y] or likely
        first = pairs.pop(likely[0])
        yield Also({f"face {self._number()}": self._beside(region, pair) for pair in pairs.values()})
        return (yield from self._along(region, first))

    def _beside(self, region: Region, pair: Pair) -> Step:
        yield from self._along(region, pair)

    # ── columns ─────────────────────────────────────────────────────────────────────────────────────────

    def _around(self, region: Region, ends: Pair) -> Generator[Rows | Also, Answers | None, dict[int, Pair]]:
        """The columns whose change alone, from one row to another, changes the id, each with both rows."""
        base, other, a = ends.x, ends.y, ends.a
        own = self.around.setdefault(base.tobytes(), [])
        if own:  # nothing new: the region takes note of them
            rows = np.array(own)
            yield from self._ask(region, rows[region.inside(rows)])
        found: dict[int, Pair] = {}
        sure, unsure = self._sets(region, ends)
        while sure or unsure:
            tried = [self._half(group) if len(group) > 1 else group for group in sure] + unsure
            rows = np.repeat(base[None], len(tried), axis=0)
            for row, group in zip(rows, tried, strict=True):
                row[group] = other[group]
            own.extend(rows)
            ids = (yield from self._ask(region, rows)).tolist()
            rests = [np.setdiff1d(group, half) for group, half in zip(sure, tried, strict=False)]
            rests += [group[:0] for group in unsure]
            sure, unsure = [], []
            for group, rest, row, number in zip(tried, rests, rows, ids, strict=True):
                changed = number not in (a, REFUSED)
                if changed and len(group) > 1:
                    sure.append(group)
                elif changed:
                    found[int(group[0])] = Pair(base.copy(), row.copy(), a, number)
                if len(rest):
                    (unsure if changed else sure).append(rest)
        return found

    def _sets(self, region: Region, ends: Pair) -> tuple[list[Ints], list[Ints]]:
        """Sets of columns of which one matters at least, by the rows at hand; and one of those that may."""
        rows, ids = np.array(region.rows), np.array(region.ids)
        differ = (ends.x != ends.y) & ~np.isnan(ends.x)
        there = (rows == ends.y) & differ
        left = differ & ~there[ids == ends.a].any(axis=0)
        apart = (there | (rows == ends.x) | np.isnan(rows)).all(axis=1) & (ids != ends.a)
        sure: list[Ints] = []
        for group in sorted(map(np.flatnonzero, there[apart] & left), key=len):
            if len(group) and left[group].all():
                sure.append(group)
                left[group] = False
        rest = np.flatnonzero(left)
        return sure, [rest] if len(rest) else []

    # ── lines ───────────────────────────────────────────────────────────────────────────────────────────

    def _along(self, region: Region, pair: Pair) -> Generator[Rows | Also, Answers | None, list[Face]]:
        """Every split on the line between two rows that differ in one column."""
        (column,) = pair.columns.tolist()
        if column in region.open:
            return [((yield from self._groups(region, pair, column)), pair)]

        def at(places: Sequence[float]) -> Rows:
            rows = np.repeat(pair.x[None], len(places), axis=0)
            rows[:, column] = places
            return rows

        known = {float(pair.x[column]): pair.a, float(pair.y[column]): pair.b}
        low, high = min(known), max(known)
        line = pair.x.copy()
        line[column] = np.nan
        asked = self.asked.setdefault(line.tobytes() + bytes([column % 256]), {})
        known.update({place: number for place, number in asked.items() if low < place < high})
        yield from self._ask(region, at(list(known)))  # nothing new: the region takes note of them
        while True:
            places = sorted(known)
            steps = [(x, y) for x, y in pairwise(places) if known[x] != known[y]]
            steps = [step for step in steps if REFUSED not in (known[step[0]], known[step[1]])]
            middles = [place for x, y in steps if (place := self._between(column, x, y)) is not None]
            if not middles:
                break
            if self._fills(len(middles)):
                ends = sorted({*places, *middles})
                near = [step for step in pairwise(ends) if step[0] in middles or step[1] in middles]
                middles += [place for x, y in near if (place := self._between(column, x, y)) is not None]
            ids = (yield from self._ask(region, at(middles))).tolist()
            known.update(zip(middles, ids, strict=True))
            asked.update({place: known[place] for place in middles if known[place] != REFUSED})
        found: list[Face] = []
        for x, y in steps:
            self.rounds.learn(column, x, y)
            below, above = at([x, y])
            found.append((Cut(column, x, y), Pair(below, above, known[x], known[y])))
        return found

    # ── what speaks against a first split ───────────────────────────────────────────────────────────────

    def _doubts(self, region: Region, column: int) -> int:
        """How many ids stand on both sides of a column's split, wherever that may be."""
        values, ids = np.array(region.rows)[:, column], np.array(region.ids)
        if column in region.open:
            return _linked(values, ids)
        _, place = np.unique(ids, return_inverse=True)
        low, high = np.full(place.max() + 1, np.inf), np.full(place.max() + 1, -np.inf)
        np.minimum.at(low, place, values)
        np.maximum.at(high, place, values)
        cuts = np.unique(values)[1:, None]
        return int(((low < cuts) & (cuts <= high)).sum(axis=1).min(initial=len(low)))

    def _straddle(self, region: Region, cut: Cut) -> int:
        """How many ids stand on both sides of a split."""
        values, ids = np.array(region.rows)[:, cut.column], np.array(region.ids)
        if cut.groups:
            return _linked(values, ids)
        return len(np.intersect1d(ids[values <= cut.low], ids[values >= cut.high]))

    def _liars(self, region: Region) -> int:
        """How many ids several leaves share, for sure: a row between two rows that have it has another one."""
        rows, ids = np.array(region.rows), np.array(region.ids)
        numeric, count = ~self.space.categorical, 0
        for number in set(ids.tolist()):
            mine, rest = rows[ids == number], rows[ids != number]
            inside = ((rest >= mine.min(axis=0)) & (rest <= mine.max(axis=0)))[:, numeric].all(axis=1)
            for column in region.open:
                inside &= np.isin(rest[:, column], mine[:, column])
            count += bool(inside.any())
        return count


def _linked(values: Rows, ids: Ints) -> int:
    """0 if categories fall into blocks that share no id; else how many ids several of them have."""
    block = {value: value for value in values.tolist()}
    several = 0
    for number in set(ids.tolist()):
        mine = set(values[ids == number].tolist())
        several += len(mine) > 1
        names = {block[value] for value in mine}
        block = {value: min(names) if name in names else name for value, name in block.items()}
    return 0 if len(set(block.values())) > 1 else several
