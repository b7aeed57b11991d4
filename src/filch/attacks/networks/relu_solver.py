"""How ReLU networks are extracted: the conversation of `filch.attacks.perceptron_relu`."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from filch.attacks.doubts import distances, doubt, resolution, unsteady
from filch.attacks.networks.relu_algebra import choose_cells, merged, oriented, polish, solve_normals
from filch.attacks.networks.relu_categories import Switches
from filch.attacks.networks.relu_line import Line, Scores, gradient, search_line
from filch.attacks.networks.relu_view import Heard, Units, View
from filch.core.answers import Answers
from filch.core.attack import MOST_BYTES, Ask, Finding, Outcome, Steps, lockstep
from filch.core.features import Rows
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.models.perceptron import PerceptronModel

Floats = npt.NDArray[np.float64]
_EXACT = 1e-8  # total variation, or part of the range of values, up to which the copy is no approximation
_NEARLY = 1e-5  # up to which it is the right network, with weights that are not all exact
_ROUGH = 1e-5  # of a score: a unit that is missing is further off than one that is nearly right
_STEP = 1e-5  # of a cell's width, to the rows that tell its gradient
_TRIES = 6  # starts of the first line
_ROUNDS = 40  # of random rows
_SCOUTS = 48  # rows in the first of them
_SPARE = 1.15  # equations for each weight
_POOL = 1_000  # random rows from which those are chosen that the model is held against
_IDLE = 2  # rounds that may find units without explaining more rows


@dataclass(eq=False)
class Solver:
    """The state of one attack.

    Parameters
    ----------
    spec : OracleSpec
    rng : Generator
    budget : int
    known : Answers
    check : int
        Rows that the fit is held against.
    """

    spec: OracleSpec
    rng: np.random.Generator
    budget: int
    known: Answers
    check: int = 8
    units: Units | None = None
    constant: bool = False
    """Whether the affine part is known to be but a constant."""
    complete: bool = False
    paid: int = 0
    lines: int = 0
    answers: list[Answers] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.view = View(self.spec)
        self.home = self.view.design.base
        if len(self.known):
            self.answers.append(self.known)
            self.heard.append(self.view.hear(self.known))

    def hear(self, ask: Ask, answers: Answers) -> None:
        """Note answers as they come."""
        self.paid += len(answers)
        if ask.account == "attack":
            self.answers.append(answers.given)
            self.heard.append(self.view.hear(answers))

    # ── the conversation ────────────────────────────────────────────────────────────────────────────────

    def steps(self) -> Steps:
        """Search, measure, complete, polish, check."""
        line = yield from self.first_line()
        if (finding := self.doubted()) is not None:
            return finding
        if line is None:
            reason = "no start was found from which answers are not saturated"
            return Finding(self.best(), Outcome.NO_CONVERGENCE, reason, self.evidence())
        if line.curved:
            return (yield from self.mismatch("answers along a line are not piecewise linear"))
        if not (yield from self.learn(line)):
            reason = "too many rows were refused to measure a gradient"
            return Finding(self.best(), Outcome.NO_CONVERGENCE, reason, self.evidence())
        if (wrong := (yield from self.complete_along_lines())) is not None:
            return (yield from self.mismatch(wrong))
        if self.view.jumping:
            assert self.units is not None
            switches = Switches(self.view, self.units, child(self.rng, "categories"))
            told = yield Ask(switches.rows(), "categories", snapshot=self.snapshot)
            self.units = switches.solve(self.view.hear(told))
            if (wrong := (yield from self.complete_over_categories())) is not None:
                return Finding(self.best(), Outcome.NO_CONVERGENCE, wrong, self.evidence())
        self.finish()
        return (yield from self.verdict())

    def first_line(self) -> Generator[Ask, Answers, Line | None]:
        """Search a line through the base row, or through another one if answers are saturated around it."""
        for number in range(_TRIES):
            rng = child(self.rng, "line", str(number))
            if number:
                self.home = self.slice(self.spec.space.sample(1, rng))[0]
            line = yield from self.search(self.home, self.direction(rng.normal(size=len(self.view.moving))))
            if line.curved or line.high > line.low:
                return line
        return None

    def direction(self, way: Floats) -> Floats:
        """A direction of the length in which lines are probed."""
        length = float(np.linalg.norm(way))
        return way / length * max(1.0, 0.3 * math.sqrt(len(way))) if length > 0 else way

    def search(self, start: Rows, way: Floats) -> Generator[Ask, Answers, Line]:
        """Search a line for the kinks of what the units found so far do not explain."""
        known, slop = self.units, 0.0
        if known is not None:
            slopes = np.abs(way @ known.inner[self.view.numeric])
            slop = 0.1 * _ROUGH * float((slopes[:, None] * np.abs(known.outer)).sum(axis=0).max(initial=0.0))

        scores = self.unexplained_by(known)
        left = max(200, self.budget - self.paid)
        name = f"line {self.lines}"
        found = yield from lockstep(
            {name: search_line(self.view, start, way, scores, left, slop)}, phase="lines", snapshot=self.snapshot
        )
        self.lines += 1
        return found[name]

    def unexplained_by(self, known: Units | None) -> Scores:
        """Scores less those of units that are known."""
        if known is None:
            return lambda heard: heard
        return lambda heard: Heard(heard.points, heard.scores - known.scores(heard.points), heard.noise)

    def learn(self, line: Line) -> Generator[Ask, Answers, bool]:
        """Measure gradients between the kinks of a line, and solve for its units; whether that was answered."""
        known, first = self.units, self.units is None
        cells = choose_cells(line, None if first else 0.0)
        places = np.append(cells.places, cells.home) if first else cells.places
        rooms = np.append(cells.rooms, cells.room) if first else cells.rooms
        starts = self.view.moved(line.start, places[:, None] * line.way)
        steps = _STEP * rooms * float(np.linalg.norm(line.way))
        scores = self.unexplained_by(known)
        searches = {
            f"cell {number}": gradient(self.view, start, step, scores)
            for number, (start, step) in enumerate(zip(starts, steps, strict=True))
        }
        found = yield from lockstep(searches, phase="gradients", snapshot=self.snapshot)
        told = list(found.values())
        affine = np.zeros((self.view.size + 1, self.view.outputs))
        if first:
            home = told.pop()
            if home is None:
                return False
            affine[self.view.numeric], affine[-1] = (
                home.slopes,
                home.score - home.point[self.view.numeric] @ home.slopes,
            )
            self.home = starts[-1]
        kept = np.array([number for number, one in enumerate(told) if one is not None], dtype=np.int64)
        inner = np.zeros((self.view.size + 1, len(line.kinks)))
        if len(kept):
            cells = cells.only(kept)
            changes = np.array([one.slopes for one in told if one is not None]) - affine[self.view.numeric]
            inner[self.view.numeric] = solve_normals(line, cells, changes, cells.rooms)
        at = self.view.points(self.view.moved(line.start, line.kinks[:, None] * line.way))
        inner[-1] = -(at * inner[:-1].T).sum(axis=1)
        units = Units(affine, inner, line.jumps)
        self.units = merged(units if known is None else known.joined(units))
        return True

    def complete_along_lines(self) -> Generator[Ask, Answers, str | None]:
        """Ask random rows until all are explained; a line to one that is not finds the units that are missing."""
        enough, asked, idle, before = False, 0, 0, math.inf
        scouts = list[Heard]()
        for number in range(_ROUNDS):
            assert self.units is not None
            wanted = _SPARE * self.unknowns() / self.view.outputs if not self.view.jumping else _SCOUTS
            rows = min(_SCOUTS if number < 2 else 4 * _SCOUTS, max(_SCOUTS // 2, math.ceil(wanted) - asked))
            enough = asked + rows >= wanted
            scouts.append((yield from self.ask(self.slice(self.scouts(rows, f"scouts {number}")), "random rows")))
            asked += rows
            joined = Heard.join(scouts)
            off = self.unexplained(joined)
            if not (off > 1.0).any():
                if enough:
                    return None
                continue
            idle, before = (idle + 1 if (off > 1.0).sum() >= before else 0), (off > 1.0).sum()
            if idle >= _IDLE:
                break
            far = joined.points[int(np.argmax(off))] - self.view.points(self.home[None])[0]
            line = yield from self.search(self.home, self.direction(far[self.view.numeric]))
            if line.curved or not len(line.kinks):
                return "answers along a line are not those of units that were found, or of others"
            yield from self.learn(line)
        return "random rows are not explained by units on lines: more than one hidden layer, or another activation"

    def complete_over_categories(self) -> Generator[Ask, Answers, str | None]:
        """Ask random rows of all categories; if some are not explained, say so."""
        assert self.units is not None
        rows = math.ceil(_SPARE * self.unknowns() / self.view.outputs)
        told = yield from self.ask(self.scouts(rows, "all"), "random rows")
        wrong = self.unexplained(told) > 1.0
        if not wrong.any():
            return None
        return (
            f"{int(wrong.sum())} of {len(wrong)} random rows are not explained: units turn on or off between "
            "categories in ways that lines of numbers do not show"
        )

    def unknowns(self) -> int:
        """The number of weights, if the affine part is but a constant."""
        assert self.units is not None
        return self.units.count * (self.view.size + self.view.outputs) + self.view.outputs

    def slice(self, rows: Rows) -> Rows:
        """The same rows with the first category of each column."""
        return np.where(self.spec.space.categorical, self.view.design.base, rows)

    def scouts(self, n: int, name: str) -> Rows:
        """Random rows: uniform ones, corners of which some have few high values, and rows beyond the range."""
        rng, space = child(self.rng, name), self.spec.space
        rows, moving = space.sample(n, rng), self.view.moving
        shape = (n, len(moving))
        corner = np.where(rng.random(shape) < rng.random((n, 1)) ** 2, space.high[moving], space.low[moving])
        beyond = self.view.design.view.centre[moving] + 2 * self.view.design.view.scale[moving] * rng.normal(size=shape)
        kind = rng.permutation(n)[:, None] % 3
        rows[:, moving] = np.where(kind == 0, rows[:, moving], np.where(kind == 1, corner, beyond))
        return rows

    def ask(self, rows: Rows, phase: str) -> Generator[Ask, Answers, Heard]:
        """Ask rows in blocks of bounded size."""
        block = max(1, MOST_BYTES // rows[:1].nbytes)
        parts = []
        for start in range(0, len(rows), block):
            answers = yield Ask(rows[start : start + block], phase, snapshot=self.snapshot)
            parts.append(self.view.hear(answers))
        return Heard.join(parts)

    # ── the model ───────────────────────────────────────────────────────────────────────────────────────

    def unexplained(self, heard: Heard) -> Floats:
        """How far scores are off the units', where 1 is more than units can be that are nearly right; (n,)."""
        assert self.units is not None
        off = np.abs(heard.scores - self.units.scores(heard.points)).max(axis=1)
        allowed = _ROUGH * (1.0 + np.abs(heard.scores).max(axis=1)) + 8 * heard.noise
        return np.where(heard.usable, off / allowed, 0.0)

    def finish(self) -> None:
        """Turn units so that nothing is affine if that can be, and fit all answers that they nearly explain."""
        assert self.units is not None
        self.units, self.constant = oriented(self.units)
        heard = Heard.join(self.heard)
        explained = heard.usable & (self.unexplained(heard) <= 1.0)
        self.units = polish(self.units, heard[explained], bent=self.constant)
        self.complete = True

    def snapshot(self) -> PerceptronModel | None:
        """The model of the units found so far."""
        return self.view.model(self.units) if self.units is not None else None

    def best(self) -> PerceptronModel | None:
        """The model of the units; before there are any, an affine map fitted to the answers."""
        if self.units is None:
            heard = Heard.join(self.heard) if self.heard else None
            if heard is None or not heard.usable.any():
                return None
            heard = heard[heard.usable]
            matrix = np.column_stack([heard.points, np.ones(len(heard.points))])
            affine: Floats = np.asarray(np.linalg.lstsq(matrix, heard.scores, rcond=None)[0])
            self.units = Units(affine, np.zeros((len(affine), 0)), np.zeros((0, self.view.outputs)))
        return self.view.model(self.units)

    # ── how far to trust it ─────────────────────────────────────────────────────────────────────────────

    def doubted(self) -> Finding | None:
        """What speaks against the answers themselves."""
        answers = Answers.concat([*self.answers, Answers.none(len(self.spec.space))])
        if not len(answers):
            return Finding(None, Outcome.NO_CONVERGENCE, "every row was refused", self.evidence())
        if (why := doubt(answers, self.spec)) is not None:
            return Finding(self.best(), Outcome.CLASS_MISMATCH, f"{why}: the target gives none", self.evidence())
        if resolution(answers, self.spec) > 1e-12 or self.view.single:
            digits = "carry the digits of float32 only" if self.view.single else "are rounded"
            reason = f'answers {digits}, which hides the slopes that it measures; try "perceptron-sgd"'
            return Finding(self.best(), Outcome.NO_CONVERGENCE, reason, self.evidence())
        return None

    def mismatch(self, reason: str) -> Steps:
        """End with the closest model, and the reason: noise, or a target of another class."""
        answers = Answers.concat([*self.answers, Answers.none(len(self.spec.space))])
        if (why := (yield from unsteady(answers))) is not None:
            return Finding(self.best(), Outcome.NO_CONVERGENCE, f"{why}; the model fits noise", self.evidence())
        return Finding(self.best(), Outcome.CLASS_MISMATCH, reason, self.evidence())

    def evidence(self) -> dict[str, object]:
        """Numbers behind the outcome."""
        found = self.units
        return {
            "hidden": 0 if found is None else found.count,
            "affine part": found is not None and not self.constant,
            "lines": self.lines,
        }

    def telling(self, n: int, rng: np.random.Generator) -> Rows:
        """Rows to hold the model against: uniform ones, and as many from which it gives the least certain answers."""
        rows = self.spec.space.sample(n, child(rng, "uniform"))
        model = self.best()
        if self.spec.classes is None or model is None:
            return rows
        others = self.scouts(_POOL, "check")
        certain = model.predict_proba(others).max(axis=1)
        return np.concatenate([rows[: n - n // 2], others[np.argsort(certain, kind="stable")[: n // 2]]])

    def verdict(self) -> Steps:
        """Hold the model against further rows."""
        model = self.best()
        assert model is not None
        held = Answers.none(len(self.spec.space))
        if self.check:
            rows = self.telling(self.check, child(self.rng, "check"))
            held = (yield Ask(rows, "check", "selection", self.snapshot)).given
        evidence = self.evidence()
        if not len(held):
            reason = "the fit was not held against further rows"
            return Finding(model, Outcome.UNVERIFIED, reason, evidence)
        if self.spec.classes is None:
            assert held.value is not None
            off = float(np.abs(model.predict(held.rows) - held.value).max() / max(1e-300, np.ptp(held.value)))
        else:
            off = float(distances(model, held).max())
        evidence["residual"] = off
        checked = f"{len(held)} further rows differ by at most {off:.1e}"
        if off <= _EXACT:
            reason = f"{checked}: a network of {evidence['hidden']} ReLU units"
            return Finding(model, Outcome.VERIFIED, reason, evidence)
        if off <= _NEARLY:
            reason = f"{checked}: a network of {evidence['hidden']} ReLU units, but not to the last digits"
            return Finding(model, Outcome.NO_CONVERGENCE, reason, evidence)
        return Finding(model, Outcome.CLASS_MISMATCH, f"{checked}: no ReLU network with one hidden layer", evidence)
