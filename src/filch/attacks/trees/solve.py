"""Path finding with few queries: one recursion over boxes serves complete and incomplete queries.

In a box, two answers that differ are bisected over the features in which their rows differ, down to one feature, and
that one is searched for its split. The split is worth cutting at if it is the first one of the tree in this box: then
crossing it changes the answer everywhere, so it is tried at two opposite corners. Where crossing changes nothing, some
split above decides; bisecting towards that corner finds it, and the search climbs there. The answers to the corners
are those that the parts on both sides need, to show that no split is left in them. Where ids tell leaves apart, the
search begins with all sides of the leaf in the box's corner instead: see `faces`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from filch.attacks.trees.faces import Faces
from filch.attacks.trees.lines import Pair, Step
from filch.attacks.trees.memory import REFUSED
from filch.attacks.trees.regions import Cut, Region
from filch.core.answers import Answers
from filch.core.attack import Also
from filch.core.features import Rows

_MANY = 16  # categories of a column, of which not each is tried at a crossing: one of each kind seen so far is
_CLIMBS = 64  # of one search; trees are no deeper than that


@dataclass(eq=False)
class Solver(Faces):
    """The search for a tree's splits.

    Parameters
    ----------
    space : FeatureSpace
    memory : Memory
    epsilon : (d,)
        The precision of each numeric column.
    partial : bool
        Whether queries may omit features.
    """

    # ── the recursion ───────────────────────────────────────────────────────────────────────────────────

    def solve(self, region: Region, name: str = "") -> Step:
        """Find every split in a region; the parts are searched side by side."""
        above: int | None = None
        while True:
            if region.dead:
                return
            pair = None
            if not (yield from self._through(region, above)):
                pair = yield from self._difference(region)
            if above is not None and not self.branches:
                yield from self._passes(region, above)
            if pair is not None:
                first = None
                if not self.partial or not (region.categories() or region.root in pair.columns):
                    first = yield from self._first(region)
                cut = first or (yield from self._split(region, pair))
                if cut is None:
                    return
                self._part(cut)
                parts = region.divide(cut, keep=self.partial)
                yield Also({f"{name}{place}.": self.solve(part, f"{name}{place}.") for place, part in enumerate(parts)})
                return
            if region.node is None or not self.partial or region.given.all():
                region.closed = region.node is not None
                return
            if region.node == above:  # giving the feature changed nothing: what is omitted here takes some branch
                column = None
            else:
                column = yield from self._next_column(region)
                if column is None and not self.branches:
                    region.closed = True
                    return
            above = region.node
            told = region.below is not None and region.below.root == column
            region = region.below if told and region.below is not None else region.give(column)

    def _through(self, region: Region, above: int | None) -> Generator[Rows | Also, Answers | None, bool]:
        """Whether the region's node is shown to answer all of it by rows that give the feature split next, too.

        They do for the parts then what they do here. A row that is not told what the node's branch is told elsewhere is
        asked without that feature.
        """
        known = region.root is None or region.crossed
        if not self.partial or self.branches or region.given.all() or not known:
            return False
        if not region.ids:
            yield from self._ask(region, region.corner(0))
        if len(set(region.ids)) != 1 or region.ids[0] == above:
            return False
        region.node = region.ids[0]
        column = yield from self._next_column(region)
        if column is None:
            region.node = None
            return False
        below, corner = region.give(column), region.corner(0)
        if column not in region.open and region.categories():
            yield from self._beneath(below, column)
        line, short = below.along(corner, column)
        rows = region.uncovered(line)
        values = region.open.get(column, (float(region.low[column]), float(region.high[column])))
        ends = np.array([corner] * len(values))
        ends[:, column] = values
        place = np.arange(len(rows)) % len(values)
        rows[:, column] = np.array(values)[place]
        if len(rows):
            ids = yield from self._ask(below, np.concatenate([ends, rows]))
            short = np.concatenate([rows[ids[len(values) :] != ids[place]], short])
        short[:, column] = np.nan
        told = yield from self._ask(region, short)
        if (told == region.node).all():
            return True
        region.node, region.below = None, None
        return False

    def _beneath(self, below: Region, column: int) -> Step:
        """Search the line along which a node splits; its rows show how far the node answers, too."""
        pair = yield from self._across(below, column, below.corner(0))
        if pair is not None:
            yield Also(self.ahead(below, pair))
            yield from self._locate(below, pair, rides=True)

    def _difference(self, region: Region) -> Generator[Rows | Also, Answers | None, Pair | None]:
        """Two rows of the region with different ids; None, and its node is known, if there seem to be none."""
        if region.root is not None and not region.crossed:
            region.crossed = True
            for number in (0, 1):
                pair = yield from self._across(region, region.root, region.corner(number))
                if pair is not None:
                    if number == 0:
                        yield Also(self.ahead(region, pair))
                    return pair
        for turn in range(3):  # two rows, then the rest; once more if some were refused
            if len(set(region.ids)) > 1:
                return self._closest(region)
            rows = region.uncovered()
            if not len(rows):
                break
            yield from self._ask(region, rows[: 2 if turn == 0 else len(rows)])
        if len(set(region.ids)) > 1:
            return self._closest(region)
        if region.ids:
            region.node = region.ids[0]
        else:
            self.uncertain += 1
        return None

    def _closest(self, region: Region) -> Pair:
        """The pair of answered rows with different ids that differ in the fewest columns; the narrowest, the newest."""
        rows, ids = np.array(region.rows), np.array(region.ids)
        filled = np.where(np.isnan(rows), -2.0, rows)
        first, second = np.nonzero(np.triu(ids[:, None] != ids[None, :]))
        differ = filled[first] != filled[second]
        count = differ.sum(axis=1)
        few = np.flatnonzero(count == count.min())
        gaps = np.abs(filled[first[few]] - filled[second[few]])
        wide = np.where(differ[few] & ~self.space.categorical, np.maximum(gaps / self.epsilon, 1.0001), 0.0).max(axis=1)
        best = few[np.lexsort((-second[few], wide))[0]]
        i, j = first[best], second[best]
        return Pair(rows[i].copy(), rows[j].copy(), int(ids[i]), int(ids[j]))

    # ── one split ───────────────────────────────────────────────────────────────────────────────────────

    def _split(self, region: Region, pair: Pair) -> Generator[Rows | Also, Answers | None, Cut | None]:
        """A split that parts the region, the first one of the tree in it if the answers tell."""
        yield from self._one_column(region, pair)
        if region.root is not None and pair.columns.tolist() == [region.root]:
            return (yield from self._root(region, pair))
        tried: list[tuple[int, float, tuple[tuple[int, ...], ...]]] = []
        cut = yield from self._locate(region, pair)
        for _ in range(_CLIMBS):
            cut, still = yield from self._try(region, cut, pair)
            if still is None:
                return cut
            tried.append((cut.column, cut.low, cut.groups))
            climbed = yield from self._climb(region, pair, still)
            if not climbed:
                return cut
            above = yield from self._locate(region, pair)
            if (above.column, above.low, above.groups) in tried:
                break
            cut = above
        self.uncertain += 1
        return cut

    def _first(self, region: Region) -> Generator[Rows | Also, Answers | None, Cut | None]:
        """The first split of a region by what stands beside the leaf in its corner; None if that does not tell."""
        faces = yield from self._faces(region)
        while faces:
            doubts = [self._straddle(region, cut) for cut, _ in faces]
            cut, pair = faces.pop(int(np.argmin(doubts)))
            if min(doubts):
                return (yield from self._split(region, pair))
            cut, still = yield from self._try(region, cut, pair)
            if still is None and not self._straddle(region, cut):
                return cut
        return None

    def _root(self, region: Region, pair: Pair) -> Generator[Rows | Also, Answers | None, Cut]:
        """The first split of a region whose column is known: of several on it, one that parts both corners."""
        ends = pair.a, pair.b
        cut = yield from self._locate(region, pair, rides=self.partial)
        column, several = cut.column, ends != (pair.a, pair.b)
        here, there = region.corner(0), region.corner(1)
        if pair.x[np.arange(len(here)) != column].tolist() == there[np.arange(len(here)) != column].tolist():
            here, there = there, here
        values = [float(group[0]) for group in cut.groups] or [cut.low, cut.high]
        (told,) = yield from self._crossed(region, cut, values, [there], exact=several)
        if REFUSED in told or len(set(told)) == len(values):
            return cut
        if cut.groups:
            blocks = _joined(list(range(len(values))), told)
            return cut if len(set(blocks)) == 1 else _coarser(cut, blocks)
        return (yield from self._common(region, cut, [here, there]))

    def _common(self, region: Region, cut: Cut, lines: list[Rows]) -> Generator[Rows | Also, Answers | None, Cut]:
        """A split that parts both of two lines along its column, where the one found parts the first line only.

        It lies beside that one, on a side at whose ends both lines are answered differently. The one found, if none is.
        """
        column, found = cut.column, cut
        todo = [(float(region.low[column]), cut.low), (cut.high, float(region.high[column]))]
        for _ in range(_CLIMBS):
            if not todo:
                break
            low, high = todo.pop()
            ends = np.repeat(np.array(lines), 2, axis=0)
            ends[:, column] = low, high, low, high
            ids = (yield from self._ask(region, ends)).tolist()
            if REFUSED in ids or ids[0] == ids[1] or ids[2] == ids[3]:
                continue
            other = yield from self._locate(region, Pair(ends[0], ends[1], ids[0], ids[1]))
            (told,) = yield from self._crossed(region, other, [other.low, other.high], lines[1:], exact=True)
            if told[0] != told[1]:
                return other
            todo += [(low, other.low), (other.high, high)]
        return found

    def _try(
        self, region: Region, cut: Cut, pair: Pair
    ) -> Generator[Rows | Also, Answers | None, tuple[Cut, Rows | None]]:
        """Cross a cut at two opposite corners: the cut, and a corner where that changes nothing, if there is one.

        Branches of a categorical cut that lead to the same answer somewhere are one branch of the first split.
        """
        values = [float(group[0]) for group in cut.groups] or [cut.low, cut.high]
        blocks = list(range(len(values)))
        first = [region.corner(0), region.corner(1)]
        for corners in (first, [] if self.partial else self._others(region)):
            exact = corners is first and not self.partial
            ids = yield from self._crossed(region, cut, values, corners, exact)
            for corner, told in zip(corners, ids, strict=True):
                if REFUSED in told:
                    continue
                merged = _joined(blocks, told)
                if len(set(merged)) == 1:
                    return cut, corner
                blocks = merged
        return (_coarser(cut, blocks) if cut.groups and len(set(blocks)) < len(blocks) else cut), None

    def _others(self, region: Region) -> list[Rows]:
        """Corners with the categories that the first two lack, one of each kind."""
        kinds: dict[int, list[int]] = {}
        for column, codes in region.open.items():
            known = self.kinds[column] if len(codes) > _MANY else dict(zip(codes, codes, strict=True))
            kinds[column] = list({known.get(code, 0): code for code in reversed(codes)}.values())[::-1]
        corners = []
        for number in range(2, max((len(codes) for codes in kinds.values()), default=0)):
            corner = region.corner(number)
            for column, reps in kinds.items():
                corner[column] = reps[number % len(reps)]
            corners.append(corner)
        return corners

    def _part(self, cut: Cut) -> None:
        """Note that a cut was found: its column is split, and categories on its sides differ."""
        self.weights[cut.column] += 1
        known = self.kinds.get(cut.column, {})
        largest = max(cut.groups, key=len) if cut.groups else ()
        for group in cut.groups:
            if group != largest:
                new = {kind: self._number() for kind in {known.get(code, 0) for code in group}}
                known.update({code: new[known.get(code, 0)] for code in group})

    def _crossed(
        self, region: Region, cut: Cut, values: list[float], corners: list[Rows], exact: bool
    ) -> Generator[Rows | Also, Answers | None, list[list[int]]]:
        """The ids on each side of a cut, at each corner.

        On one side the corner itself serves. If ``exact``, rows close beside a numeric cut are asked on both sides, so
        that no other split on that feature is mistaken for it.
        """
        rows = np.repeat(np.array(corners).reshape(len(corners), len(region.low)), len(values), axis=0)
        column, inside = cut.column, [float(corner[cut.column]) for corner in corners]
        own = [
            next((n for n, group in enumerate(cut.groups) if value in group), 0) if cut.groups else int(value > cut.low)
            for value in inside
        ]
        for n in range(len(corners)):
            for place, value in enumerate(values):
                rows[n * len(values) + place, column] = inside[n] if place == own[n] else value
        asked = yield from self._ask(region, rows)
        ids = asked.reshape(len(corners), len(values)).tolist()
        if exact and not cut.groups:
            unsure = [n for n in range(len(corners)) if ids[n][0] != ids[n][1]]
            beside = np.array([corners[n] for n in unsure]).reshape(len(unsure), len(region.low))
            beside[:, column] = [values[own[n]] for n in unsure]
            more = yield from self._ask(region, beside)
            for n, number in zip(unsure, more.tolist(), strict=True):
                ids[n][own[n]] = number
        return ids


def _joined(blocks: list[int], ids: list[int]) -> list[int]:
    """Blocks of branches, those with the same id made one."""
    merged = list(blocks)
    for place, number in enumerate(ids):
        old, new = sorted((merged[ids.index(number)], merged[place]))
        merged = [old if block == new else block for block in merged]
    return merged


def _coarser(cut: Cut, blocks: list[int]) -> Cut:
    """A categorical cut whose branches of the same block are one."""
    groups = [
        tuple(sorted(code for place, group in enumerate(cut.groups) if blocks[place] == block for code in group))
        for block in sorted(set(blocks))
    ]
    return Cut(cut.column, groups=tuple(groups))
