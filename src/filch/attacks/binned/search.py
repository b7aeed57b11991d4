"""The search for an additive model's functions: attributes alone, then edges of all attributes side by side."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filch.attacks.binned.decode import packed, ridden, rider, suspects, told
from filch.attacks.binned.learn import EXACT, Learner, Told
from filch.attacks.binned.lines import Job, Point
from filch.attacks.doubts import doubt, resolution
from filch.core.answers import Answers
from filch.core.attack import Ask
from filch.core.features import Rows
from filch.core.seeds import child

Floats = npt.NDArray[np.float64]
_AGAIN = 3  # times that a refused row is asked
_SHALLOW = 0.7  # of the deepest attribute's halvings: attributes with fewer wait
_ROUNDS = 200  # of halving: more than any range of float64 takes
_ENDLESS = 40  # places of an attribute that all add something else: no steps, but a curve or a line


@dataclass(eq=False)
class Search(Learner):
    """The search; its parameters are those of `Learner`."""

    def start(self) -> Generator[Ask, Answers, str | None]:
        """Ask the base row and each attribute alone; why answers are none of an additive model, or None."""
        for _ in range(_AGAIN):
            answers = yield Ask(self.view.base[None], "base", snapshot=self.snapshot)
            if self.view.centre(answers):
                break
        else:
            return "the base row is refused, or its answer is 0 or 1"
        self.heard.append(answers)
        yield from self.singles()
        everything = Answers.concat(self.heard).given
        if (why := doubt(everything, self.spec)) is not None:
            return f"{why}: no additive model"
        self.view.coarse = resolution(everything, self.spec)
        self.alone |= self.view.coarse > EXACT
        if self.alone:
            self.relearn(everything)
        if not (yield from self.additive()):
            return "attributes do not add together what each adds alone: no additive model"
        if not (yield from self.all_linear()):
            yield from self.shapes()
        return None

    def edges(self) -> Generator[Ask, Answers, None]:
        """Find all edges of all attributes, side by side."""
        for _ in range(_ROUNDS):
            if not (yield from self.round()):
                break

    def additive(self) -> Generator[Ask, Answers, bool]:
        """Whether what two or three attributes add is the sum; if not, whether each class may be told from the rest."""
        known: list[tuple[float, int, float, Point]] = []
        for line in self.lines.values():
            known += [(float(np.abs(p.value).max()), line.column, x, p) for x, p in line.points.items()]
        for column, codes in self.categories.items():
            known += [(float(np.abs(p.value).max()), column, float(x), p) for x, p in codes.items()]
        best: dict[int, tuple[float, Point]] = {}
        for _, column, x, point in sorted(known, key=lambda item: -item[0]):
            best.setdefault(column, (x, point))
        chosen = list(best.items())[:3]
        if len(chosen) < 2:
            return True
        (found,) = yield from self.ask([{c: x for c, (x, _) in chosen}], "additive", "selection")
        if found is None:
            return True
        error = found[1] + sum(point.error for _, (_, point) in chosen)
        if np.abs(found[0] - sum(point.value for _, (_, point) in chosen)).max() > max(10 * error, 1e-9):
            if self.spec.n_classes < 3 or not self.ovr:
                return False
            self.link, self.alone = "ovr", True
        return True

    def all_linear(self) -> Generator[Ask, Answers, bool]:
        """Whether all numeric attributes are lines through what is known; few rows for all of them."""
        anchor = 0.0 if self.spec.omission else None
        lines = [
            line for line in self.moving if line.order and line.high != (anchor if anchor is not None else line.low)
        ]
        if self.alone or not lines or len(lines) < len(self.moving):
            return False
        slopes, offsets = {}, {}
        for line in lines:
            start = line.low if anchor is None else anchor
            x = line.order[-1]
            slopes[line.column] = line.points[x].value / (x - start)
            offsets[line.column] = -slopes[line.column] * start
        rng = child(self.rng, "linear")
        todo = [[line.column for line in lines]]
        while todo:
            groups, todo = todo, []
            places = [
                {c: float(self.spec.space.snap(self._somewhere(c, rng))[c]) for c in columns} for columns in groups
            ]
            found = yield from self.ask(places, "linear?", "selection")
            for columns, given, answer in zip(groups, places, found, strict=True):
                if answer is not None and answer[1] < 1e-6:
                    wanted = sum(offsets[c] + slopes[c] * x for c, x in given.items())
                    error = 10 * answer[1] + sum(
                        10 * self.lines[c].points[self.lines[c].order[-1]].error for c in columns
                    )
                    if np.abs(answer[0] - wanted).max() > max(error, self.view.coarse * 10):
                        return False
                elif len(columns) == 1:
                    return False
                else:  # too far out to be told: fewer at a time
                    todo += [columns[: len(columns) // 2], columns[len(columns) // 2 :]]
        for line in lines:
            line.linear = offsets[line.column], slopes[line.column]
        return True

    def _somewhere(self, column: int, rng: np.random.Generator) -> Rows:
        line, row = self.lines[column], self.spec.space.low.copy()
        row[column] = line.low + rng.uniform(0.2, 0.6) * (line.high - line.low)
        return row

    def shapes(self) -> Generator[Ask, Answers, None]:
        """The lower end and a place within each numeric attribute, alone, to tell lines from steps."""
        wanted = [(line.column, line.low) for line in self.moving if line.low not in line.points]
        # Rounded answers do not tell a line from steps by three places.
        shares = (0.5,) if self.view.coarse <= EXACT else tuple(np.arange(1, 12) / 12)
        inner = [(line.column, line.place(share)) for line in self.moving for share in shares]
        wanted += [(column, x) for column, x in dict.fromkeys(inner) if x not in self.lines[column].points]
        yield from self.learn(wanted, "alone")
        if self.link != "ovr":
            for line in self.moving:
                line.straight()

    def round(self) -> Generator[Ask, Answers, bool]:
        """Ask one place in each interval that holds an edge; whether there were any."""
        for line in self.moving:
            if line.fresh == 1.0 and len(line.order) >= _ENDLESS and line.linear is None and not line.step:
                line.linear = np.zeros(self.k), np.zeros(self.k)  # told by a fit to all answers
        jobs = {line.column: line.jobs() for line in self.moving}
        jobs = {column: found for column, found in jobs.items() if found}
        fresh = {column: self.lines[column].fresh for column in jobs}
        later = self.later(jobs)
        first = {column: found for column, found in jobs.items() if column not in later}
        queries = [[job] for found in jobs.values() for job in found] if self.alone else packed(first, fresh)
        waiting = [*self.deferred, *((job.column, job.x) for column in later for job in jobs[column])]
        riders = ridden(queries, waiting, fresh)
        if not queries:
            yield from self.learn(waiting, "alone")
        self.deferred = [item for item in self.deferred if item not in riders.values()] if queries else []
        met = dict.fromkeys(jobs, 0)
        places = [{job.column: job.x for job in query} for query in queries]
        for place, item in riders.items():
            for given in places[place : place + 2]:
                given |= self.given(*item)
        added = yield from self.ask(places, "edges")
        added = yield from self.unload(queries, added, riders)
        todo = list(zip(queries, added, strict=True))
        while todo:
            halves = []
            for query, total in todo:
                if total is None:
                    for job in query:
                        self.lines[job.column].refused(job)
                    continue
                points = told(query, *total)
                if points is not None:
                    for job, point in zip(query, points, strict=True):
                        self.lines[job.column].learn(job.x, point)
                elif len(query) == 1:
                    self.lines[query[0].column].learn(query[0].x, Point(*total))
                    met[query[0].column] += 1
                else:
                    halves.append((query, total))
            parts = [suspects(query, fresh) for query, _ in halves]
            answers = yield from self.ask([{job.column: job.x for job in part} for part in parts], "edges")
            todo = []
            for (query, total), part, answer in zip(halves, parts, answers, strict=True):
                assert total is not None
                rest = None if answer is None else (total[0] - answer[0], total[1] + answer[1])
                todo += [(part, answer), ([job for job in query if job not in part], rest)]
        for column, found in jobs.items():
            if column in first:
                self.lines[column].fresh = met[column] / len(found)
        return bool(jobs) or bool(self.deferred)

    def later(self, jobs: Mapping[int, Sequence[Job]]) -> set[int]:
        """The attributes that can wait, having few halvings to go: most of their places ride with others' later."""
        deep = {column: self.lines[column].depth for column in jobs}
        most = max(deep.values(), default=0.0)
        return set() if self.alone else {c for c, depth in deep.items() if depth <= _SHALLOW * most}

    def unload(
        self, queries: Sequence[Sequence[Job]], added: list[Told], riders: Mapping[int, tuple[int, float]]
    ) -> Generator[Ask, Answers, list[Told]]:
        """Learn what rode with two queries each, and take it off their sums; where that fails, ask it alone."""
        added, failed = list(added), dict[int, tuple[int, float]]()
        for place, item in riders.items():
            one, two = added[place], added[place + 1]
            point = None if one is None or two is None else rider(queries[place], queries[place + 1], one, two)
            if point is None:
                failed[place] = item
                continue
            self.keep(item, point)
            added[place : place + 2] = [_less(one, point), _less(two, point)]
        alone = yield from self.ask([self.given(*item) for item in failed.values()], "alone")
        for (place, item), found in zip(failed.items(), alone, strict=True):
            point = None if found is None else Point(*found)
            if point is None:
                self.deferred += [item] if item[0] not in self.lines else []
            else:
                self.keep(item, point)
            added[place : place + 2] = [
                None if point is None else _less(total, point) for total in added[place : place + 2]
            ]
        return added


def _less(total: Told, point: Point) -> Told:
    return None if total is None else (total[0] - point.value, total[1] + point.error)
