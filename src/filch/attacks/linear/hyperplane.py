"""The conversation of `lowd_meek` over linear targets: a point of the boundary, then each weight by a line search."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from filch.attacks.linear.jumps import Jump, independent, jumps_from, solve
from filch.attacks.search import Bracket, narrow
from filch.core.answers import Answers
from filch.core.attack import Ask, Search, lockstep
from filch.core.encoding import OneHot
from filch.core.features import Rows
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.models.logistic import LogisticModel

Floats = npt.NDArray[np.float64]
_FIRST = 16  # rows of the first look for both classes; each further look asks twice as many
_MOST_LOOK = 4_096
_AGAIN = 0.75  # of a look's rows that take the categories and steps of a row seen, once both classes are
_BESIDE = 0.01  # how far beside the boundary the fit is checked, as a share of the segment
_ROUNDS = 3  # of jumps: those that the numbers cannot make up for are tried again with what was learned
_ELSEWHERE, _TRIED = 3, 16  # rounds of a search in other combinations, and so many of them for each jump that is open
_BEYOND = 1.25  # of the bound is what is taken for a weight of which only a bound is known


@dataclass(eq=False)
class Hyperplane:
    """What is known of the boundary so far: the score is 0 at a point and 1 at the base segment's row of class 1."""

    spec: OracleSpec
    seen: dict[bytes, dict[int, Rows]] = field(default_factory=dict)
    """A row of each class, for each combination of categories and steps."""
    looked: int = 0
    base: Bracket | None = None
    """Holds the boundary point, between rows of both classes that differ in continuous columns only."""
    weights: dict[int, tuple[float, Bracket]] = field(default_factory=dict)
    """Of each continuous column: the step, and the bracket from there to the other class's row."""
    jumps: dict[Jump, float] = field(default_factory=dict)
    """What each jump adds to the score."""
    elsewhere: list[tuple[Floats, Bracket]] = field(default_factory=list)
    """Points of the boundary in other combinations: the share of each jump, and a bracket."""
    bounds: dict[Jump, float] = field(default_factory=dict)
    """What a jump adds at least, where no row tells how much."""

    def __post_init__(self) -> None:
        space = self.spec.space
        self.view = OneHot(space)
        varies = space.high > space.low
        self.moves = varies & (space.grid == 0)
        self.fixed = varies & (space.grid > 0)

    # ── the conversation ────────────────────────────────────────────────────────────────────────────────

    def look(self, known: Answers, rng: np.random.Generator) -> Generator[Ask, Answers, None]:
        """Ask uniform rows and corners, in turn, until a line between both classes is seen or the budget is spent."""
        self.see(known)
        self.looked, space = 0, self.spec.space
        while self.base is None:
            own = child(rng, f"look {self.looked}")
            rows = space.sample(min(max(_FIRST, self.looked), _MOST_LOOK), own)
            corners = np.where(own.random(rows.shape) < 0.5, space.low, space.high)
            corners = np.where(self.moves, corners, rows)
            rows[1::2] = corners[1::2]  # where scores are largest
            if self.fixed.any() and len(self.classes) == 2:
                kept = [row for found in self.seen.values() for row in found.values()]
                again = np.array(kept)[own.integers(len(kept), size=len(rows))]
                rows = np.where(self.fixed & (own.random((len(rows), 1)) < _AGAIN), again, rows)
            self.see((yield Ask(rows, "both classes", snapshot=self.model)))

    def find(self, precision: float, rng: np.random.Generator) -> Generator[Ask, Answers, None]:
        """Search for a point of the boundary, then for the weights of continuous columns, then for all others."""
        assert self.base is not None
        # Twice as many digits: its error adds to every weight.
        yield from lockstep(
            {"base": narrow(self.base, precision**2, self._inside)}, phase="boundary", snapshot=self.model
        )
        point = self.base.row
        searches = {f"feature {j}": self._weigh(int(j), point, precision) for j in np.flatnonzero(self.moves)}
        yield from lockstep(searches, phase="weights", snapshot=self.model)
        phase = "categories and steps"
        for number in range(_ROUNDS):
            wanted = [jump for jump in jumps_from(point, self.spec.space) if jump not in self.jumps]
            helped = len(self.jumps)
            leaps = {jump.name: self._leap(jump, point, precision) for jump in wanted}
            yield from lockstep(leaps, phase=phase, snapshot=self.model)
            if number and len(self.jumps) == helped:
                break
        for number in range(_ELSEWHERE):
            if not any(jump not in self.jumps for jump in jumps_from(point, self.spec.space)):
                break
            yield from self._elsewhere(phase, point, precision, child(rng, "elsewhere", str(number)))

    def _weigh(self, feature: int, point: Rows, precision: float) -> Search[None]:
        """Measure one weight: step along its feature, then search towards the row of the other class."""
        assert self.base is not None
        step = 1.0 if point[feature] <= self.view.centre[feature] else -1.0  # there is room for it
        there = point.copy()
        there[feature] += step * self.view.scale[feature]
        there = self._inside(there)
        answers = yield there
        assert answers is not None and answers.labels is not None
        if answers.refused[0]:
            return
        label = int(answers.labels[0])
        bracket = Bracket(there, self.base.end if label == 0 else self.base.start, label)
        self.weights[feature] = step, bracket
        yield from narrow(bracket, precision, self._inside)

    def _leap(self, jump: Jump, point: Rows, precision: float) -> Search[None]:
        """Measure one jump: search along the numbers for where they make up for it.

        Where they cannot, jumps that are known already help, the largest first.
        """
        there = point.copy()
        there[jump.column] = jump.value
        label = yield from self._label(there)
        if label is None:
            return
        sign, offset = (1 if label else -1), 0.0
        for column, value, score in [(-1, 0.0, 0.0), *self._against(sign, jump.column)]:
            if column >= 0:
                there[column] = value
                offset += score
            opposite = self._extreme(there, -sign)
            beyond = yield from self._label(opposite)
            if beyond is None:
                return
            if beyond != label:
                same = self._extreme(there, sign) if column >= 0 else there
                if column >= 0 and (yield from self._label(same)) != label:
                    break  # the help was too large a step
                bracket = Bracket(same, opposite, label)
                yield from narrow(bracket, precision, self._inside)
                self.jumps[jump] = -offset - self._numbers(bracket.row)
                self.bounds.pop(jump, None)
                return
            self.bounds[jump] = -offset - self._numbers(opposite)

    def _elsewhere(
        self, phase: str, point: Rows, precision: float, rng: np.random.Generator
    ) -> Generator[Ask, Answers, None]:
        """Search where the boundary passes through other combinations: each point is an equation in the jumps."""
        space = self.spec.space
        jumps = jumps_from(point, space)
        rows = np.where(self.fixed, space.sample(_TRIED * sum(jump not in self.jumps for jump in jumps), rng), point)
        ends = np.concatenate([[self._extreme(row, sign) for row in rows] for sign in (1, -1)])
        answers = yield Ask(ends, phase, snapshot=self.model)
        assert answers.labels is not None
        shares = np.column_stack([jump.share(ends, point) for jump in jumps])
        given, labels = ~answers.refused, answers.labels == 1
        (above, below), (yes, too) = labels.reshape(2, -1), given.reshape(2, -1)
        crossed = np.flatnonzero(above & ~below & yes & too)
        known = np.array([jump in self.jumps for jump in jumps])
        system = np.vstack([np.eye(len(jumps))[known], *(share[None] for share, _ in self.elsewhere)])
        chosen = crossed[independent(system, shares[crossed])]
        found = [(shares[n], Bracket(ends[n], ends[n + len(rows)], 1)) for n in chosen]
        new = {f"elsewhere {n}": narrow(b, precision, self._inside) for n, (_, b) in enumerate(found)}
        yield from lockstep(new, phase=phase, snapshot=self.model)
        self.elsewhere += found
        system = np.vstack([system, *(share[None] for share, _ in found)])
        scores = [self.jumps[jump] for jump in jumps if jump in self.jumps]
        targets = np.array([*scores, *(-self._numbers(bracket.row) for _, bracket in self.elsewhere)])
        guess = np.array([self.jumps.get(jump, _BEYOND * self.bounds.get(jump, 0.0)) for jump in jumps])
        numbers = np.array([self._numbers(row) for row in ends])
        solved, told = solve(system, targets, guess, shares[given], numbers[given], labels[given])
        for jump, score, sure in zip(jumps, solved.tolist(), told, strict=True):
            if sure:
                self.jumps[jump] = score
                self.bounds.pop(jump, None)
            else:
                self.bounds[jump] = score / _BEYOND

    def _label(self, row: Rows) -> Search[int | None]:
        """The label of one row; None if it is refused."""
        answers = yield row
        assert answers is not None and answers.labels is not None
        return None if answers.refused[0] else int(answers.labels[0])

    def _against(self, sign: int, leave: int) -> list[tuple[int, float, float]]:
        """Column, value and score of the jumps that count most against a sign, one a column, the largest first."""
        best: dict[int, tuple[int, float, float]] = {}
        for jump, score in self.jumps.items():
            if jump.column != leave and sign * score < sign * best.get(jump.column, (0, 0.0, 0.0))[2]:
                best[jump.column] = jump.column, jump.value, score
        return sorted(best.values(), key=lambda found: sign * found[2])

    def check(self, count: int, precision: float, rng: np.random.Generator) -> Generator[Ask, Answers, tuple[int, int]]:
        """Ask rows close beside the fitted boundary, far from where it was found; how many agree, of how many."""
        own = child(rng, "check")
        model = self.model()
        assert model is not None and self.base is not None
        rows = self.spec.space.sample(count, own)
        scores = np.atleast_1d(model.decision_function(rows))
        for number, (row, score) in enumerate(zip(rows, scores, strict=True)):
            end = self._extreme(row, -1 if score > 0 else 1)
            crossing = score / (score - float(model.decision_function(end[None])[0]) or 1.0)
            if 0.0 < crossing < 1.0:
                beside = crossing + max(_BESIDE, 20 * precision) * (1 if number % 2 else -1)
                rows[number] = self._inside(row + np.clip(beside, 0.0, 1.0) * (end - row))
        wanted = (model.decision_function(rows) > 0).astype(np.int64)
        answers = yield Ask(rows, "check", "selection", self.model)
        given = ~answers.refused
        assert answers.labels is not None
        return int((answers.labels == wanted)[given].sum()), int(given.sum())

    # ── the fit ─────────────────────────────────────────────────────────────────────────────────────────

    def model(self) -> LogisticModel | None:
        """The best hyperplane so far; a constant while one class only is seen."""
        if not self.seen:
            return None
        coef, bias = np.zeros(self.view.width), 1.0 if 1 in self.classes else -1.0
        if len(self.classes) == 2 and self.base is None:
            return self._between()
        if self.base is not None:
            point, starts = self.base.row, self.view.starts
            coef[starts[self.moves]] = self._slopes()[self.moves]
            for jump, score in {**{j: _BEYOND * b for j, b in self.bounds.items()}, **self.jumps}.items():
                if self.spec.space.categorical[jump.column]:
                    coef[starts[jump.column] + int(jump.value)] = score
                else:
                    change = jump.value - point[jump.column]
                    coef[starts[jump.column]] = score / change * self.view.scale[jump.column]
            bias = -float(self.view.encode(point[None])[0] @ coef)
        return LogisticModel(self.spec.space, self.spec.classes or (), coef[None], np.array([bias])).canonical()

    def _between(self) -> LogisticModel:
        """Halfway between two rows of both classes."""
        rows = [next(found[label] for found in self.seen.values() if label in found) for label in (0, 1)]
        ends = self.view.encode(np.array(rows))
        coef = ends[1] - ends[0]
        bias = -float(coef @ ends.mean(axis=0))
        return LogisticModel(self.spec.space, self.spec.classes or (), coef[None], np.array([bias])).canonical()

    def _slopes(self) -> Floats:
        """What each continuous column adds to the score over half its range, of shape (d,)."""
        assert self.base is not None
        if not self.weights:  # towards the row of the other class, as good a guess as any
            return np.where(self.moves, (self.base.end - self.base.start) / self.view.scale, 0.0)
        # Scores are linear along the base segment and 0 at the point: s₀/s₁ = −t/(1 − t).
        ends = {1: 1.0, 0: -self.base.middle / (1.0 - self.base.middle)}
        slopes = np.zeros(len(self.spec.space))
        for feature, (step, bracket) in self.weights.items():
            # (1 − λ) w_j step + λ s = 0, with s the score of the other class's row.
            share = bracket.middle
            slopes[feature] = -share / (1.0 - share) * ends[1 - bracket.label] / step
        return slopes

    def _numbers(self, row: Rows) -> float:
        """The score that a row's continuous columns add to that of the boundary point."""
        assert self.base is not None
        moved = np.where(self.moves, (row - self.base.row) / self.view.scale, 0.0)
        return float(moved @ self._slopes())

    def _extreme(self, row: Rows, sign: int) -> Rows:
        """A row with its continuous columns where the score is largest (sign 1) or smallest (−1)."""
        slopes = sign * self._slopes()
        far = np.where(slopes > 0, self.spec.space.high, self.spec.space.low)
        return np.asarray(np.where(self.moves & (slopes != 0), far, row))

    def evidence(self) -> dict[str, object]:
        """Numbers behind the outcome."""
        space = self.spec.space
        widths = [bracket.high - bracket.low for _, bracket in self.weights.values()]
        small = [space.names[j] for j, (_, b) in sorted(self.weights.items()) if b.low == 0.0]
        facts: dict[str, object] = {
            "weights searched": len(self.weights),
            "of": int(self.moves.sum()),
            "widest bracket": max(widths, default=None),
            "digits of the boundary point": None if self.base is None else _digits(self.base),
            "weights below the precision": small,
        }
        if self.fixed.any():
            facts["categories and steps searched"] = len(self.jumps)
            facts["of these only bounds"] = [jump.text(space) for jump in self.bounds]
        return facts

    # ── rows ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def classes(self) -> set[int]:
        """The classes that were seen."""
        return {label for found in self.seen.values() for label in found}

    def see(self, answers: Answers) -> None:
        """Keep a row of each class, if there is one; two of the same categories and steps span the base segment."""
        self.looked += len(answers)
        given = answers.given
        if given.labels is None:
            return
        space = self.spec.space
        inside = ((given.rows >= space.low) & (given.rows <= space.high)).all(axis=1)
        for row, label in zip(given.rows[inside], given.labels[inside].tolist(), strict=True):
            found = self.seen.setdefault(row[self.fixed].tobytes(), {})
            found.setdefault(label, row)
            if self.base is None and len(found) == 2:
                self.base = Bracket(found[0], found[1], 0)

    def _inside(self, row: Rows) -> Rows:
        return np.asarray(np.clip(row, self.spec.space.low, self.spec.space.high))


def _digits(bracket: Bracket) -> float:
    return round(-math.log10(max(bracket.high - bracket.low, 1e-300)), 1)
