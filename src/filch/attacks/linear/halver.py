"""The conversation of `halfspace`: ask where the label is most open, learn, hold the fit against further rows."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from filch.attacks.linear.asking import Asking, Boundary, View
from filch.attacks.linear.contradiction import separate
from filch.attacks.linear.halfspaces import LabelBelief
from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome, Steps
from filch.core.features import Rows
from filch.core.models import ExtractedModel
from filch.core.oracle import OracleSpec
from filch.core.seeds import child

Floats = npt.NDArray[np.float64]
_LOOK = 1_024, 32  # rows, and rows a parameter, in which both classes must be seen
_EARLY = 6  # rows a parameter after which the target is first held to be linear
_TURNS = 4  # a fit that further rows disagree with is mended at most so often, less one
_CLEAR = 6.0  # deviations from the boundary at which a label is certain
_SAMPLE = 2_048  # uniform rows that stand for the space
_FEW, _SETTLED = 4, 1e-6  # labels, and rad: all labels are weighed anew after so many, until the angle is so small
_UNSURE, _GUESS = 12, 0.2  # rows a parameter taken with this presumed share of flips, where it is to be estimated
_COUNTED = 64  # rows by which it is
_RECENT, _FEWEST = 24, 3  # labels, and of the rarer class, at which a belief under flips has gone astray
_HOPELESS = 0.25  # a share of contradictions from which no linear model is behind them
_CHANCE = 1e-3  # that a target with flipped labels is taken for one that is not linear
_THIN = 1e-4  # of a score's scale: labels of smaller scores prove nothing, for they may be rounding
_SHOWN = 1_000  # numbers of contradicting rows that the evidence shows


@dataclass(frozen=True)
class Goal:
    """How far to go: the parameters of `filch.attacks.halfspace.Halfspace`."""

    precision: float
    flips: float | None
    batch: int
    most: int
    check: int


@dataclass(eq=False)
class Halver:
    """What was heard, and what it leaves open."""

    goal: Goal
    spec: OracleSpec
    design: View
    boundary: Boundary
    made: Callable[[Floats], ExtractedModel]
    """Makes the model of weights (p,)."""
    kind: str
    """What the target is held to be: "linear model"."""
    rng: np.random.Generator
    heard: list[Rows] = field(default_factory=list)
    labels: list[bool] = field(default_factory=list)
    paid: int = 0
    trusted: int = 0
    """Labels among which the last ones were not held to be skewed."""
    settled: int = 0
    """Labels that were weighed against each other."""
    waiting: bool = False
    """Whether the rows in flight are to be learned from."""
    held: Answers | None = None
    """Answers that the fit was held against and did not learn from yet."""
    checked: int = 0
    """How many rows the fit was last held against, of which so many agreed:"""
    agreed: int = 0
    proof: list[int] = field(default_factory=list)
    """Heard rows whose labels no linear model gives."""
    exact: Floats | None = None
    """Weights that give all labels, where the belief's mean may not."""
    hopeless: str = ""
    """Why no linear model with flipped labels is behind them."""

    def __post_init__(self) -> None:
        space = self.spec.space
        self.matrix = self.design.matrix(space.sample(_SAMPLE, child(self.rng, "sample")))
        self.metric = (self.matrix**2).mean(axis=0)
        self.flips = _GUESS if self.goal.flips is None else self.goal.flips
        self.belief = self.fresh()
        draws = child(self.rng, "rows")
        wishes = self.matrix, self.metric, self.goal.precision, self.goal.batch, draws
        self.asking = Asking(self.design, self.boundary, *wishes)
        steps = np.where(space.grid > 0, (space.high - space.low) / np.where(space.grid > 0, space.grid, 1.0), 0.0)
        varies = space.high > space.low
        self.discrete = bool((space.grid > 0)[varies].any())
        self.rows = float(np.prod(np.floor(steps + 1e-9) + 1)) if (space.grid > 0)[varies].all() else np.inf

    def fresh(self) -> LabelBelief:
        """Nothing known: a weight adds as much to a score as any other, and the bias as all of them together."""
        deviations = np.ones(self.design.size)
        deviations[-1] = np.sqrt(self.metric[:-1].sum())
        return LabelBelief(deviations, self.flips)

    @property
    def single(self) -> bool:
        """Whether at most one class was seen."""
        return len(set(self.labels)) < 2

    # ── the conversation ────────────────────────────────────────────────────────────────────────────────

    def steps(self) -> Steps:
        """Halve, check, and go on from what a check taught."""
        for turn in range(_TURNS):
            yield from self.halve(early=not turn)
            if self.hopeless or self.single or not self.goal.check or self.proof:
                break
            self.settle()
            if not (yield from self.differs("check", turn)) or self.flips or not self.learned():
                break
        if self.contradicted and not self.flips and not self.proof:
            self.learned()
        return self.verdict()

    def halve(self, early: bool) -> Generator[Ask, Answers, None]:
        """Ask until the weights are known, or nothing is left to ask."""
        size, estimate = self.design.size, early and self.goal.flips is None
        while self.paid < self.goal.most * size and (self.single or not self.known):
            if self.single and self.paid >= max(_LOOK[0], _LOOK[1] * size):
                break
            rows = self.asking.choose(self.belief, self.single)
            if not len(rows):
                if self.settle():
                    continue
                break
            self.waiting = True
            answers = yield Ask(rows, "halving", snapshot=self.model)
            self.waiting = False
            self.paid += len(answers)
            self.hear(answers)
            if self.flips and not self.single and self.skewed:
                self.anew()
            if len(self.labels) - self.settled >= max(_FEW, size // 2):
                self.settle()
            if estimate and self.paid >= _UNSURE * size and not self.single:
                estimate = False
                yield from self.estimate()
            if early and self.goal.check and self.paid >= _EARLY * size and not self.single:
                early = False
                differs = yield from self.differs("early check", least=1)
                if differs and (self.flips or not self.learned()):
                    self.hopeless = self.told
            if self.hopeless:
                break

    @property
    def skewed(self) -> bool:
        """Whether the last labels were of one class as rows on the boundary hardly give by chance."""
        recent = self.labels[max(len(self.labels) - _RECENT, self.trusted) :]
        return len(recent) == _RECENT and not _FEWEST < sum(recent) < _RECENT - _FEWEST

    def anew(self) -> None:
        """Hear all labels again, the last ones first: flips among the first few may have led astray."""
        told, self.belief = self.belief.rows, self.fresh()
        for x, label in zip(told[::-1], self.labels[::-1], strict=True):
            self.belief.hear(x, label)
        for kept in (self.belief.rows, self.belief.signs, self.belief.factors):
            kept.reverse()  # in the order of the labels
        self.trusted, self.settled = len(self.labels), 0
        self.settle()

    @property
    def known(self) -> bool:
        """Whether all that can be told is told, to the precision."""
        if self.belief.angle <= self.goal.precision:
            return True
        # Over steps and categories some weights stay open that change next to no label.
        return (
            self.discrete
            and not len(self.labels) % _FEW
            and self.belief.disagreement(self.matrix) <= self.goal.precision
        )

    def settle(self) -> bool:
        """Weigh all labels anew, while float precision allows it; whether that was done."""
        if self.settled == len(self.labels) or self.belief.angle < _SETTLED:
            return False
        self.settled = len(self.labels)
        return self.belief.settle()

    def hear(self, answers: Answers) -> None:
        """Take in labels of complete rows."""
        given = answers.given
        if given.labels is None or not len(given):
            return
        self.asking.asked.update(row.tobytes() for row in given.rows)
        whole = (given.rows >= np.where(self.spec.space.categorical, 0, -np.inf)).all(axis=1)  # neither NaN nor −1
        rows, labels = given.rows[whole], given.labels[whole]
        for row, x, label in zip(rows, self.design.matrix(rows), labels, strict=True):
            self.belief.hear(x, bool(label))
            self.heard.append(row)
            self.labels.append(bool(label))

    # ── holding the fit against further rows ────────────────────────────────────────────────────────────

    def clear(self, count: int, rng: np.random.Generator) -> Rows:
        """New rows whose labels are certain, close to the boundary as far as that allows, on both sides of it.

        Without flips, and if there are too few, also the rows whose labels are most certain.
        """
        rows = np.unique(self.spec.space.sample(_SAMPLE, rng), axis=0)
        rows = rng.permutation(rows[self.asking.new(rows)])
        matrix = self.design.matrix(rows)
        margins, scores = self.belief.margins(matrix), matrix @ self.belief.mean
        sides = []
        for side in (1, -1):
            there = np.flatnonzero(side * margins > _CLEAR)
            there = there[np.abs(scores[there]).argsort()][: 8 * count]
            sides.append(rng.permutation(there)[: -(-count // 2)])
        found = np.concatenate(sides)[:count]
        if not self.flips and len(found) < count:
            rest = np.setdiff1d((-np.abs(margins)).argsort(), found, assume_unique=True)
            found = np.concatenate([found, rest[: count - len(found)]])
        return np.asarray(rows[found])

    def differs(self, phase: str, turn: int = 0, least: int = 0) -> Generator[Ask, Answers, bool]:
        """Hold the fit against further rows; whether more disagree than ``least``, and than flips explain."""
        self.held, self.checked, self.agreed = None, 0, 0
        rows = self.clear(self.goal.check * (4 if self.flips else 1), child(self.rng, phase, str(turn)))
        if self.single or not len(rows):
            return False
        answers = (yield Ask(rows, phase, "selection", self.model)).given
        if answers.labels is None or not len(answers):
            return False
        agree = (self.design.matrix(answers.rows) @ self.belief.mean > 0) == (answers.labels == 1)
        self.held, self.checked, self.agreed = answers, len(answers), int(agree.sum())
        return self.checked - self.agreed > max(least, self.allowed)

    @property
    def allowed(self) -> int:
        """How many of the rows checked may disagree by chance."""
        return int(binom.ppf(1 - _CHANCE, self.checked, self.flips)) if self.flips and self.checked else 0

    def learned(self) -> bool:
        """Learn from the rows held against the fit; whether some linear model may still give all labels."""
        if self.held is not None:
            self.hear(self.held)
            self.held = None
        matrix, labels = np.array(self.belief.rows), np.array(self.labels)
        clear = np.flatnonzero(np.abs(matrix @ self.belief.mean) > _THIN * np.linalg.norm(self.belief.mean))
        weights, rows = separate(matrix[clear], labels[clear])
        self.proof = clear[rows].tolist()
        if weights is not None and ((matrix @ weights > 0) == labels).all():
            self.exact = weights
        return not self.proof

    def estimate(self) -> Generator[Ask, Answers, None]:
        """Count flips on rows whose labels would else be certain, and work all labels in anew."""
        rows = self.clear(_COUNTED, child(self.rng, "flips"))
        answers = (yield Ask(rows, "flips", "selection", self.model)).given if len(rows) else None
        if answers is None or answers.labels is None or not len(answers):
            return
        count = len(answers)
        off = int(((self.design.matrix(answers.rows) @ self.belief.mean > 0) != (answers.labels == 1)).sum())
        self.flips = min((off + 0.5) / (count + 1.0), 0.4)
        if off > _HOPELESS * count:
            self.hopeless = f"{off} of {count} labels that a {self.kind} makes certain are others"
            return
        self.anew()

    # ── the result ──────────────────────────────────────────────────────────────────────────────────────

    def model(self) -> ExtractedModel | None:
        """The mean as a model; a constant while one class only is seen."""
        if not self.labels:
            return None
        weights = self.mean
        if self.single:
            weights = np.zeros_like(weights)
            weights[-1] = 1.0 if self.labels[0] else -1.0
        return self.made(weights)

    @property
    def mean(self) -> Floats:
        """The weights of the best model."""
        return self.belief.mean if self.exact is None or not self.wrong(self.belief.mean) else self.exact

    @property
    def contradicted(self) -> int:
        """How many labels the best model gives otherwise."""
        return self.wrong(self.mean) if self.labels else 0

    def wrong(self, weights: Floats) -> int:
        """How many labels weights give otherwise."""
        return int(((np.array(self.belief.rows) @ weights > 0) != np.array(self.labels)).sum())

    @property
    def told(self) -> str:
        """How the fit fared on further rows, for a person."""
        return f"{self.agreed} of {self.checked} further rows beside the boundary agree"

    @property
    def other(self) -> str:
        """What the target is if it is not of that kind."""
        return "the target is not linear" if self.kind == "linear model" else f"the target is no {self.kind}"

    def evidence(self) -> dict[str, object]:
        """Numbers behind the outcome."""
        shown = self.proof if len(self.proof) * len(self.spec.space) <= _SHOWN else []
        return {
            "parameters": self.design.size,
            "rows heard": len(self.labels),
            "contradicted": self.contradicted,
            "expected angle": self.belief.angle,
            "expected disagreement": self.belief.disagreement(self.matrix),
            "flips": self.flips,
            "checked": self.checked,
            "agreed": self.agreed,
            "contradictory rows": len(self.proof),
            "contradiction": [[*self.heard[i].tolist(), float(self.labels[i])] for i in shown],
        }

    def verdict(self) -> Finding:
        """The outcome of a run that came to its end."""
        heard, flips = len(self.labels), self.flips > 0
        if self.single:
            reason = f"only one class was seen in {heard:,} rows, so the model is a constant"
            return self.finding(Outcome.APPROXIMATE, reason if heard else "no row was answered")
        if self.proof:
            reason = f"no {self.kind} gives the labels of these {len(self.proof)} rows: {self.other}, or"
            return self.finding(Outcome.NONE_FITS, f"{reason} labels are flipped (flips=None estimates how many)")
        if self.hopeless:
            return self.finding(Outcome.NONE_FITS, f"{self.hopeless}: {self.other}")
        if not self.goal.check:
            reason = "the hyperplane was not held against further rows (check=0)"
            return self.finding(Outcome.UNVERIFIED, reason)
        if not flips and len(self.asking.asked) >= self.rows and not self.contradicted:
            return self.finding(Outcome.VERIFIED, f"all {heard} rows of the space were asked: a {self.kind}")
        if not self.checked or (flips and self.checked < self.goal.check):
            reason = f"{self.told}: too few labels were certain to check more"
            return self.finding(Outcome.UNVERIFIED, reason)
        if self.checked - self.agreed > self.allowed:
            outcome = Outcome.NONE_FITS if flips else Outcome.CLASS_MISMATCH
            return self.finding(outcome, f"{self.told}: {self.other}, or more labels are flipped")
        if self.paid >= self.goal.most * self.design.size and not self.known:
            reason = f"{self.told}, but {self.goal.most} rows a parameter did not reach the precision"
            return self.finding(Outcome.NO_CONVERGENCE, reason)
        return self.finding(Outcome.VERIFIED, f"{self.told}: a {self.kind}")

    def finding(self, outcome: Outcome, reason: str) -> Finding:
        """The best model, with an outcome and its evidence."""
        return Finding(self.model(), outcome, reason, self.evidence())
