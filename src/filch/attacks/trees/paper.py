"""Path finding as the paper does it [Tramèr16, §4.2, Algorithm 1 and App. C]; what both attacks call variant="paper".

Where the text leaves something open, this follows the code that its authors published with it: rows are asked once,
thresholds are searched on multiples of ε whatever the feature, a feature's line is searched from end to end wherever
two of its answers differ, and at a leaf every feature is tested though ``fields`` names none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field, replace

import numpy as np

from filch.attacks.trees.memory import REFUSED, Ints, Memory
from filch.core.answers import Answers
from filch.core.attack import Also, Ask, Finding, Outcome, lockstep
from filch.core.features import Rows
from filch.core.oracle import OracleSpec
from filch.errors import BudgetSpent
from filch.models.trees.boxes import BoxesModel


@dataclass(frozen=True, eq=False)
class Box:
    """The predicates of a leaf: ``low < x ≤ high`` of numeric columns, and the categories of others."""

    low: Rows
    high: Rows
    open: dict[int, tuple[int, ...]]

    def holds(self, row: Rows) -> bool:
        """Whether a row (what it gives of one) satisfies all predicates."""
        given = ~np.isnan(row)
        for column, codes in self.open.items():
            if given[column] and row[column] not in codes:
                return False
            given[column] = False
        return bool(((row > self.low) & (row <= self.high))[given].all())

    def between(self, column: int, low: float, high: float) -> Box:
        """With the bounds of a numeric column tightened."""
        lows, highs = self.low.copy(), self.high.copy()
        lows[column], highs[column] = max(lows[column], low), min(highs[column], high)
        return replace(self, low=lows, high=highs)

    def among(self, column: int, codes: tuple[int, ...]) -> Box:
        """With the categories of a column narrowed."""
        return replace(self, open={**self.open, column: codes})


Part = tuple[Rows, Box, int]
"""An interval or a group of categories: a row in it, the box with it, and the row's id."""
Parts = Generator[Rows | Also, Answers | None, list[Part]]


@dataclass(eq=False)
class PaperPaths:
    """The paper's search.

    Parameters
    ----------
    spec : OracleSpec
    memory : Memory
    epsilon : (d,)
    rng : Generator
    """

    spec: OracleSpec
    memory: Memory
    epsilon: Rows
    rng: np.random.Generator
    leaves: list[tuple[int, Box]] = field(default_factory=list)
    seen: dict[int, list[Box]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        space = self.spec.space
        self.varies = space.high > space.low
        codes = {int(j): tuple(range(int(space.sizes[j]))) for j in np.flatnonzero(space.categorical)}
        self.whole = Box(np.full(len(space), -np.inf), np.full(len(space), np.inf), codes)

    def model(self) -> BoxesModel | None:
        """The boxes found so far."""
        if not self.memory.ids:
            return None
        space, classes = self.spec.space, self.spec.classes
        leaves = self.leaves or [(0, self.whole)]
        told = self.memory.value if classes is None else self.memory.label
        starts = np.cumsum(space.sizes) - space.sizes
        taken = np.zeros((len(leaves), int(space.sizes.sum())), dtype=bool)
        for place, (_, box) in enumerate(leaves):
            for column, codes in box.open.items():
                taken[place, starts[column] + np.array(codes, dtype=np.int64)] = True
        low, high = (np.array([getattr(box, name) for _, box in leaves]) for name in ("low", "high"))
        return BoxesModel(space, classes, low, high, taken, np.array([told[number] for number, _ in leaves]))

    def steps(self, known: Answers, partial: bool) -> Generator[Ask, Answers, Finding]:
        """Run it to its end."""
        self.memory.learn(known)
        try:
            yield from self._top_down() if partial else self._bottom_up()
        except BudgetSpent as spent:
            self.memory.learn(spent.partial)
            return Finding(
                self.model(), Outcome.BUDGET_SPENT, "the budget ended before the queue did", self._evidence()
            )
        told = f"{len(self.leaves):,} leaves; the paper's algorithm checks nothing"
        return Finding(self.model(), Outcome.UNVERIFIED, told, self._evidence())

    def _evidence(self) -> dict[str, int]:
        return {"leaves": len(self.leaves), "ids": self.memory.ids, "refused": self.memory.refused}

    def _visited(self, number: int, row: Rows) -> bool:
        return any(box.holds(row) for box in self.seen.get(number, []))

    # ── complete queries ────────────────────────────────────────────────────────────────────────────────

    def _bottom_up(self) -> Generator[Ask, Answers, None]:
        queue = [self.spec.space.sample(1, self.rng)[0]]
        while queue:
            row = queue.pop()
            number = yield from self._one(row)
            if number == REFUSED or self._visited(number, row):
                continue
            found = yield from self._every({int(j): self._line(row, int(j), self.whole) for j in self._columns()})
            box = self.whole
            for column, parts in found.items():
                for other, part, told in parts:
                    if part.holds(row):
                        box = Box(np.maximum(box.low, part.low), np.minimum(box.high, part.high), box.open)
                        if column in box.open:
                            box = box.among(column, part.open[column])
                    elif told != REFUSED:
                        queue.append(other)
            self.seen.setdefault(number, []).append(box)
            self.leaves.append((number, box))

    # ── incomplete queries ──────────────────────────────────────────────────────────────────────────────

    def _top_down(self) -> Generator[Ask, Answers, None]:
        queue = deque([(np.full(len(self.spec.space), np.nan), self.whole)])
        while queue:
            row, box = queue.popleft()
            number = yield from self._one(row)
            if number == REFUSED or self._visited(number, row):
                continue
            on_path = [int(j) for j in self._columns() if not np.isnan(row[j])]
            missed = yield from self._every({column: self._line(row, column, box) for column in on_path})
            for parts in missed.values():  # splits on features that the row gives already
                here = [part for _, part, told in parts if told == number and part.holds(row)]
                if len(parts) > 1 and here:
                    queue.extend((other, self._both(box, part)) for other, part, told in parts if told != number)
                    box = self._both(box, here[0])
            following = self.memory.following.get((row + 0.0).tobytes(), -1)
            columns = [following] if following >= 0 else [int(j) for j in self._columns()]
            found = yield from self._every({column: self._line(row, column, box) for column in columns})
            below = [
                (other, self._both(box, part))
                for parts in found.values()
                if len(parts) > 1
                for other, part, told in parts
                if told not in (REFUSED, number)
            ]
            if not below:
                self.leaves.append((number, box))
            queue.extend(below)
            self.seen.setdefault(number, []).append(box)

    def _both(self, box: Box, other: Box) -> Box:
        codes = {c: tuple(k for k in box.open[c] if k in other.open[c]) or other.open[c] for c in box.open}
        return Box(np.maximum(box.low, other.low), np.minimum(box.high, other.high), codes)

    # ── one feature ─────────────────────────────────────────────────────────────────────────────────────

    def _columns(self) -> Ints:
        return np.flatnonzero(self.varies)

    def _one(self, row: Rows) -> Generator[Ask, Answers, int]:
        found = yield from lockstep({"": self.memory.ask(row)}, phase="node", snapshot=self.model)
        return int(found[""][0])

    def _every(self, lines: dict[int, Parts]) -> Generator[Ask, Answers, dict[int, list[Part]]]:
        """Features by themselves: their searches share requests and no query."""
        named = {str(column): line for column, line in lines.items()}
        found = yield from lockstep(named, phase="features", snapshot=self.model)
        return {column: found[str(column)] for column in lines}

    def _line(self, row: Rows, column: int, box: Box) -> Parts:
        if column in box.open:
            return self._categories(row, column, box)
        return self._thresholds(row, column, box)

    def _categories(self, row: Rows, column: int, box: Box) -> Parts:
        """Try each category; those that lead to the same id belong together."""
        codes = box.open[column]
        if len(codes) < 2:
            return []
        rows = np.array([row] * len(codes))
        rows[:, column] = codes
        ids = (yield from self.memory.ask(rows)).tolist()
        groups: dict[int, list[int]] = {}
        for code, number in zip(codes, ids, strict=True):
            groups.setdefault(number, []).append(code)
        return [
            (rows[codes.index(group[0])], box.among(column, tuple(group)), number)
            for number, group in sorted(groups.items(), key=lambda item: len(item[1]))
        ]

    def _thresholds(self, row: Rows, column: int, box: Box) -> Parts:
        """Search a feature's range for thresholds, to both sides of the middle wherever the ends differ."""
        epsilon = float(self.epsilon[column])
        low = max(float(self.spec.space.low[column]), float(box.low[column]) + epsilon)
        high = min(float(self.spec.space.high[column]), float(box.high[column]))
        first, last = round(low / epsilon), round(high / epsilon)
        if first >= last:
            return []

        def at(places: list[int]) -> Rows:
            rows = np.array([row] * len(places))
            rows[:, column] = np.array(places) * epsilon
            return rows

        ids = dict(zip((first, last), (yield from self.memory.ask(at([first, last]))).tolist(), strict=True))
        todo, edges = [(first, last)], list[int]()
        while todo:
            todo = [(a, b) for a, b in todo if ids[a] != ids[b] and REFUSED not in (ids[a], ids[b])]
            edges += [a for a, b in todo if b - a <= 1]
            wide = [(a, b) for a, b in todo if b - a > 1]
            middles = [(a + b) // 2 for a, b in wide]
            if middles:
                ids |= zip(middles, (yield from self.memory.ask(at(middles))).tolist(), strict=True)
            todo = [part for (a, b), m in zip(wide, middles, strict=True) for part in ((a, m), (m, b))]
        edges.sort()
        parts: list[Part] = []
        for before, after in zip([None, *edges], [*edges, None], strict=True):
            place = after if after is not None else (last if before is None else before + 1)
            below = -np.inf if before is None else before * epsilon
            above = np.inf if after is None else after * epsilon
            here = place if place in ids else (first if after is None else after)
            parts.append((at([place])[0], box.between(column, below, above), ids[here]))
        return parts
