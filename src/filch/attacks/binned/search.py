"""The search for an additive model's functions: attributes alone and together, then their edges."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filch.attacks.binned.halving import Halving
from filch.attacks.binned.learn import EXACT
from filch.attacks.binned.lines import Line, Point
from filch.attacks.doubts import distances, doubt, resolution
from filch.core.answers import Answers
from filch.core.attack import Ask
from filch.core.features import Rows
from filch.core.seeds import child

Floats = npt.NDArray[np.float64]
_SHARES = tuple((np.arange(1, 12) / 12).tolist())  # where lines are told from steps, if three places do not
_SAME = 1e-9  # how far answers may be from a model that makes them
_AGAIN = 6  # times that a refused row is asked


@dataclass(eq=False)
class Search(Halving):
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
                    if len(columns) == 1:
                        self.keep((columns[0], given[columns[0]]), Point(*answer))
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
        yield from self.lines_or_steps(self.moving, (0.5,) if self.view.coarse <= EXACT else _SHARES, wanted)

    def lines_or_steps(
        self, lines: list[Line], shares: tuple[float, ...], wanted: list[tuple[int, float]] | None = None
    ) -> Generator[Ask, Answers, None]:
        """Ask places at some shares of the way between the ends, and see which attributes are lines."""
        inner = [(line.column, line.place(share)) for line in lines for share in shares]
        more = [(column, x) for column, x in dict.fromkeys(inner) if x not in self.lines[column].points]
        yield from self.learn([*(wanted or []), *more], "alone")
        if self.link != "ovr":
            for line in lines:
                line.straight()

    def consistent(self) -> bool:
        """Whether the model makes all answers; if not, a sum was taken for another that is the same."""
        model, heard = self.snapshot(), Answers.concat(self.heard).given
        assert model is not None
        off = distances(model, heard) if heard.value is None else np.abs(model.predict(heard.rows) - heard.value)
        return bool(off.max() <= _SAME * (1.0 if heard.value is None else 1.0 + np.abs(heard.value).max()))

    def forget(self) -> Generator[Ask, Answers, None]:
        """Keep what was asked alone, and ask the rest so; see whether lines are lines."""
        self.alone, self.unknown = True, None
        self.sums.open.clear()
        lines = [line for line in self.moving if line.linear is not None]
        for line in self.moving:
            line.forget()
            if not self.spec.omission:
                line.learn(line.low, Point(np.zeros(self.k), 0.0))
        for column in self.categories:
            self.categories[column] = {} if self.spec.omission else {0: Point(np.zeros(self.k), 0.0)}
        self.relearn(Answers.concat(self.heard).given)
        for column, codes in self.categories.items():
            self.deferred += [(column, float(x)) for x in range(self.spec.space.sizes[column]) if x not in codes]
        if self.spec.omission and self.categories:
            self.deferred.append((-1, -1.0))
        yield from self.lines_or_steps(lines, _SHARES)
