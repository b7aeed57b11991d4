"""What `halfspace` puts into its conversation: rows whose labels are most open, and what flips need."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from filch.attacks.linear.asking import Asking, Boundary
from filch.attacks.linear.contradiction import separate
from filch.attacks.linear.conversation import Conversation
from filch.attacks.linear.halfspaces import LabelBelief
from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome
from filch.core.features import Rows
from filch.core.models import ExtractedModel
from filch.core.seeds import child

Floats = npt.NDArray[np.float64]
_CLEAR = 6.0  # deviations from the boundary at which a label is certain
_SAMPLE = 2_048  # uniform rows that stand for the space
_FEW, _SETTLED = 4, 1e-6  # labels, and rad: all labels are weighed anew after so many, until the angle is so small
_UNSURE, _GUESS = 12, 0.2  # rows a parameter taken with this presumed share of flips, where it is to be estimated
_COUNTED = 64  # rows by which it is
_RECENT, _FEWEST = 24, 3  # labels, and of the rarer class, at which a belief under flips has gone astray
_HOPELESS = 0.25  # a share of contradictions from which no linear model is behind them
_CHANCE = 1e-3  # that a target with flipped labels is taken for one that is not linear
_THIN = 1e-4  # of a score's scale: labels of smaller scores prove nothing, for they may be rounding


@dataclass(eq=False)
class Halver(Conversation):
    """What was heard, and what it leaves open."""

    boundary: Boundary
    made: Callable[[Floats], ExtractedModel]
    """Makes the model of weights (p,)."""
    kind: str
    """What the target is held to be: "linear model"."""
    presumed: float | None
    """The share of flipped labels; None estimates it."""
    labels: list[bool] = field(default_factory=list, init=False)
    trusted: int = field(default=0, init=False)
    """Labels among which the last ones were not held to be skewed."""
    exact: Floats | None = field(default=None, init=False)
    """Weights that give all labels, where the belief's mean may not."""

    PHASE, BESIDE, LOOK, EARLY = "halving", "the boundary", (1_024, 32), 6

    def __post_init__(self) -> None:
        space = self.spec.space
        self.matrix = self.design.matrix(space.sample(_SAMPLE, child(self.rng, "sample")))
        self.metric = (self.matrix**2).mean(axis=0)
        self.estimated = self.presumed is not None
        self.flips = _GUESS if self.presumed is None else self.presumed
        self.unknowns = self.design.size
        self.patience = max(_FEW, self.unknowns // 2)
        self.belief = self.fresh()
        wishes = self.matrix, self.metric, self.goal.precision, self.goal.batch or 1, child(self.rng, "rows")
        self.chooser: Asking = Asking(self.design, self.boundary, *wishes)
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

    def ask(self, rows: Rows, phase: str) -> Generator[Ask, Answers, None]:
        """Ask rows and learn from them."""
        yield from super().ask(rows, phase)
        if self.flips and not self.single and self.skewed:
            self.anew()

    def choose(self) -> Rows:
        """Rows whose labels halve what is open."""
        return self.chooser.choose(self.belief, self.single)

    def aside(self) -> Generator[Ask, Answers, None]:
        """Count flips, once enough is known for it."""
        if not self.estimated and self.paid >= _UNSURE * self.unknowns and not self.single:
            self.estimated = True
            yield from self.estimate()

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
        """Whether two classes were seen, and all that can be told is told to the precision."""
        if self.single:
            return False
        if self.belief.angle <= self.goal.precision:
            return True
        # Over steps and categories some weights stay open that change next to no label.
        return (
            self.discrete
            and not len(self.labels) % _FEW
            and self.belief.disagreement(self.matrix) <= self.goal.precision
        )

    @property
    def fine(self) -> bool:
        """Whether float precision allows that labels are weighed anew."""
        return self.belief.angle >= _SETTLED

    def weigh(self) -> bool:
        """Weigh all labels anew; whether that came to rest."""
        return self.belief.settle()

    def learn(self, rows: Rows, labels: npt.NDArray[np.int64]) -> None:
        """Learn the labels of complete rows."""
        for x, label in zip(self.design.matrix(rows), labels, strict=True):
            self.belief.hear(x, bool(label))
            self.labels.append(bool(label))

    def label(self, i: int) -> float:
        """The i-th label heard."""
        return float(self.labels[i])

    # ── holding the fit against further rows ────────────────────────────────────────────────────────────

    def clear(self, rng: np.random.Generator) -> Rows:
        """New rows to hold the fit against, whose labels are certain; more of them where some may be flipped."""
        return self.certain(self.goal.check * (4 if self.flips else 1), rng)

    def certain(self, count: int, rng: np.random.Generator) -> Rows:
        """New rows whose labels are certain, close to the boundary as far as that allows, on both sides of it.

        Without flips, and if there are too few, also the rows whose labels are most certain.
        """
        rows = np.unique(self.spec.space.sample(_SAMPLE, rng), axis=0)
        rows = rng.permutation(rows[self.chooser.new(rows)])
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

    def said(self, rows: Rows) -> npt.NDArray[np.int64]:
        """The labels that the fit gives rows."""
        return (self.design.matrix(rows) @ self.belief.mean > 0).astype(np.int64)

    @property
    def allowed(self) -> int:
        """How many of the rows checked may disagree by chance."""
        return int(binom.ppf(1 - _CHANCE, self.checked, self.flips)) if self.flips and self.checked else 0

    def learned(self) -> bool:
        """Learn from the rows held against the fit, unless labels may be flipped."""
        return not self.flips and super().learned()

    def contradiction(self) -> list[int]:
        """Heard rows whose labels no linear model gives; where one gives all, its weights are kept."""
        matrix, labels = np.array(self.belief.rows), np.array(self.labels)
        clear = np.flatnonzero(np.abs(matrix @ self.belief.mean) > _THIN * np.linalg.norm(self.belief.mean))
        weights, rows = separate(matrix[clear], labels[clear])
        if weights is not None and ((matrix @ weights > 0) == labels).all():
            self.exact = weights
        return [int(row) for row in clear[rows]]

    def estimate(self) -> Generator[Ask, Answers, None]:
        """Count flips on rows whose labels would else be certain, and work all labels in anew."""
        rows = self.certain(_COUNTED, child(self.rng, "flips"))
        answers = (yield Ask(rows, "flips", "selection", self.model)).given if len(rows) else None
        if answers is None or answers.labels is None or not len(answers):
            return
        count = len(answers)
        off = int((self.said(answers.rows) != answers.labels).sum())
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
    def other(self) -> str:
        """What the target is if it is not of that kind."""
        return "the target is not linear" if self.kind == "linear model" else f"the target is no {self.kind}"

    def evidence(self) -> dict[str, object]:
        """Numbers behind the outcome."""
        return super().evidence() | {
            "parameters": self.unknowns,
            "contradicted": self.contradicted,
            "expected angle": self.belief.angle,
            "expected disagreement": self.belief.disagreement(self.matrix),
            "flips": self.flips,
        }

    def verdict(self) -> Finding:
        """The outcome of a run that came to its end."""
        if self.contradicted and not self.proof:
            self.learned()
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
        if not flips and len(self.chooser.asked) >= self.rows and not self.contradicted:
            return self.finding(Outcome.VERIFIED, f"all {heard} rows of the space were asked: a {self.kind}")
        if not self.checked or (flips and self.checked < self.goal.check):
            reason = f"{self.told}: too few labels were certain to check more"
            return self.finding(Outcome.UNVERIFIED, reason)
        if self.checked - self.agreed > self.allowed:
            outcome = Outcome.NONE_FITS if flips else Outcome.CLASS_MISMATCH
            return self.finding(outcome, f"{self.told}: {self.other}, or more labels are flipped")
        if self.paid >= self.goal.most * self.unknowns and not self.known:
            reason = f"{self.told}, but {self.goal.most} rows a parameter did not reach the precision"
            return self.finding(Outcome.NO_CONVERGENCE, reason)
        return self.finding(Outcome.VERIFIED, f"{self.told}: a {self.kind}")
