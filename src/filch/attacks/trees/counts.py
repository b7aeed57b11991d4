"""Training rows add up: a node has as many as its children together, and its confidence tells how many.

The lower bound of Wilson's interval, to 5 decimals, fits few pairs of k of n rows. Where no choice for the nodes found
below a node adds up to its own rows, a leaf is missing among them, or one was found in two boxes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from filch.attacks.trees.memory import Memory
from filch.attacks.trees.regions import Region
from filch.models.trees.missing import DECIMALS, wilson

_MOST = 1_000  # rows of a node; for larger ones too many pairs fit


@lru_cache(maxsize=1)
def table() -> dict[float, tuple[int, ...]]:
    """The numbers of rows that fit each confidence."""
    found: dict[float, set[int]] = {}
    for n in range(1, _MOST + 1):
        for bound in wilson(np.arange(1, n + 1) / n, n).tolist():
            found.setdefault(bound, set()).add(n)
    return {bound: tuple(sorted(counts)) for bound, counts in found.items()}


@dataclass(eq=False)
class Counts:
    """Checks whether the rows below a node add up.

    Parameters
    ----------
    memory : Memory
    """

    memory: Memory
    known: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def of(self, number: int) -> tuple[int, ...]:
        """The numbers of rows that fit an id."""
        if number not in self.known:
            confidence = self.memory.confidence[number]
            self.known[number] = () if math.isnan(confidence) else table().get(round(confidence, DECIMALS), ())
        return self.known[number]

    def short(self, root: Region) -> set[int]:
        """The ``id()`` of every region that ends under a node whose rows do not add up."""
        found: set[int] = set()
        stack = [root]
        while stack:
            region = stack.pop()
            stack.extend(region.parts)
            if region.below is None:
                continue
            stack.append(region.below)
            ends = _ends(region.below)
            if region.node is not None and all(end.node is not None for end in ends) and not self._add_up(region, ends):
                found.update(id(end) for end in ends)
        return found

    def _add_up(self, region: Region, ends: list[Region]) -> bool:
        assert region.node is not None
        wanted = self.of(region.node)
        if not wanted:
            return True  # nothing is known
        sums = 1  # bit n: n rows can be made up
        for end in ends:
            assert end.node is not None
            counts = self.of(end.node)
            if not counts:
                return True
            reached = 0
            for n in counts:
                reached |= sums << n
            sums = reached
        return any(sums >> n & 1 for n in wanted)


def _ends(region: Region) -> list[Region]:
    """The regions in which the same features are given and that were not cut."""
    stack, found = [region], []
    while stack:
        here = stack.pop()
        if here.cut is None:
            found.append(here)
        stack.extend(here.parts)
    return found
