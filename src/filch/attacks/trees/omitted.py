"""Where splits send a missing value: to a branch, or nowhere, so that the node itself answers.

Once complete rows are searched, each split is asked with its own feature omitted and all others given. The answer is
that of a leaf on one of its sides, or the node's own. Below a split of the same feature that goes another way none can
be asked, and none matters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np

from filch.attacks.trees.lines import Step
from filch.attacks.trees.memory import REFUSED, Memory
from filch.attacks.trees.regions import Region
from filch.core.answers import Answers
from filch.core.attack import Also
from filch.core.features import FeatureSpace, Rows
from filch.models.trees.build import STOP

_ROWS = 6  # at most, for one split
_DRAWS = 8  # rows drawn, of which that is asked whose answer says most


@dataclass(eq=False)
class _Doubt:
    """A split whose rule is not known yet."""

    region: Region
    rules: list[int]
    """The sides that the answers so far allow."""
    told: list[int] = field(default_factory=list)
    row: Rows | None = None
    ends: list[set[int]] = field(default_factory=list)


@dataclass(eq=False)
class Omitted:
    """Finds the rules of all splits below a region.

    Parameters
    ----------
    space : FeatureSpace
    memory : Memory
    rng : Generator
    """

    space: FeatureSpace
    memory: Memory
    rng: np.random.Generator
    unclear: int = 0

    def search(self, root: Region) -> Step:
        """Ask the splits side by side; those of a feature that was split above follow once that one is known."""
        pending = [_Doubt(region, list(range(len(region.parts)))) for region in _first(root, set())]
        shared = Counter(self._plain(region.node) for region in root.uncut() if region.node is not None)
        while pending:
            for doubt in pending:
                self._prepare(doubt)
            ids = yield from self.memory.ask(np.array([doubt.row for doubt in pending]))
            after: list[_Doubt] = []
            for doubt, number in zip(pending, map(self._plain, ids.tolist()), strict=True):
                if not self._settled(doubt, number, shared):
                    after.append(doubt)
                    continue
                part = doubt.region.missing
                if part != STOP:
                    own = doubt.region.column
                    below = _first(doubt.region.parts[part], set(), only=own)
                    after += [_Doubt(region, list(range(len(region.parts)))) for region in below]
            pending = after

    def _prepare(self, doubt: _Doubt) -> None:
        """Draw rows of the region, and keep the one whose possible answers differ most between the sides."""
        region, best = doubt.region, np.inf
        for row in region.within(self.space, self.rng, _DRAWS):
            row[region.column] = np.nan
            ends = [self._ends(part, row) for part in region.parts]
            common = sum(len(a & b) for n, a in enumerate(ends) for b in ends[:n])
            cost = 100 * common + sum(map(len, ends))
            cost += 10_000 * ((row + 0.0).tobytes() in self.memory.known)
            if cost < best:
                best, doubt.row, doubt.ends = cost, row, ends

    def _settled(self, doubt: _Doubt, number: int, shared: Counter[int]) -> bool:
        """Take an answer in; whether the rule is known, or given up."""
        region = doubt.region
        doubt.told.append(number)
        if number != REFUSED:
            doubt.rules = [place for place in doubt.rules if number in doubt.ends[place]]
        given = [n for n in doubt.told if n != REFUSED]
        stays = len(set(given)) <= 1  # the node itself answers all rows alike
        if not doubt.rules and given:
            region.told, region.missing = given[0], STOP
            self.unclear += not stays
            return True
        certain = len(doubt.rules) == 1 and bool(given) and (not stays or shared[given[-1]] == 1)
        if not certain and len(doubt.told) < _ROWS:
            return False
        self.unclear += not certain
        if certain or (doubt.rules and given):
            region.missing = doubt.rules[0]
        return True

    def _plain(self, number: int) -> int:
        """An id without the column that is split next: rows with omitted values name others."""
        return number if number == REFUSED else self.memory.plain[number]

    def _ends(self, region: Region, row: Rows) -> set[int]:
        """The ids of the leaves that a row may reach."""
        stack, found = [region], set[int]()
        while stack:
            here = stack.pop()
            if here.below is not None:
                stack.append(here.below)
            elif here.cut is None:
                found.update(map(self._plain, here.ids if here.node is None else [here.node]))
            else:
                inside = [part for part in here.parts if part.holds(here.column, float(row[here.column]))]
                stack.extend(inside or here.parts)
        return found


def kept(root: Region, memory: Memory) -> Generator[Rows | Also, Answers | None, list[Region]]:
    """Keep the cuts that incomplete rows found rightly; below all others, boxes to be searched by complete rows.

    A node that rows reach which omit more than its own feature may lie below other splits, that sent them on. It does
    not if it still answers rows at opposite corners that give all other features.
    """
    boxes, level = list[Region](), [root]
    while level:
        tops = [(top, *_node(top)) for top in level]
        rows = []
        for top, inner, _ in tops:
            for end in (0, 1):
                rows.append(top.corner(end, np.ones(len(top.low), dtype=bool)))
                if inner.cut is not None:
                    rows[-1][inner.column] = np.nan
        ids = (yield from memory.ask(np.array(rows))).reshape(-1, 2)
        level = []
        for (top, inner, number), told in zip(tops, ids.tolist(), strict=True):
            here = None if number is None else memory.plain[number]
            if inner.cut is not None and REFUSED not in told and {memory.plain[n] for n in told} == {here}:
                level.extend(inner.parts)
                continue
            top.cut, top.node = None, None
            top.parts.clear()
            boxes.append(top.give(None))
    return boxes


def _node(top: Region) -> tuple[Region, int | None]:
    """Where the features given change no more, and the id of the node there."""
    here = top
    number = top.node
    while here.cut is None and here.below is not None:
        here = here.below
        number = here.node if number is None else number
    return here, number


def _first(root: Region, above: set[int], only: int | None = None) -> list[Region]:
    """The cut regions below whose column no region above them splits; of one column, if that is given."""
    stack, found = [(root, above)], list[Region]()
    while stack:
        region, seen = stack.pop()
        if region.below is not None:
            stack.append((region.below, seen))
        elif region.cut is not None:
            column = region.column
            if column not in seen and only in (None, column):
                found.append(region)
            stack.extend((part, seen | {column}) for part in region.parts)
    return found
