"""Several attributes in one query: what each adds is told from sums, where places can only add what is known.

A sum of one known candidate each tells all of them at once: float64 carries the digits that keep sums apart. A sum that
no candidates make holds something new, and stays open. Each of its places would then add the rest of one choice for the
others; a later sum, of another choice for others, is met by the truth alone, so that most new things are told by what
is asked anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from filch.attacks.binned.lines import Job, Place, Point

Floats = npt.NDArray[np.float64]
MOST_JOBS = 10
"""In one query: 1,024 sums of two candidates each."""
_COARSE = 1e-8  # an error of a sum above which sums may be mistaken for each other
_FRESH = 0.8  # of the places in one query, at most so many are expected to add something new


@dataclass(eq=False)
class Sum:
    """What some places add together, (k,), and its error; less those that are told."""

    places: list[Place]
    total: Floats
    error: float
    age: int = 0
    """Rounds ago."""


@dataclass(eq=False)
class _Guess:
    """What a place would add, (n, k), for each choice of what is known for the others in a sum."""

    source: Sum
    place: Place
    values: Floats
    error: float


@dataclass(eq=False)
class Sums:
    """Sums that are not told yet.

    Parameters
    ----------
    value : callable
        What a place adds, or None.
    around : callable
        What a place may add, as far as that is known.
    between : callable
        A name for all places that may add the same new thing as one.
    keep : callable
        Told of each place that is told.
    """

    value: Callable[[Place], Point | None]
    around: Callable[[Place], Sequence[Point]]
    between: Callable[[Place], object]
    keep: Callable[[Place, Point], None]
    open: list[Sum] = field(default_factory=list)

    def settle(self) -> None:
        """Tell what can be told."""
        while self._told() or self._met() or self._both():
            pass

    def _told(self) -> bool:
        """Sums of which one place is left, or that known candidates make in one way only."""
        before, found = len(self.open), False
        for one in list(self.open):
            for place in list(one.places):
                point = self.value(place)
                if point is not None:
                    one.places.remove(place)
                    one.total, one.error = one.total - point.value, one.error + point.error
            if len(one.places) == 1:
                self.keep(one.places[0], Point(one.total, one.error))
                found = True
            elif one.places:
                points = told([self.around(place) for place in one.places], one.total, one.error)
                if points is None:
                    continue
                for place, point in zip(one.places, points, strict=True):
                    self.keep(place, point)
                found = True
            self.open.remove(one)
        return found and before > 0

    def _guesses(self) -> dict[object, list[_Guess]]:
        """By what places may share."""
        found = dict[object, list[_Guess]]()
        for one in self.open:
            for place in one.places:
                others = [self.around(other) for other in one.places if other != place]
                error = one.error + sum(max((point.error for point in points), default=0.0) for points in others)
                if all(others) and error <= _COARSE:
                    guess = _Guess(one, place, one.total - _all_sums(others, len(one.total)), error)
                    found.setdefault(self.between(place), []).append(guess)
        return found

    def _met(self) -> bool:
        """Two places that add the same if both are new, for one choice for the others of each.

        Two sums may be alike for what either of two attributes adds to both; then neither is told.
        """
        found = dict[frozenset[int], list[tuple[Place, Place, Point] | None]]()
        for group in self._guesses().values():
            for i, one in enumerate(group):
                for two in group[:i]:
                    if one.source is two.source:
                        continue
                    matches = _common(one.values, two.values, one.error + two.error)
                    if len(matches):
                        point = Point(matches[0], min(one.error, two.error))
                        met = (one.place, two.place, point) if len(matches) == 1 else None
                        found.setdefault(frozenset({id(one.source), id(two.source)}), []).append(met)
        for explanations in found.values():
            if len(explanations) == 1 and explanations[0] is not None:
                first, second, point = explanations[0]
                for place in {first: None, second: None}:
                    self.keep(place, point)
                return True
        return False

    def _both(self) -> bool:
        """A sum of two new things, each of which another sum holds, too."""
        guesses = self._guesses()
        for one in self.open:
            if len(one.places) != 2:
                continue
            first, second = (guesses.get(self.between(place), []) for place in one.places)
            for a in first:
                for b in second:
                    if a.source is b.source or one in (a.source, b.source):
                        continue
                    matches = _common(a.values, one.total - b.values, a.error + b.error + one.error)
                    if len(matches) == 1:
                        self.keep(one.places[0], Point(matches[0], a.error))
                        self.keep(one.places[1], Point(one.total - matches[0], a.error + one.error))
                        return True
        return False


def _common(one: Floats, two: Floats, error: float) -> Floats:
    """The different values that two lists share, (n, k)."""
    first, _ = np.nonzero(np.abs(one[:, None] - two).max(axis=2) <= error)
    found = one[first[:1]]
    for value in one[first[1:]]:
        if np.abs(found - value).max(axis=1).min() > error:
            found = np.vstack([found, value])
    return found


def _all_sums(choices: Sequence[Sequence[Point]], k: int) -> Floats:
    sums = np.zeros((1, k))
    for points in choices:
        sums = (sums[:, None] + np.array([point.value for point in points])).reshape(-1, k)
    return sums


def told(choices: Sequence[Sequence[Point]], total: Floats, error: float) -> list[Point] | None:
    """Which candidate each place adds, if exactly one choice makes the sum.

    Parameters
    ----------
    choices : sequence of sequence of Point
    total : (k,)
        What all places add together.
    error : float
        Of the total.
    """
    if not all(choices):
        return None
    error += sum(max(point.error for point in points) for points in choices)
    if error > _COARSE and len(choices) > 1:
        return None
    (match,) = np.nonzero(np.abs(_all_sums(choices, len(total)) - total).max(axis=1) <= error)
    if len(match) != 1:
        return None
    digits = np.unravel_index(int(match[0]), [len(points) for points in choices])
    return [points[int(digit)] for points, digit in zip(choices, digits, strict=True)]


def packed(jobs: Mapping[int, Sequence[Job]], fresh: Mapping[int, float], most: float) -> list[list[Job]]:
    """Put jobs into few queries: one of an attribute in each, two in each at least, few that may add something new."""
    queries: list[list[Job]] = []
    loads: list[float] = []
    for turn, column in enumerate(sorted(jobs, key=lambda column: (-len(jobs[column]), column))):
        start = 0
        # What lies beside places that are not told yet goes with what does not.
        for job in sorted(jobs[column], key=lambda job: job.beside == bool(turn % 2)):
            for place in range(start, len(queries)):
                size = len(queries[place])
                if size < 2 or (size < MOST_JOBS - 1 and loads[place] + fresh[column] <= most):
                    break
            else:
                place = len(queries)
                queries.append([])
                loads.append(0.0)
            queries[place].append(job)
            loads[place] += fresh[column]
            start = place + 1
    return queries
