"""Tests of leaves whose id other leaves have, too: there equal answers prove less."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from filch.attacks.trees.counts import Counts
from filch.attacks.trees.lines import Step
from filch.attacks.trees.memory import REFUSED
from filch.attacks.trees.regions import Region
from filch.attacks.trees.solve import Solver
from filch.core.attack import Also
from filch.core.features import Rows
from filch.core.oracle import OracleSpec
from filch.models.trees.missing import DECIMALS

_MORE = 8  # times as many tests where the training rows of the leaves found do not add up to their node's
_SWEEPS = 4  # in which the pairs of all leaves are asked
_QUIET = 200  # pairs in a row that show nothing, after which each leaf that was tested is believed


@dataclass(eq=False)
class Tests:
    """Asks further rows of leaves, and searches them again where an answer differs.

    Parameters
    ----------
    spec : OracleSpec
    solver : Solver
    probes : int
        Pairs of rows for each leaf, at most: fewer if many in a row show nothing.
    """

    spec: OracleSpec
    solver: Solver
    probes: int
    repaired: int = 0
    before: int = 0
    asked: int = 0
    quiet: int = 0
    """Pairs asked since one of them last showed something."""

    def wanted(self, root: Region, rng: np.random.Generator, name: str, early: bool = False) -> dict[str, Step]:
        """The tests still to be made, by name; none where training rows add up."""
        reveal = self.spec.reveal
        if reveal.level == "node" or not self.probes:
            return {}
        exact = reveal.decimals is None or reveal.decimals >= DECIMALS
        adds = self.solver.partial and exact and reveal.level == "confidence" and self.spec.classes is not None
        counts = Counts(self.solver.memory, len(self.spec.classes or ()))
        doubts = counts.doubts(root) if adds else {}
        tests: dict[str, Step] = {}
        labels = reveal.level == "labels"  # by which alone all boxes stay in doubt
        heard = self.repaired > self.before or labels
        self.quiet = 0 if heard else self.quiet + self.asked
        self.asked, self.before = 0, self.repaired
        leaves = [region for region in root.uncut() if region.node is not None] if labels else shared_ids(root)
        for leaf in leaves:
            if early and not (leaf.closed and (not adds or id(leaf) in counts.settled)):
                continue
            doubt = doubts.get(id(leaf), 1.0)
            most = math.ceil(min(doubt, float(_MORE)) * self.probes)
            wanted = min(most, leaf.probed + math.ceil(most / _SWEEPS))
            if leaf.probed < wanted and (self.quiet < _QUIET or not leaf.probed or math.isinf(doubt)):
                self.asked += wanted - leaf.probed
                tests[f"test {len(tests)}"] = self._probe(leaf, wanted, rng, f"{name}{len(tests)}/")
        return tests

    def _probe(self, leaf: Region, wanted: int, rng: np.random.Generator, name: str) -> Step:
        """Rows at random opposite corners of a leaf's box, and within it, in turn."""
        kinds = [self._opposite, self._within]
        rows = np.concatenate([kinds[place % 2](leaf, rng) for place in range(leaf.probed, wanted)])
        if self.solver.memory.shows_fields:  # then it is known which features matter here
            rows[:, ~leaf.given] = np.nan
        leaf.probed = wanted
        yield from self.reopen(leaf, rows, name)

    def _opposite(self, leaf: Region, rng: np.random.Generator) -> Rows:
        at = rng.random(len(leaf.low)) < 0.5
        pair = np.array([np.where(at, leaf.low, leaf.high), np.where(at, leaf.high, leaf.low)])
        for column, codes in leaf.open.items():
            first = int(rng.integers(len(codes)))
            pair[:, column] = codes[first], codes[(first + 1 + rng.integers(max(1, len(codes) - 1))) % len(codes)]
        return pair

    def _within(self, leaf: Region, rng: np.random.Generator) -> Rows:
        return leaf.within(self.spec.space, rng, 2)

    def reopen(self, leaf: Region, rows: Rows, name: str) -> Step:
        """Ask rows of a leaf's box, and search it again if an answer differs."""
        memory = self.solver.memory
        ids = yield from memory.ask(rows)
        other = (ids != REFUSED) & (ids != leaf.node)
        if not other.any():
            return
        short = rows[other]
        short[:, ~leaf.given] = np.nan
        told = yield from memory.ask(short)
        self.repaired += 1
        apart = (told != REFUSED) & (told != leaf.node)
        if apart.any():  # a split on a feature that is given
            leaf.note(short[apart], told[apart])
        else:
            self.solver.branches |= leaf.ended and self.solver.telling()  # it was a leaf, and is none elsewhere
            row, number = rows[other], ids[other]
            assert leaf.node is not None
            leaf = leaf.give(None)
            leaf.note(row, number)
        leaf.node, leaf.closed = None, False
        yield Also({f"{name}again": self.solver.solve(leaf, name)})


def shared_ids(root: Region) -> list[Region]:
    """Leaves whose id stands in several boxes that are no parts of one box."""
    leaves = [region for region in root.uncut() if region.node is not None]
    if not leaves:
        return []
    count = Counter(leaf.node for leaf in leaves)
    ids = np.array([leaf.node for leaf in leaves])
    low, high = (np.array([getattr(leaf, name) for leaf in leaves]) for name in ("low", "high"))
    categories = {
        column: np.array([[code in leaf.open[column] for code in codes] for leaf in leaves])
        for column, codes in root.open.items()
    }
    for column in root.open:
        low[:, column], high[:, column] = 0.0, 0.0
    found = []
    for number in [number for number, times in count.items() if times > 1]:
        mine = ids == number
        meets = (low <= high[mine].max(axis=0)).all(axis=1) & (high >= low[mine].min(axis=0)).all(axis=1)
        for table in categories.values():
            meets &= (table & table[mine].any(axis=0)).any(axis=1)
        if (meets & ~mine).any():
            found += [leaves[place] for place in np.flatnonzero(mine)]
    return found
