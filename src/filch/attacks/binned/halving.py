"""Rounds of a search for edges: what to ask together, and what to ask again.

The fewest queries are the places of the attribute that takes most, for a query holds one place of each. So attributes
whose answers seldom are new carry the places of others: they wait for those, and lend each query to one. Before any
attribute is that calm, the largest are asked, alone where nothing else would tell them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from filch.attacks.binned.decode import Sum, Sums, packed
from filch.attacks.binned.learn import Learner
from filch.attacks.binned.lines import TRIES, Job, Place, Point
from filch.core.answers import Answers
from filch.core.attack import Ask

Together = dict[Place, None]
"""The places of one query, in their order."""
_AGAIN = 3  # times that what is not told is asked in one round
_ROUNDS = 200  # of halving: more than any range of float64 takes
_ENDLESS = 40  # places of an attribute that all add something else: no steps, but a curve or a line
# Shares of places that add something new. They were chosen on models with random edges and on those of Table 7.
_CARRIES = 0.7  # an attribute below it carries others
_CALM = 0.45  # below it, what is not told is likely to be told by the next round
_FRESH = 0.8  # in one query, where none carries; else 1.0 above two attributes
_FAILED = 0.7  # of the queries of a round: what is not told is asked alone
_LIKELY = 0.3  # of a place in a sum that is not told: halving goes on beside it
_EQUAL = 0.95  # sizes of attributes that are asked side by side from the start


@dataclass(eq=False)
class Halving(Learner):
    """Finds edges by halving; its parameters are those of `Learner`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sums = Sums(self.value, self.around, self.between, self.tell)
        self.asked = dict[Place, Job | None]()
        """The places of the last round."""
        self.new = dict.fromkeys(self.lines, 0)
        """Those that were told and add something new, by column."""
        self.refusals = dict[Place, int]()

    # ── what sums are told by ───────────────────────────────────────────────────────────────────────────

    def value(self, place: Place) -> Point | None:
        """What a place adds, or None."""
        column, x = place
        if column in self.lines:
            return self.lines[column].value(x)
        return self.unknown if column < 0 else self.categories[column].get(int(x))

    def around(self, place: Place) -> list[Point]:
        """What a place may add, as far as that is known."""
        return self.lines[place[0]].around(place[1]) if place[0] in self.lines else []

    def between(self, place: Place) -> object:
        """A name for all places that may add the same new thing as one."""
        return self.lines[place[0]].between(place[1]) if place[0] in self.lines else place

    def tell(self, place: Place, point: Point) -> None:
        """Remember what a place adds."""
        if place in self.asked and place[0] in self.lines:
            self.new[place[0]] += not any(point.same(other) for other in self.around(place))
        self.keep(place, point)

    # ── rounds ──────────────────────────────────────────────────────────────────────────────────────────

    def edges(self) -> Generator[Ask, Answers, None]:
        """Find all edges of all attributes, side by side."""
        for _ in range(_ROUNDS):
            if not (yield from self.round()):
                break

    def round(self) -> Generator[Ask, Answers, bool]:
        """Ask places in intervals that hold an edge; whether there was anything to ask."""
        for line in self.moving:
            if line.fresh == 1.0 and len(line.order) >= _ENDLESS and line.linear is None and not line.step:
                line.linear = np.zeros(self.k), np.zeros(self.k)  # told by a fit to all answers
        found = {line.column: line.jobs(self.blank(line.column)) for line in self.moving}
        jobs = {column: some for column, some in found.items() if some}
        queries = self.plan(jobs)
        self.asked = dict.fromkeys(place for query in queries for place in query)
        self.asked |= {
            (job.column, job.x): job for some in jobs.values() for job in some if (job.column, job.x) in self.asked
        }
        self.new = dict.fromkeys(self.lines, 0)
        calm = any(self.lines[column].fresh <= _CALM for column in jobs)
        yield from self.total(queries)
        for _ in range(_AGAIN):
            young = sum(one.age == 0 for one in self.sums.open)
            if calm or self.alone or young < _FAILED * len(queries) or not young:
                break
            yield from self.total([{place: None} for place in dict.fromkeys(map(self.suspect, self.sums.open))])
        self.deferred = [place for place in self.deferred if self.value(place) is None]
        for column, line in self.lines.items():
            line.fresh = self.freshness(column)
        for one in self.sums.open:
            one.age += 1
        return bool(queries or self.deferred or self.sums.open)

    def plan(self, jobs: Mapping[int, Sequence[Job]]) -> list[Together]:
        """What to ask together."""
        again = self.again(jobs)
        if self.alone:
            places = [(job.column, job.x) for some in jobs.values() for job in some]
            return [{place: None} for place in [*places, *again, *self.deferred]]
        lines = self.lines
        carriers = {column: some for column, some in jobs.items() if lines[column].fresh <= _CARRIES}
        others = sorted(set(jobs) - set(carriers), key=lambda column: (-lines[column].size, column))
        if not carriers:
            first = {column: jobs[column] for column in others if lines[column].size >= _EQUAL * lines[others[0]].size}
            queries = [*self.together(first, _FRESH), *({place: None} for place in again)]
            return queries or [{place: None} for place in self.deferred]
        # An attribute that has less to do than another need not be ahead of it.
        work = {column: lines[column].work(self.blank(column)) for column in carriers}
        most = len(carriers[max(carriers, key=lambda column: (work[column], -column))])
        for column, some in carriers.items():
            carriers[column] = sorted(some, key=lambda job: job.below - job.above)[:most]
        queries = self.together(carriers, 1.0)
        new = [*again, *((job.column, job.x) for column in others for job in jobs[column])]
        seen = {place for one in self.sums.open for place in one.places}
        carrying = ride(
            queries, dict.fromkeys(new, 1) | {place: 2 for place in self.deferred if place not in seen}, self.given
        )
        return [queries[n] for n in carrying] if new and carrying else queries

    def together(self, jobs: Mapping[int, Sequence[Job]], most: float) -> list[Together]:
        """Put jobs into queries."""
        fresh = {column: self.lines[column].fresh for column in jobs}
        return [dict.fromkeys((job.column, job.x) for job in query) for query in packed(jobs, fresh, most)]

    def total(self, queries: Sequence[Together]) -> Generator[Ask, Answers, None]:
        """Ask places together, and tell what can be told."""
        rows = [{column: x for place in query for column, x in self.given(*place).items()} for query in queries]
        added = yield from self.ask(rows, "edges")
        for query, found in zip(queries, added, strict=True):
            if found is not None:
                self.sums.open.append(Sum(list(query), *found))
                continue
            for place in query:
                self.refusals[place] = self.refusals.get(place, 0) + 1
                job = self.asked.get(place)
                if job is not None:
                    self.lines[job.column].refused(job)
                if self.refusals[place] >= TRIES:
                    self.deferred = [other for other in self.deferred if other != place]
                    self.sums.open = [one for one in self.sums.open if place not in one.places]
        self.sums.settle()

    # ── what is not told yet ────────────────────────────────────────────────────────────────────────────

    def chance(self, one: Sum, place: Place) -> float:
        """How likely a place of a sum that is not told adds something new."""
        shares = {other: self.lines[other[0]].fresh if other[0] in self.lines else 1.0 for other in one.places}
        none = float(np.prod([1.0 - share for share in shares.values()]))
        return min(1.0, shares[place] / max(1.0 - none, 1e-3))

    def suspect(self, one: Sum) -> Place:
        """The place of a sum that is likeliest to add something new."""
        return max(one.places, key=lambda place: self.chance(one, place))

    def blank(self, column: int) -> dict[float, bool]:
        """Places of a column that were asked and are not told, and whether they are likely to add something new."""
        found: dict[float, bool] = {}
        for one in self.sums.open:
            for place in one.places:
                if place[0] == column:
                    found[place[1]] = found.get(place[1], False) or self.chance(one, place) >= _LIKELY
        return found

    def again(self, jobs: Mapping[int, Sequence[Job]]) -> list[Place]:
        """Of sums that the last round did not tell, and the next one is not likely to, the places to ask once more."""
        near = {(column, x) for column, some in jobs.items() for job in some for x in (job.below, job.above)}
        found = [(one.age, self.suspect(one)) for one in self.sums.open]
        return list(dict.fromkeys(place for age, place in found if age >= (2 if place in near else 1)))

    def freshness(self, column: int) -> float:
        """The share of an attribute's places of the last round that add something new, or may."""
        line, asked = self.lines[column], sum(place[0] == column for place in self.asked)
        young = [(one, place) for one in self.sums.open if one.age == 0 for place in one.places if place in self.asked]
        may = {place: self.chance(one, place) for one, place in young if place[0] == column}
        # As if one place more had been asked, and been like those before.
        return min(1.0, (self.new[column] + sum(may.values()) + line.fresh) / (asked + 1)) if asked else line.fresh


def ride(
    queries: Sequence[Together], wanted: Mapping[Place, int], given: Callable[[int, float], Mapping[int, float]]
) -> list[int]:
    """Let places ride with queries, one in each, as many times as wanted or not at all; which queries carry one."""
    free = list(range(len(queries)))
    for place, times in wanted.items():
        columns = set(given(*place))
        fits = [n for n in free if not any(columns & set(given(*other)) for other in queries[n])][:times]
        if len(fits) == times:
            for n in fits:
                queries[n][place] = None
                free.remove(n)
    return [n for n in range(len(queries)) if n not in free]
