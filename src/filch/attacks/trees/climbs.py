"""Searches from a split, up to the split above it that decides whether it is met at all."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from filch.attacks.trees.lines import Lines, Pair
from filch.attacks.trees.memory import REFUSED
from filch.attacks.trees.regions import Region
from filch.core.answers import Answers
from filch.core.attack import Also
from filch.core.features import Rows


@dataclass(eq=False)
class Climbs(Lines):
    """Searches that end at a split above another."""

    def _climb(self, region: Region, pair: Pair, corner: Rows) -> Generator[Rows | Also, Answers | None, bool]:
        """Turn a pair whose crossing does nothing at a corner into a pair beside a split above it.

        False, and the pair is as it was or moved along, if there is none: crossing a split above changes the ids of
        both rows; if that of one stays to the end, it is another leaf's by chance.
        """
        (crossed,) = pair.columns.tolist()
        values = float(pair.x[crossed]), float(pair.y[crossed])
        still = corner.copy()
        still[crossed] = values[0]
        ends = np.array([still, still])
        ends[1, crossed] = values[1]
        told = (yield from self._ask(region, ends)).tolist()
        if told[0] != told[1]:
            return False
        while True:
            columns = np.flatnonzero((pair.x != still) & ~np.isnan(still))
            columns = columns[columns != crossed]
            if not len(columns) or told[0] == REFUSED:
                return False
            middle = pair.x.copy()
            if len(columns) > 1:
                half = self._half(columns)
                middle[half] = still[half]
            else:
                column = int(columns[0])
                place = None
                if column not in region.open:
                    place = self._between(column, float(pair.x[column]), float(still[column]))
                if place is None:
                    break
                middle[column] = place
            a, b = yield from self._cross(region, pair, middle, crossed, values)
            if a == b:
                still, told = middle, [a, b]
                still[crossed] = values[0]
            else:
                pair.x, pair.y = middle.copy(), middle.copy()
                pair.x[crossed], pair.y[crossed] = values
                pair.a, pair.b = a, b
        if told[0] in (pair.a, pair.b):
            return False
        end = still.copy()
        end[crossed] = values[0]
        pair.y, pair.b = end, told[0]
        return True

    def _cross(
        self, region: Region, pair: Pair, middle: Rows, crossed: int, values: tuple[float, float]
    ) -> Generator[Rows | Also, Answers | None, tuple[int, int]]:
        """The ids on both sides of a crossing at another row; one row less where the first one says enough."""
        first, second = middle.copy(), middle.copy()
        first[crossed], second[crossed] = values
        if self._fills(1):
            yield from self._ask(region, np.array([first, second]))
        (a,) = (yield from self._ask(region, first)).tolist()
        if a == pair.a:
            return a, pair.b
        (b,) = (yield from self._ask(region, second)).tolist()
        if REFUSED in (a, b):
            return b, b
        return a, b
