"""Training rows add up: a node has as many as its children together, and its confidence tells how many.

The lower bound of Wilson's interval, to 5 decimals, fits few pairs of k of n rows. Where no choice for the nodes found
below a node adds up to its own rows, a leaf is missing among them. Where one does that would hardly do so by chance,
none is missing.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from filch.attacks.trees.memory import Memory
from filch.attacks.trees.regions import Region
from filch.models.trees.missing import DECIMALS, wilson

Pair = tuple[int, int]
"""Rows of a node, and of these those of its label."""
_MOST = 1_000  # rows of a node; for larger ones too many pairs fit
_SUMS = 4_000  # ways to add up that are looked at for one node
_SHIFTS = 40  # rows too many or too few that are tried to see how easily a sum is met by chance
TRUSTED = 0.1  # the chance that rows add up though a leaf is missing, below which none is looked for


@lru_cache(maxsize=1)
def table() -> dict[float, tuple[Pair, ...]]:
    """The pairs that fit each confidence."""
    found: dict[float, list[Pair]] = {}
    for n in range(1, _MOST + 1):
        for k, bound in enumerate(wilson(np.arange(1, n + 1) / n, n).tolist(), 1):
            found.setdefault(bound, []).append((n, k))
    return {bound: tuple(pairs) for bound, pairs in found.items()}


@dataclass(eq=False)
class Counts:
    """Checks whether the rows below nodes add up.

    Parameters
    ----------
    memory : Memory
    classes : int
    """

    memory: Memory
    classes: int
    known: dict[int, tuple[Pair, ...]] = field(default_factory=dict)
    settled: set[int] = field(default_factory=set)

    def of(self, number: int) -> tuple[Pair, ...]:
        """The pairs that fit an id."""
        if number not in self.known:
            confidence = self.memory.confidence[number]
            self.known[number] = () if math.isnan(confidence) else table().get(round(confidence, DECIMALS), ())
        return self.known[number]

    def doubts(self, root: Region) -> dict[int, float]:
        """How much the rows leave in doubt that no leaf is missing, by the ``id()`` of each region that ends a search.

        0 where they add up and would hardly do so by chance; infinity where they do not though the node has no more
        than 1,000 rows. Regions of which nothing is known are left out.
        """
        nodes: list[tuple[Region, list[Region], int]] = []
        stack = [(root, -1)]
        while stack:
            region, above = stack.pop()
            stack.extend((part, above) for part in region.parts)
            if region.below is not None:
                ends = _ends(region.below)
                if region.node is not None and all(end.node is not None for end in ends):
                    nodes.append((region, ends, above))
                    above = len(nodes) - 1
                stack.append((region.below, above))
        for region, ends, _ in reversed(nodes):
            if all(end.closed or id(end) in self.settled for end in ends):
                self.settled.update(map(id, (region, *ends)))
        fits: dict[int, tuple[Pair, ...]] = {}  # of nodes whose rows add up: the pairs that do
        certain: list[bool | None] = [None] * len(nodes)
        telling = []
        for place in range(len(nodes) - 1, -1, -1):  # children first
            region, ends, _ = nodes[place]
            checked = self._check(region, ends, fits)
            if checked is not None:
                mine, chance = checked
                if mine:
                    fits[id(region)] = mine
                if chance <= TRUSTED:
                    telling.append(bool(mine))
                certain[place] = None if mine and chance > TRUSTED else bool(mine)
        if 2 * sum(telling) < len(telling):  # these confidences come from no counts
            return {}
        found: dict[int, float] = {}
        small = [False] * len(nodes)
        for place, (_, ends, above) in enumerate(nodes):  # parents first
            small[place] = certain[place] is True or (above >= 0 and small[above])
            if certain[place]:
                found.update({id(end): 0.0 if len(ends) < 3 or _one_cut(nodes[place][0]) else 0.5 for end in ends})
            elif certain[place] is False and small[place]:
                found.update({id(end): math.inf for end in ends})
        return found

    def _check(
        self, region: Region, ends: list[Region], fits: dict[int, tuple[Pair, ...]]
    ) -> tuple[tuple[Pair, ...], float] | None:
        """The pairs of a node that its rows add up to, and the chance that some do anyway; None if nothing is known."""
        assert region.node is not None
        wanted = self.of(region.node)
        sums = self._sums(region.node, ends, fits)
        if not wanted or sums is None:
            return None
        mine = tuple(pair for pair in wanted if _met(sums, pair))
        shifts = [h for h in range(-_SHIFTS, _SHIFTS + 1) if h]
        chance = np.mean([any(_met(sums, (n + h, k + h * part)) for n, k in wanted for part in (0, 1)) for h in shifts])
        return mine, float(chance)

    def _sums(
        self, node: int, ends: list[Region], fits: dict[int, tuple[Pair, ...]]
    ) -> dict[int, list[tuple[int, int]]] | None:
        """By the number of rows that can be made up: the least and most of them that have the node's label."""
        label = self.memory.label[node]
        sums: set[tuple[int, int, int]] = {(0, 0, 0)}
        most = max((n for n, _ in self.of(node)), default=0) + _SHIFTS
        times = Counter(end.node for end in ends)
        fewest = {end.node: 1 for a, end in enumerate(ends) if any(_one_box(end, b, ends) for b in ends[:a])}
        pairs = {end.node: fits.get(id(end)) or self.of(end.node) for end in ends if end.node is not None}
        for number, count in times.items():
            assert number is not None
            own = self.memory.label[number] == label
            reached = set()
            for n, k in pairs[number]:
                rest = n - k
                part = (k, k) if own else (rest if self.classes == 2 else 0, min(k, rest))
                for leaves in range(fewest.get(number, count), count + 1):  # one may have been found in several boxes
                    if leaves * n <= most:
                        step = (leaves * n, leaves * part[0], leaves * part[1])
                        reached |= {(a + step[0], b + step[1], c + step[2]) for a, b, c in sums if a + step[0] <= most}
            if not reached or len(reached) > _SUMS:
                return None
            sums = reached
        found: dict[int, list[tuple[int, int]]] = {}
        for n, low, high in sums:
            found.setdefault(n, []).append((low, high))
        return found


def _met(sums: dict[int, list[tuple[int, int]]], pair: Pair) -> bool:
    n, k = pair
    return any(low <= k <= high for low, high in sums.get(n, ()))


def _one_cut(region: Region) -> bool:
    assert region.below is not None
    return not any(part.parts for part in region.below.parts)


def _one_box(a: Region, b: Region, ends: list[Region]) -> bool:
    """Whether two regions with the same id may be parts of one leaf: no other region lies between them."""
    if a.node != b.node:
        return False
    low, high = np.minimum(a.low, b.low), np.maximum(a.high, b.high)
    codes = {column: set(own) | set(b.open[column]) for column, own in a.open.items()}
    numeric = [column for column in range(len(low)) if column not in codes]
    return not any(
        (end.low[numeric] <= high[numeric]).all()
        and (end.high[numeric] >= low[numeric]).all()
        and all(not codes[column].isdisjoint(own) for column, own in end.open.items())
        for end in ends
        if end is not a and end is not b
    )


def _ends(region: Region) -> list[Region]:
    """The regions in which the same features are given and that were not cut."""
    stack, found = [region], []
    while stack:
        here = stack.pop()
        if here.cut is None:
            found.append(here)
        stack.extend(here.parts)
    return found
