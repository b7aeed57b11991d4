"""What incomplete queries show: the nodes of a tree, and which feature each of them splits."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np

from filch.attacks.trees.climbs import Climbs
from filch.attacks.trees.lines import Pair, Step
from filch.attacks.trees.memory import REFUSED, Ints
from filch.attacks.trees.regions import Region
from filch.core.answers import Answers
from filch.core.attack import Also
from filch.core.features import Rows


@dataclass(eq=False)
class Nodes(Climbs):
    """Searches that ask incomplete rows.

    Parameters
    ----------
    space : FeatureSpace
    memory : Memory
    epsilon : (d,)
        The precision of each numeric column.
    partial : bool
        Whether queries may omit features.
    """

    partial: bool = False
    count: int = 0
    branches: bool = False
    """Whether an omitted value takes some branch: giving it did not change the answer."""
    following: dict[bytes, int | None] = field(default_factory=dict)
    """The column split next, by the first corner of a region; None at a leaf."""
    halves: dict[bytes, dict[bytes, Ints]] = field(default_factory=dict)
    """How the columns that may be split next were halved, by the first corner."""
    heard: dict[bytes, list[tuple[Rows, int]]] = field(default_factory=dict)
    """The rows that were asked to find the column split next, with their ids, by the first corner."""
    begun: set[bytes] = field(default_factory=set)
    """The first corners from where the search went ahead."""

    def _across(self, region: Region, column: int, corner: Rows) -> Generator[Rows | Also, Answers | None, Pair | None]:
        """Two rows that differ from a corner in the column that splits the region, if their ids do."""
        values = region.open.get(column, (region.low[column], region.high[column]))
        ends = np.array([corner] * len(values))
        ends[:, column] = values
        ids = yield from self._ask(region, ends)
        others = np.flatnonzero((ids != ids[0]) & (ids != REFUSED))
        if ids[0] == REFUSED or not len(others):
            return None
        return Pair(ends[0], ends[others[0]], int(ids[0]), int(ids[others[0]]))

    # ── looking ahead ───────────────────────────────────────────────────────────────────────────────────

    def ahead(self, region: Region, pair: Pair) -> dict[str, Step]:
        """Searches of the parts that a split will leave, begun while its threshold is still searched.

        They ask, at the first corners of the parts, which do not depend on the threshold, what the parts ask later on.
        """
        start = region.corner(0).tobytes()
        if start in self.begun:
            return {}
        self.begun.add(start)
        (column,) = pair.columns.tolist()
        groups: dict[int, list[int]] = {}
        for code in region.open.get(column, ()):
            row = pair.x.copy()
            row[column] = code
            groups.setdefault(self.memory.known.get((row + 0.0).tobytes(), REFUSED), []).append(code)
        groups.pop(REFUSED, None)
        parts = region.ends(tuple(map(tuple, groups.values())))
        searches = {f"ahead {self._number()}": self._ahead(part) for part in parts}
        if not groups:
            searches[f"ahead {self._number()}"] = self._line(region, pair)
        return searches

    def _ahead(self, region: Region) -> Step:
        (region.node,) = (yield from self.memory.ask(region.corner(0))).tolist()
        if region.node == REFUSED or region.given.all():
            return
        column = yield from self._next_column(region)
        if column is None:
            return
        below = region.give(column)
        pair = yield from self._across(below, column, below.corner(0))
        if pair is not None:
            yield Also(self.ahead(below, pair))

    def _line(self, region: Region, pair: Pair) -> Step:
        yield from self._locate(region, Pair(pair.x, pair.y, pair.a, pair.b), rides=True)

    def _passes(self, region: Region, above: int) -> Step:
        """Note if the row that lacked the feature given last was answered from below its split.

        It was if a row that has it is told the same. By chance a node may be told as a leaf below it is: so the row is
        asked once more, with all other features given, and is told the same then too if the node itself answers.
        """
        self.branches |= self.memory.passed
        plain = self.memory.plain
        alike = [n for n, number in enumerate(region.ids) if plain[number] == plain[above]]
        if self.branches or not alike or region.root is None:
            self.branches |= bool(alike)
            return
        row = region.corner(0, np.ones(len(self.space), dtype=bool))
        row[~np.isnan(region.rows[alike[0]])] = region.rows[alike[0]][~np.isnan(region.rows[alike[0]])]
        row[region.root] = np.nan
        (told,) = (yield from self.memory.ask(row)).tolist()
        if told != REFUSED:
            self.branches |= plain[told] != plain[above] or self.telling()

    def telling(self) -> bool:
        """Whether a node and a leaf below it are told apart: the leaf has fewer rows, and so another confidence."""
        reveal = self.memory.spec.reveal
        return reveal.level in ("confidence", "node") and (reveal.decimals is None or reveal.decimals >= 5)

    def _next_column(self, region: Region) -> Generator[Rows | Also, Answers | None, int | None]:
        """The feature that the region's node splits; None if it is a leaf."""
        assert region.node is not None
        missing = np.flatnonzero(~region.given & self.varies)
        if self.memory.shows_fields:
            column = self.memory.next_column[region.node]
            return column if column in missing else None
        if not len(missing):
            return None
        full = np.ones(len(self.space), dtype=bool)
        base, whole = region.corner(0), region.corner(1, full)
        if base.tobytes() in self.following:
            region.ended = self.following[base.tobytes()] is None
            return self.following[base.tobytes()]
        whole[region.given] = base[region.given]
        (found,) = (yield from self.memory.ask(whole)).tolist()
        if found == region.node and not (region.depth and self.telling()):
            (found,) = (yield from self.memory.ask(region.corner(1, full))).tolist()
        if found in (region.node, REFUSED):
            region.ended = found == region.node
            if region.ended:
                self.following[base.tobytes()] = None
            return None
        state = self.halves.setdefault(base.tobytes(), {})
        missing = self._heard(region, base, whole, missing)
        while len(missing) > 1:
            half = state.setdefault(missing.tobytes(), self._half(missing))  # as another search halves them just now
            row = base.copy()
            row[half] = whole[half]
            if self._fills(1):  # and what comes next, either way
                rows = [row]
                for part in (half, np.setdiff1d(missing, half)):
                    some = state.setdefault(part.tobytes(), self._half(part)) if len(part) > 1 else half
                    rows.append(base.copy())
                    rows[-1][some] = whole[some]
                yield from self.memory.ask(np.array(rows))
            (found,) = (yield from self.memory.ask(row)).tolist()
            self.heard[base.tobytes()].append((row, found))
            missing = half if found not in (region.node, REFUSED) else np.setdiff1d(missing, half)
        self.following[base.tobytes()] = int(missing[0])
        return int(missing[0])

    def _heard(self, region: Region, base: Rows, whole: Rows, missing: Ints) -> Ints:
        """The columns that may be split next, by rows that were asked of the nodes above: some pass by this one."""
        own = self.heard.setdefault(base.tobytes(), [])
        if not own:
            for column in np.flatnonzero(region.given).tolist():
                above = base.copy()
                above[column] = np.nan
                for row, number in self.heard.get(above.tobytes(), []):
                    here = region.given
                    if (row[here] == base[here]).all() and (np.isnan(row) | (row == whole))[~here].all():
                        own.append((row, number))
        for row, number in own:
            if number == region.node:
                missing = missing[np.isnan(row[missing])]
        for row, number in own:
            some = missing[~np.isnan(row[missing])]
            if number not in (region.node, REFUSED) and 0 < len(some) < len(missing):
                missing = some
        return missing

    def _number(self) -> int:
        self.count += 1
        return self.count
