"""One numeric attribute of an additive model: the places asked, what each adds, and the steps between them.

Places that add the same lie in the same bin. Two that differ have an edge between them, which halving finds; each
answer names its bin, so that all edges of an attribute are found at once.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from filch.models.additive import Part

Floats = npt.NDArray[np.float64]
Place = tuple[int, float]
"""A column and a value."""
_PLACES = (0.5, 0.42, 0.58, 0.34, 0.66)
"""Where to ask within an interval: the next one only if an answer was refused."""
TRIES = 12  # times that an interval, or a place with others, is asked whose answers are refused


@dataclass(frozen=True, eq=False)
class Point:
    """What a place adds to the scores, (k,), and how precisely that is known."""

    value: Floats
    error: float

    def same(self, other: Point) -> bool:
        """Whether both may be the same bin."""
        return bool(np.abs(self.value - other.value).max() <= self.error + other.error)


@dataclass(frozen=True)
class Job:
    """A place to ask, between two others; most likely it adds what one of them adds."""

    column: int
    x: float
    below: float
    above: float
    beside: bool
    """Whether one of the two is not told yet."""


@dataclass(eq=False)
class Line:
    """A numeric attribute.

    Parameters
    ----------
    column : int
    low, high : float
    step : float
        The distance of neighbouring values; 0 if continuous.
    width : float
        The widest interval that an edge may stay in; of no matter with a step.
    """

    column: int
    low: float
    high: float
    step: float
    width: float
    points: dict[float, Point] = field(default_factory=dict)
    order: list[float] = field(default_factory=list)
    tries: dict[tuple[float, float], int] = field(default_factory=dict)
    fresh: float = 1.0
    """The share of the last places asked that added something new."""
    linear: tuple[Floats, Floats] | None = None
    """Offset and slope, once it is known to be linear."""

    def learn(self, x: float, point: Point) -> None:
        """Remember what a place adds."""
        if x not in self.points:
            insort(self.order, x)
        self.points[x] = point

    def forget(self) -> None:
        """Start anew."""
        self.points.clear()
        self.order.clear()
        self.tries.clear()
        self.fresh, self.linear = 0.5, None

    @property
    def size(self) -> float:
        """How many halvings the whole range takes."""
        return float(np.log2(max(1.0, (self.high - self.low) / (self.step or self.width))))

    def work(self, blank: Mapping[float, bool]) -> float:
        """How many halvings all intervals with edges take that are known so far."""
        places = sorted({*self.order, *blank})
        points = [self.points.get(x) for x in places]
        found = 0.0
        for low, high, one, two in zip(places, places[1:], points, points[1:], strict=False):
            if one is None or two is None or not one.same(two):
                found += float(np.ceil(np.log2(max(1.0, (high - low) / (self.step or self.width)))))
        return found

    def place(self, share: float) -> float:
        """The place at a share of the way between the ends."""
        return self._between(self.low, self.high, share)

    def _between(self, low: float, high: float, share: float) -> float:
        if not self.step:
            return low + share * (high - low)
        steps = round((high - low) / self.step)
        return low + self.step * min(max(int(share * steps), 1), steps - 1)

    def around(self, x: float) -> list[Point]:
        """What the nearest places that are told add: most likely one of these is what a place between them adds."""
        place = bisect_left(self.order, x)
        found = [self.points[y] for y in self.order[max(0, place - 1) : place + 1]]
        return found[:1] if len(found) == 2 and found[0].same(found[1]) else found

    def value(self, x: float) -> Point | None:
        """What a place adds, if it is told or lies between two that add the same."""
        near = self.around(x)
        inside = bool(self.order) and self.order[0] < x < self.order[-1]
        return near[0] if x not in self.points and inside and len(near) == 1 else self.points.get(x)

    def between(self, x: float) -> tuple[int, int]:
        """A name for the places between the same two that are told."""
        return self.column, bisect_left(self.order, x)

    def jobs(self, blank: Mapping[float, bool]) -> list[Job]:
        """The places to ask next.

        ``blank`` holds places that were asked and are not told yet, and whether they are likely to add something new.
        """
        if self.linear is not None:
            return []
        found = []
        places = sorted({*self.order, *blank})
        for low, high in pairwise(places):
            known = low in self.points and high in self.points
            if known and self.points[low].same(self.points[high]):
                continue
            if not known and not (
                blank.get(low, True) and blank.get(high, True) and (low in self.points) + (high in self.points)
            ):
                continue
            wide = high - low > (1.5 * self.step if self.step else self.width)
            tries = self.tries.get((low, high), 0)
            if wide and tries < TRIES:
                x = self._between(low, high, _PLACES[tries % len(_PLACES)])
                if low < x < high:
                    found.append(Job(self.column, x, low, high, not known))
        return found

    def refused(self, job: Job) -> None:
        """Ask elsewhere in this interval the next time."""
        self.tries[job.below, job.above] = self.tries.get((job.below, job.above), 0) + 1

    def straight(self) -> bool:
        """Whether the places asked, three or more, lie on a line that is not level; remembers it."""
        if len(self.order) < 3 or self.points[self.order[0]].same(self.points[self.order[-1]]):
            return False
        first, last = self.order[0], self.order[-1]
        slope = (self.points[last].value - self.points[first].value) / (last - first)
        offset = self.points[first].value - slope * first
        for x in self.order[1:-1]:
            point = self.points[x]
            error = point.error + self.points[first].error + self.points[last].error
            if np.abs(offset + slope * x - point.value).max() > error:
                return False
        self.linear = offset, slope
        return True

    @property
    def edges(self) -> list[tuple[float, float]]:
        """The intervals that hold an edge each."""
        pairs = zip(self.order, self.order[1:], strict=False)
        return [(a, b) for a, b in pairs if not self.points[a].same(self.points[b])]

    def places(self) -> list[float]:
        """A place in each bin; none of a line."""
        return [] if self.linear is not None or not self.order else [self.order[0], *(b for _, b in self.edges)]

    def part(self, k: int) -> Part:
        """The function found, with edges in the middle of what is left of their intervals."""
        if self.linear is not None:
            return Part(np.empty(0), self.linear[0][None], self.linear[1])
        edges = np.array([(a + b) / 2 for a, b in self.edges])
        if not self.order:
            return Part(edges, np.zeros((1, k)))
        starts = [self.order[0], *(b for _, b in self.edges)]
        values = []
        for start, stop in zip(starts, [*starts[1:], np.inf], strict=True):
            points = [self.points[x] for x in self.order if start <= x < stop]
            values.append(min(points, key=lambda point: point.error).value)
        return Part(edges, np.array(values))
