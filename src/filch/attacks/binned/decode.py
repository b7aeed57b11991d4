"""Several attributes in one query: what each adds is read off the sum, where places can only add what is known.

A sum of one known candidate each tells all of them at once: float64 carries the digits that keep sums apart. A sum that
no candidates make holds something new; then a part of its attributes is asked alone, as in group testing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from filch.attacks.binned.lines import Job, Point

Floats = npt.NDArray[np.float64]
MOST_JOBS = 10
"""In one query: 1,024 sums of two candidates each."""
_COARSE = 1e-8  # an error of a sum above which sums may be mistaken for each other
_CALM = 0.3  # and with a rider in two of them
_FRESH = 0.8  # of the places in one query, at most so many are expected to add something new


def told(jobs: Sequence[Job], total: Floats, error: float) -> list[Point] | None:
    """Which candidate each job's place adds, if exactly one choice makes the sum.

    Parameters
    ----------
    jobs : sequence of Job
    total : (k,)
        What all their places add together.
    error : float
        Of the total.
    """
    error += sum(max(point.error for point in job.candidates) for job in jobs)
    if error > _COARSE and len(jobs) > 1:
        return None
    sums = np.zeros((1, len(total)))
    for job in jobs:
        choices = np.array([point.value for point in job.candidates])
        sums = (sums[:, None] + choices).reshape(-1, len(total))
    (match,) = np.nonzero(np.abs(sums - total).max(axis=1) <= error)
    if len(match) != 1:
        return None
    digits = np.unravel_index(int(match[0]), [len(job.candidates) for job in jobs])
    return [job.candidates[int(digit)] for job, digit in zip(jobs, digits, strict=True)]


def packed(jobs: Mapping[int, Sequence[Job]], fresh: Mapping[int, float]) -> list[list[Job]]:
    """Put jobs into as few queries as pay: one of an attribute in each, few that are likely to add something new.

    Two jobs always go together, since a failed sum costs one query more, no more than asking each alone.
    """
    queries: list[list[Job]] = []
    loads: list[float] = []
    for column in sorted(jobs, key=lambda column: (-len(jobs[column]), column)):
        start, share = 0, fresh[column]
        for job in jobs[column]:
            for place in range(start, len(queries)):
                size = len(queries[place])
                if size < 2 or (size < MOST_JOBS and loads[place] + share <= _FRESH):
                    queries[place].append(job)
                    loads[place] += share
                    start = place + 1
                    break
            else:
                queries.append([job])
                loads.append(share)
                start = len(queries)
    return queries


def suspects(query: Sequence[Job], fresh: Mapping[int, float]) -> list[Job]:
    """The part of a failed query to ask alone: the likeliest to add something new if it stands out, else a half."""
    ranked = sorted(query, key=lambda job: -fresh[job.column])
    stands_out = 2 * fresh[ranked[0].column] >= sum(fresh[job.column] for job in query)
    return ranked[:1] if stands_out else ranked[: len(ranked) // 2]


def ridden(
    queries: Sequence[Sequence[Job]], waiting: Sequence[tuple[int, float]], fresh: Mapping[int, float]
) -> dict[int, tuple[int, float]]:
    """Which unknown places ride with two neighbouring queries each, by the place of the first of the two.

    A place that rides twice costs nothing: the difference of the two sums tells what else they hold, and the rest is
    its own. Only queries of little surprise take riders.
    """
    riders: dict[int, tuple[int, float]] = {}
    todo, place = list(waiting), 0
    while todo and place + 1 < len(queries):
        two = [*queries[place], *queries[place + 1]]
        if len(two) <= MOST_JOBS and sum(fresh[job.column] for job in two) <= _CALM:
            riders[place] = todo.pop(0)
            place += 1
        place += 1
    return riders


def rider(
    one: Sequence[Job], two: Sequence[Job], first: tuple[Floats, float], second: tuple[Floats, float]
) -> Point | None:
    """What rides with both of two queries, from their sums and errors; None if their difference tells nothing."""
    turned = [replace(job, candidates=_negative(*job.candidates)) for job in two]
    points = told([*one, *turned], first[0] - second[0], first[1] + second[1])
    if points is None:
        return None
    own = points[: len(one)]
    return Point(first[0] - sum(point.value for point in own), first[1] + sum(point.error for point in own))


def _negative(one: Point, two: Point) -> tuple[Point, Point]:
    return Point(-one.value, one.error), Point(-two.value, two.error)
