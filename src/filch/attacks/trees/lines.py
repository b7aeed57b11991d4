"""Searches along one line of a box: to one feature, and to its split."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np

from filch.attacks.trees.memory import REFUSED, Ints, Memory
from filch.attacks.trees.regions import Cut, Region
from filch.attacks.trees.rounds import Rounds
from filch.core.answers import Answers
from filch.core.attack import Also
from filch.core.features import FeatureSpace, Rows

Step = Generator[Rows | Also, Answers | None, None]
_FIRST = 200  # queries, of which none is spent to spare requests
_LEAST = 4.0  # precisions in a bracket, below which a line is searched by its own rows
_NUDGES = (0.4, 0.6, 0.3, 0.7)  # where in a bracket to ask if the middle is refused


@dataclass(eq=False)
class Pair:
    """Two rows, their ids, which differ, and the columns in which the rows do."""

    x: Rows
    y: Rows
    a: int
    b: int

    @property
    def columns(self) -> Ints:
        """The columns in which the rows differ."""
        return np.flatnonzero((self.x != self.y) & ~(np.isnan(self.x) & np.isnan(self.y)))


@dataclass(eq=False)
class Lines:
    """Searches that end at one split.

    Parameters
    ----------
    space : FeatureSpace
    memory : Memory
    epsilon : (d,)
        The precision of each numeric column.
    hurry : float
        The share of all queries, but the first 200, that may be spent to spare requests.
    """

    space: FeatureSpace
    memory: Memory
    epsilon: Rows
    hurry: float = 0.0
    narrow: bool = field(init=False, default=False)
    """Whether the last request had few rows."""
    spent: int = field(init=False, default=0)
    """Rows asked to spare requests."""
    crowded: bool = field(init=False, default=False)
    """Whether complete rows showed that many leaves share an id."""
    weights: Rows = field(init=False)
    """How often each column was split: those that were are tried first."""
    uncertain: int = field(init=False, default=0)
    """Searches that ended without a clear answer: refused rows, answers that contradict each other."""

    asked: dict[bytes, dict[float, int]] = field(init=False, default_factory=dict)
    """What was asked along lines that were searched: ids by place."""

    riders: dict[bytes, dict[float, Rows]] = field(init=False, default_factory=dict)
    """By line and place: the row asked there instead of the line's own."""

    kinds: dict[int, dict[int, int]] = field(init=False)
    """Of each categorical column, a number for each category; two that no split has parted so far have the same."""

    def __post_init__(self) -> None:
        self.weights = np.ones(len(self.space))
        self.kinds = {int(j): {} for j in np.flatnonzero(self.space.categorical)}
        self.rounds = Rounds(self.space, self.epsilon)
        self.varies = self.space.high > self.space.low

    def _ask(self, region: Region, rows: Rows) -> Generator[Rows | Also, Answers | None, Ints]:
        ids = yield from self.memory.ask(rows)
        answered = ids != REFUSED
        region.note(np.atleast_2d(rows)[answered], ids[answered])
        return ids

    def _fills(self, rows: int) -> bool:
        """Whether to ask so many rows more than are sure to be needed, because a request with few rows is spared."""
        most = self.hurry * (len(self.memory.known) - _FIRST)
        if self.crowded or not self.narrow or self.spent + rows > most:
            return False
        self.spent += rows
        return True

    def _one_column(self, region: Region, pair: Pair) -> Step:
        """Bisect the columns in which a pair differs until only one is left that changes the id."""
        columns = pair.columns
        while len(columns) > 1:
            half = self._half(columns)
            between = pair.x.copy()
            between[half] = pair.y[half]
            if self._fills(1):  # and what comes next, either way
                rows = [between]
                for some, start in ((np.setdiff1d(columns, half), between), (half, pair.x)):
                    rows.append(start.copy())
                    some = self._half(some) if len(some) > 1 else some[:0]
                    rows[-1][some] = pair.y[some]
                yield from self._ask(region, np.array(rows))
            (found,) = (yield from self._ask(region, between)).tolist()
            if found in (pair.a, REFUSED):
                pair.x = between
            else:
                pair.y, pair.b = between, found
            columns = pair.columns

    def _half(self, columns: Ints) -> Ints:
        """The columns that hold about half of the weight of all, the heaviest ones first."""
        order = columns[np.argsort(-self.weights[columns], kind="stable")]
        share = np.cumsum(self.weights[order])
        count = int(np.abs(share - share[-1] / 2).argmin()) + 1
        return order[: min(count, len(order) - 1)]

    def _locate(self, region: Region, pair: Pair, rides: bool = False) -> Generator[Rows | Also, Answers | None, Cut]:
        """The split between the rows of a pair that differs in one column; the pair is moved beside it.

        If it ``rides``, the first rows take categories that no row on their side had, and so serve there, too.
        """
        (column,) = pair.columns.tolist()
        if column in region.open:
            return (yield from self._groups(region, pair, column))
        line = pair.x.copy()
        line[column] = np.nan
        name = line.tobytes() + bytes([column % 256])
        known = self.asked.setdefault(name, {})
        ends, riders = (pair.x, pair.y, pair.b), self.riders.setdefault(name, {})
        yield from self._resume(region, pair, column, known, bool(riders))
        ridden = np.array([riders[place] for place in known if place in riders]).reshape(-1, len(line))
        yield from self._ask(region, ridden[region.inside(ridden)])
        while True:
            place = self._between(column, float(pair.x[column]), float(pair.y[column]))
            if place is None:
                if riders and (yield from self._misread(region, pair, ends)):
                    rides = False
                    known.clear()
                    riders.clear()
                    continue
                break
            middle = pair.x.copy()
            middle[column] = place
            if self._fills(1):
                yield from self._three(region, pair, column, place, riders if rides else None)
            if rides:
                found = yield from self._ride(region, pair, middle, column, riders)
            else:
                (found,) = (yield from self._ask(region, middle)).tolist()
            if found == REFUSED:
                found = yield from self._nudge(region, pair, middle, column)
                if found == REFUSED:
                    self.uncertain += 1
                    break
            known[float(middle[column])] = found
            if found == pair.a:
                pair.x = middle
            else:
                pair.y, pair.b = middle, found
        low, high = sorted((float(pair.x[column]), float(pair.y[column])))
        self.rounds.learn(column, low, high)
        return Cut(column, low, high)

    def _ride(
        self, region: Region, pair: Pair, middle: Rows, column: int, riders: dict[float, Rows]
    ) -> Generator[Rows | Also, Answers | None, int]:
        """The id at a place of a line, from a row of other categories, if that is one of the pair's ids."""
        rider = self._rider(region, pair, middle, column, riders)
        (found,) = (yield from self._ask(region, rider)).tolist()
        if found not in (pair.a, pair.b):
            (found,) = (yield from self._ask(region, middle)).tolist()
        return int(found)

    def _rider(self, region: Region, pair: Pair, middle: Rows, column: int, riders: dict[float, Rows]) -> Rows:
        """The row of other categories that is asked at a place of a line."""
        place, rider = float(middle[column]), middle.copy()
        if place in riders and region.inside(riders[place][None])[0]:
            return riders[place]
        if abs(float(pair.y[column] - pair.x[column])) > _LEAST * self.epsilon[column]:
            for other in region.categories():
                rider[other] = _rarest(region, pair, other, column)
        if rider.tobytes() != middle.tobytes():
            riders[place] = rider  # before it is asked: a search of this line beside this one asks the same
        return rider

    def _three(self, region: Region, pair: Pair, column: int, place: float, riders: dict[float, Rows] | None) -> Step:
        """Ask at a place of a line, and where the next row would be on either side of it."""
        x, y = float(pair.x[column]), float(pair.y[column])
        sides = self._between(column, x, place), self._between(column, place, y)
        rows = []
        for at in (place, *sides):
            if at is not None:
                row = pair.x.copy()
                row[column] = at
                rows.append(row if riders is None else self._rider(region, pair, row, column, riders))
        yield from self._ask(region, np.array(rows))

    def _misread(
        self, region: Region, pair: Pair, ends: tuple[Rows, Rows, int]
    ) -> Generator[Rows | Also, Answers | None, bool]:
        """Whether a bracket's own rows are told otherwise than those that rode on its line; the pair is reset then."""
        told = (yield from self._ask(region, np.array([pair.x, pair.y]))).tolist()
        if REFUSED in told or (told[0] == pair.a and told[1] != pair.a):
            pair.b = pair.b if REFUSED in told else told[1]
            return False
        if told[0] != pair.a:  # the split lies before the bracket
            pair.x, pair.y, pair.b = ends[0], pair.x, told[0]
        else:
            pair.x, (pair.y, pair.b) = pair.y, ends[1:]
        return True

    def _resume(self, region: Region, pair: Pair, column: int, known: dict[float, int], rides: bool) -> Step:
        """Narrow a pair to what is known along its line, if that was searched before."""
        x, y = float(pair.x[column]), float(pair.y[column])
        moved = False
        for place in sorted((p for p in known if min(x, y) < p < max(x, y)), reverse=x > y):
            row = pair.x.copy()
            row[column] = place
            moved = True
            if known[place] != pair.a:
                pair.y, pair.b = row, known[place]
                break
            pair.x = row
        if moved and not rides:
            yield from self._ask(region, np.array([pair.x, pair.y]))  # nothing new: the region takes note of them

    def _between(self, column: int, x: float, y: float) -> float | None:
        """Where to ask between two values; None if they are as close as the precision."""
        low, high = min(x, y), max(x, y)
        grid = self.space.grid[column]
        if grid:
            steps = round((high - low) / grid)
            return None if steps <= 1 else low + grid * (steps // 2)
        place = self.rounds.place(column, low, high)
        if place is not None and low < place < high:
            return place
        # Multiples of the precision: data of as many decimals lie just there, and never within a bracket.
        epsilon = float(self.epsilon[column])
        first, last = math.floor(low / epsilon + 1e-6) + 1, math.ceil(high / epsilon - 1e-6) - 1
        if first > last:
            return None
        middle = round((first + last) // 2 * epsilon, 15)
        return middle if low < middle < high else None

    def _nudge(self, region: Region, pair: Pair, row: Rows, column: int) -> Generator[Rows | Also, Answers | None, int]:
        """Ask elsewhere in the bracket, after a refusal; ``row`` is changed in place."""
        x, y, found = float(pair.x[column]), float(pair.y[column]), REFUSED
        for share in _NUDGES:
            row[column] = x + share * (y - x)
            if self.space.grid[column]:
                row[column] = self.space.low[column] + self.space.grid[column] * round(
                    (row[column] - self.space.low[column]) / self.space.grid[column]
                )
            if row[column] not in (x, y):
                (found,) = (yield from self._ask(region, row.copy())).tolist()
            if found != REFUSED:
                break
        return found

    def _groups(self, region: Region, pair: Pair, column: int) -> Generator[Rows | Also, Answers | None, Cut]:
        """The categories that lead to the same answer beside a pair; those not answered go with the largest group."""
        codes = region.open[column]
        rows = np.array([pair.x] * len(codes))
        rows[:, column] = codes
        ids = (yield from self._ask(region, rows)).tolist()
        by_id: dict[int, list[int]] = {}
        for code, number in zip(codes, ids, strict=True):
            by_id.setdefault(number, []).append(code)
        lost = by_id.pop(REFUSED, [])
        groups = sorted(by_id.values(), key=lambda group: (len(group), group))
        if lost:
            self.uncertain += 1
            groups[-1].extend(lost)
        return Cut(column, groups=tuple(tuple(sorted(group)) for group in groups))


def _rarest(region: Region, pair: Pair, other: int, column: int) -> float:
    """The category that rows on the fewest sides of a bracket had; the pair's own if both sides had all."""
    values = [float(code) for code in region.open[other]]
    rows = np.array([*region.rows, pair.x, pair.y])
    x, y = float(pair.x[column]), float(pair.y[column])
    sign = 1.0 if x < y else -1.0
    sides = [rows[sign * (rows[:, column] - x) <= 0, other], rows[sign * (rows[:, column] - y) >= 0, other]]
    lacking = [sum(value not in side for side in sides) for value in values]
    return values[int(np.argmax(lacking))] if any(lacking) else float(pair.x[other])
