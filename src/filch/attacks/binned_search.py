"""The search for an additive model's functions: attributes alone, then edges of all attributes side by side."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from filch.attacks.binned_decode import packed, suspects, told
from filch.attacks.binned_lines import Line, Point
from filch.attacks.binned_view import View
from filch.attacks.doubts import doubt, resolution
from filch.core.answers import Answers
from filch.core.attack import Account, Ask
from filch.core.features import Categorical, Rows
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.models.additive import AdditiveLink, AdditiveModel, Part

Floats = npt.NDArray[np.float64]
Told = tuple[Floats, float] | None
"""What a row adds, (k,), and its error; None if that was refused or tells nothing."""
EXACT = 1e-12
"""Answers rounded more coarsely than this are asked one attribute at a time."""
_AGAIN = 3  # times that a refused row is asked
_ROUNDS = 200  # of halving: more than any range of float64 takes
_ENDLESS = 40  # places of an attribute that all add something else: no steps, but a curve or a line


@dataclass(eq=False)
class Search:
    """The state of one search.

    Parameters
    ----------
    spec : OracleSpec
    rng : Generator
    epsilon : float
        How far an edge may be off, in shares of its attribute's range.
    paper : bool
        Whether to ask one attribute at a time, down to intervals of ε.
    """

    spec: OracleSpec
    rng: np.random.Generator
    epsilon: float
    paper: bool
    heard: list[Answers] = field(default_factory=list)
    categories: dict[int, dict[int, Point]] = field(default_factory=dict)
    link: Literal["identity", "softmax", "ovr"] = "softmax"
    fitted: AdditiveModel | None = None
    threshold: float = 0.5

    def __post_init__(self) -> None:
        space = self.spec.space
        self.view = View(self.spec)
        self.link = "identity" if self.spec.classes is None else "softmax"
        self.k = max(1, self.spec.n_classes - 1)
        self.lines = {}
        for column in np.flatnonzero(~space.categorical).tolist():
            low, high = float(space.low[column]), float(space.high[column])
            width = self.epsilon * (high - low) * (1.0 if self.paper else 2.0)
            self.lines[column] = Line(column, low, high, float(space.grid[column]), width)
        self.moving = [line for line in self.lines.values() if line.high > line.low]
        self.alone = self.paper

    # ── the conversation ────────────────────────────────────────────────────────────────────────────────

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
        yield from self.additive()
        if not (yield from self.all_linear()):
            yield from self.shapes()
        return None

    def edges(self) -> Generator[Ask, Answers, None]:
        """Find all edges of all attributes, side by side."""
        for _ in range(_ROUNDS):
            if not (yield from self.round()):
                break

    def ask(
        self, places: list[dict[int, float]], phase: str, account: Account = "attack"
    ) -> Generator[Ask, Answers, list[Told]]:
        """Ask rows that give a few attributes each; what each adds to the base row."""
        if not places:
            return []
        rows = np.array([self.view.row(given) for given in places])
        answers = yield Ask(rows, phase, account, self.snapshot)
        self.heard.append(answers)
        added, errors = self.view.added(answers)
        return [(v, float(e)) if np.isfinite(e) else None for v, e in zip(added, errors, strict=True)]

    def singles(self) -> Generator[Ask, Answers, None]:
        """The upper end of each numeric attribute, and each category, alone."""
        space, open_ = self.spec.space, self.spec.omission
        wanted = [(line.column, line.high) for line in self.lines.values() if open_ or line.high > line.low]
        for column in np.flatnonzero(space.categorical).tolist():
            self.categories[column] = {} if open_ else {0: Point(np.zeros(self.k), 0.0)}
            wanted += [(column, float(code)) for code in range(0 if open_ else 1, int(space.sizes[column]))]
        if open_ and self.categories:
            wanted.append((-1, -1.0))  # unknown values of all columns at once
        if not open_:
            for line in self.moving:
                line.learn(line.low, Point(np.zeros(self.k), 0.0))
        yield from self.learn(wanted, "alone")

    def learn(self, wanted: list[tuple[int, float]], phase: str) -> Generator[Ask, Answers, None]:
        """Ask attributes alone, and remember what they add; what is refused, again or nearby."""
        for turn in range(_AGAIN):
            places = [{c: -1.0 for c in self.categories} if column < 0 else {column: x} for column, x in wanted]
            found = yield from self.ask(places, phase)
            rest = []
            for (column, x), told_ in zip(wanted, found, strict=True):
                if told_ is None:
                    rest.append((column, self.near(column, x, turn + 1)))
                elif column in self.lines:
                    self.lines[column].learn(x, Point(*told_))
                elif column >= 0:
                    self.categories[column][int(x)] = Point(*told_)
                elif np.abs(told_[0]).max() > told_[1]:  # unknown values count, so each column's is asked
                    rest += [(c, -1.0) for c in self.categories] if len(self.categories) > 1 else []
                    if len(self.categories) == 1:
                        self.categories[next(iter(self.categories))][-1] = Point(*told_)
            wanted = rest

    def near(self, column: int, x: float, turn: int) -> float:
        """Another place for one that was refused: an attribute's ends move inwards."""
        line = self.lines.get(column)
        if line is None or line.step:
            return x
        inward = -1.0 if x > line.place(0.5) else 1.0
        return x + inward * turn * self.epsilon * (line.high - line.low)

    def relearn(self, answers: Answers) -> None:
        """Widen the errors of what was learned before rounding was noticed."""
        self.view.centre(self.heard[0])
        for row, value, error in zip(answers.rows, *self.view.added(answers), strict=True):
            given = np.flatnonzero(~((row == self.view.base) | (np.isnan(row) & np.isnan(self.view.base))))
            if len(given) == 1 and np.isfinite(error):
                column, point = int(given[0]), Point(value, float(error))
                if column in self.lines:
                    self.lines[column].learn(float(row[column]), point)
                else:
                    self.categories[column][int(row[column])] = point

    def additive(self) -> Generator[Ask, Answers, None]:
        """Whether what two or three attributes add is the sum; else the classes are told from the rest one by one."""
        if self.spec.n_classes < 3:
            return
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
            return
        (found,) = yield from self.ask([{c: x for c, (x, _) in chosen}], "additive", "selection")
        if found is None:
            return
        error = found[1] + sum(point.error for _, (_, point) in chosen)
        if np.abs(found[0] - sum(point.value for _, (_, point) in chosen)).max() > max(10 * error, 1e-9):
            self.link, self.alone = "ovr", True

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

    # ── edges ───────────────────────────────────────────────────────────────────────────────────────────

    def round(self) -> Generator[Ask, Answers, bool]:
        """Ask one place in each interval that holds an edge; whether there were any."""
        for line in self.moving:
            if line.fresh == 1.0 and len(line.order) >= _ENDLESS and line.linear is None and not line.step:
                line.linear = np.zeros(self.k), np.zeros(self.k)  # told by a fit to all answers
        jobs = {line.column: line.jobs() for line in self.moving}
        jobs = {column: found for column, found in jobs.items() if found}
        fresh = {column: self.lines[column].fresh for column in jobs}
        queries = [[job] for found in jobs.values() for job in found] if self.alone else packed(jobs, fresh)
        met = dict.fromkeys(jobs, 0)
        added = yield from self.ask([{job.column: job.x for job in query} for query in queries], "edges")
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
            self.lines[column].fresh = met[column] / len(found)
        return bool(jobs)

    # ── what is known ───────────────────────────────────────────────────────────────────────────────────

    def parts(self) -> tuple[Part, ...]:
        """The attributes' functions so far, with k scores (of a softmax, those of all classes but the first)."""
        found = []
        for column, size in enumerate(self.spec.space.sizes.tolist()):
            if not size:
                found.append(self.lines[column].part(self.k))
                continue
            values = np.zeros((size + 1, self.k))
            for code, point in self.categories.get(column, {}).items():
                values[code] = point.value
            found.append(Part(np.empty(0), values))
        return tuple(found)

    def snapshot(self) -> AdditiveModel | None:
        """The best model so far."""
        if self.view.origin is None:
            return None
        if self.fitted is not None:
            return self.fitted
        parts, origin = self.parts(), self.view.origin
        # In terms of all parts, the base row's own values are part of what it adds.
        if self.link != "identity":
            parts = tuple(_widened(part) for part in parts)
            origin = np.concatenate([[0.0], origin])
        link: AdditiveLink = "identity" if self.link == "identity" else "softmax"
        return AdditiveModel(self.spec.space, self.spec.classes, origin, parts, link, self.threshold)

    def evidence(self) -> dict[str, object]:
        """What was found, by number."""
        space = self.spec.space
        idle = dict[str, list[str]]()
        for column, codes in self.categories.items():
            feature = space.features[column]
            assert isinstance(feature, Categorical)
            none = [c for c, point in codes.items() if c >= 0 and np.abs(point.value).max() <= point.error]
            idle[feature.name] = [str(feature.categories[code]) for code in none]
        return {
            "link": self.link,
            "linear": [space.names[line.column] for line in self.moving if line.linear is not None],
            "edges": {space.names[c]: len(line.edges) for c, line in self.lines.items() if line.linear is None},
            "values without effect": {name: values for name, values in idle.items() if values and self.spec.omission},
            "rounded to": self.view.coarse,
        }


def _widened(part: Part) -> Part:
    """With the scores of the first class, 0, in front."""
    zero = np.zeros((len(part.values), 1))
    slope = None if part.slope is None else np.concatenate([[0.0], part.slope])
    return Part(part.edges, np.hstack([zero, part.values]), slope)
