"""The conversation of `softmax-labels`: ask where two classes tie, learn, hold the fit against further rows."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from filch.attacks.linear.contests import ClassBelief
from filch.attacks.linear.design import Design
from filch.attacks.linear.misfit import contradiction, soft_fit
from filch.attacks.linear.ties import Ties, leaders
from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome, Steps
from filch.core.features import Rows
from filch.core.models import ExtractedModel
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.models.logistic import Link

Floats = npt.NDArray[np.float64]
_FIRST = 4  # rows for each class, from anywhere, before any is chosen
_LOOK = 1_024, 4  # rows, and rows an unknown, in which two classes must be seen
_EARLY = 4  # rows an unknown after which the target is first held to be linear
_SEEK = 4, 64, 2  # one row in so many looks for classes never seen; at most so many, and so many for each column
_TURNS = 4  # a fit that further rows disagree with is mended at most so often, less one
_ROUND = 32  # one row in a batch for so many unknowns
_SETTLE = 5, 4  # all labels are weighed anew after a fifth as many more as there are unknowns, and at least four
_CLEAR = 6.0  # deviations by which a class leads where its label is certain
_SAMPLE = 2_048  # uniform rows that stand for the space
_STRAIN = (
    2,
    0.03,
    0.1,
)  # rows an unknown at which labels against the fit are first counted; shares: suspicious, hopeless
_SHOWN = 1_000  # numbers of contradicting rows that the evidence shows


@dataclass(frozen=True)
class Goal:
    """How far to go: the parameters of `filch.attacks.softmax_labels.SoftmaxLabels`."""

    precision: float
    batch: int | None
    most: int
    check: int


@dataclass(eq=False)
class Ranker:
    """What was heard, and what it leaves open."""

    goal: Goal
    spec: OracleSpec
    design: Design
    rng: np.random.Generator
    heard: list[Rows] = field(default_factory=list)
    paid: int = 0
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
    hopeless: str = ""
    """Why no linear model is behind the labels, where there is no proof."""
    sought: int = 0
    """Rows in which classes that were never seen were looked for."""
    exhausted: bool = False
    """Whether no row was left whose label is open."""

    def __post_init__(self) -> None:
        matrix = self.design.matrix(self.spec.space.sample(_SAMPLE, child(self.rng, "sample")))
        deviations = np.ones(self.design.size)
        # A weight adds as much to a score as any other, and the bias as all of them together.
        deviations[-1] = np.sqrt((matrix[:, :-1] ** 2).mean(axis=0).sum())
        self.belief = ClassBelief(deviations, self.spec.n_classes)
        self.unknowns = len(self.belief.mean)
        self.batch = self.goal.batch or max(1, self.unknowns // _ROUND)
        self.ties = Ties(self.design, child(self.rng, "rows"))

    @property
    def unseen(self) -> list[object]:
        """The classes that were never seen, by name."""
        seen = set(self.belief.labels.tolist())
        return [name for index, name in enumerate(self.spec.classes or ()) if index not in seen]

    @property
    def single(self) -> bool:
        """Whether at most one class was seen."""
        return len(self.unseen) >= self.belief.classes - 1

    # ── the conversation ────────────────────────────────────────────────────────────────────────────────

    def steps(self) -> Steps:
        """Ask, check, and go on from what a check taught."""
        missing = _FIRST * self.spec.n_classes - len(self.belief.labels)
        if missing > 0:
            rows = self.ties.anywhere(missing)
            if len(rows):
                yield from self.ask(rows, "first look")
        for turn in range(_TURNS):
            yield from self.rank(early=not turn)
            self.settle()
            if not self.believable() or self.single or not self.goal.check:
                break
            if not (yield from self.differs("check", turn)) or not self.learned():
                break
        return self.verdict()

    def ask(self, rows: Rows, phase: str) -> Generator[Ask, Answers, None]:
        """Ask rows and learn from them."""
        self.waiting = True
        answers = yield Ask(rows, phase, snapshot=self.model)
        self.waiting = False
        self.paid += len(answers)
        self.hear(answers)

    def rank(self, early: bool) -> Generator[Ask, Answers, None]:
        """Ask until the labels are known, or nothing is left to ask."""
        self.exhausted = False
        look = max(2 * self.paid, _STRAIN[0] * self.unknowns)
        while self.paid < self.goal.most * self.unknowns:
            beside = self.ties.beside(self.belief)
            if not self.single and beside.open <= self.goal.precision:
                break
            if self.single and self.paid >= max(_LOOK[0], _LOOK[1] * self.unknowns):
                break
            rows = self.ties.choose(self.belief, self.batch, beside)
            if (
                len(rows)
                and self.sought < _SEEK[1] + _SEEK[2] * self.design.size
                and self.sought * _SEEK[0] <= self.paid
            ):
                rows = np.vstack([rows, self.seek(len(rows))])
            if not len(rows) and self.settle():
                continue
            if not len(rows) and self.single:
                rows = self.ties.anywhere(self.batch)
            if not len(rows):
                self.exhausted = True
                break
            yield from self.ask(rows, "ties")
            if len(self.belief.labels) - self.settled >= max(self.unknowns // _SETTLE[0], _SETTLE[1]):
                self.settle()
            if early and self.goal.check and self.paid >= _EARLY * self.unknowns and not self.single:
                early = False
                if (yield from self.differs("early check", least=1)) and not self.learned():
                    break
            if self.paid >= look:
                look *= 2
                if not self.believable():
                    break

    def seek(self, n: int) -> Rows:
        """New rows in which a class that was never seen may be at its best, of shape (≤ n / 2 or 1, d)."""
        seen = np.unique(self.belief.labels)
        never = np.setdiff1d(np.arange(self.belief.classes), seen)
        if not len(never) or not len(seen):
            return np.empty((0, len(self.spec.space)))
        rows = self.ties.best_of(self.belief, never, seen, max(1, n // 2))
        self.sought += len(rows)
        return rows

    @property
    def known(self) -> bool:
        """Whether labels are known to the precision."""
        return self.ties.beside(self.belief).open <= self.goal.precision

    def settle(self) -> bool:
        """Weigh all labels anew, while float precision allows it; whether that was done."""
        count = len(self.belief.labels)
        if self.settled == count:
            return False
        self.settled = count
        return self.belief.settle(child(self.rng, "settle", str(count)))

    def hear(self, answers: Answers) -> None:
        """Take in labels of complete rows."""
        given = answers.given
        if given.labels is None or not len(given):
            return
        self.ties.asked.update(row.tobytes() for row in given.rows)
        whole = (given.rows >= np.where(self.spec.space.categorical, 0, -np.inf)).all(axis=1)  # neither NaN nor −1
        rows, labels = given.rows[whole], given.labels[whole]
        self.belief.hear(self.design.matrix(rows), labels)
        self.heard += list(rows)

    # ── holding the fit against further rows ────────────────────────────────────────────────────────────

    def clear(self, count: int, rng: np.random.Generator) -> Rows:
        """New rows whose labels are certain, close to a boundary as far as that allows; else the most certain ones."""
        rows = np.unique(self.spec.space.sample(_SAMPLE, rng), axis=0)
        rows = rng.permutation(rows[self.ties.new(rows)])
        if not len(rows):
            return rows
        matrix = self.design.matrix(rows)
        scores = self.belief.scores(matrix)
        above, below = leaders(scores)
        each = np.arange(len(rows))
        gap = scores[each, above] - scores[each, below]
        margin = gap / self.belief.deviation(matrix, above, below)
        there = np.flatnonzero(margin > _CLEAR)
        found = rng.permutation(there[gap[there].argsort()][: 8 * count])[:count]
        if len(found) < count:
            rest = np.setdiff1d((-margin).argsort(), found, assume_unique=True)
            found = np.concatenate([found, rest[: count - len(found)]])
        return np.asarray(rows[found])

    def differs(self, phase: str, turn: int = 0, least: int = 0) -> Generator[Ask, Answers, bool]:
        """Hold the fit against further rows; whether more disagree than ``least``."""
        self.held, self.checked, self.agreed = None, 0, 0
        rows = self.clear(self.goal.check, child(self.rng, phase, str(turn)))
        if not len(rows):
            return False
        answers = (yield Ask(rows, phase, "selection", self.model)).given
        if answers.labels is None or not len(answers):
            return False
        agree = self.belief.scores(self.design.matrix(answers.rows)).argmax(axis=1) == answers.labels
        self.held, self.checked, self.agreed = answers, len(answers), int(agree.sum())
        return self.checked - self.agreed > least

    def learned(self) -> bool:
        """Learn from the rows held against the fit; whether some linear model may still give all labels."""
        if self.held is not None:
            self.hear(self.held)
            self.held = None
        self.proof = contradiction(self.belief)
        return not self.proof

    def believable(self) -> bool:
        """Whether the fit gives the labels heard, but for a few next to a boundary, or some linear model gives them."""
        if self.proof or self.hopeless:
            return False
        count, heard = self.contradicted, len(self.belief.labels)
        if count > _STRAIN[1] * heard:
            self.proof = contradiction(self.belief)
            if not self.proof and count > _STRAIN[2] * heard:
                self.hopeless = f"{count} of {heard} labels contradict the fit to all of them"
        return not self.proof and not self.hopeless

    # ── the result ──────────────────────────────────────────────────────────────────────────────────────

    @property
    def weights(self) -> Floats:
        """Of the best model, (c, p): the mean's, a constant's while one class only is seen, or those of a soft fit."""
        belief = self.belief
        if self.proof or self.hopeless:
            return soft_fit(belief.rows, belief.labels, belief.classes)
        if not self.single:
            return belief.weights
        weights = np.zeros((belief.classes, self.design.size))
        weights[belief.labels[0], -1] = 1.0
        return weights

    def model(self) -> ExtractedModel | None:
        """The best model."""
        if not len(self.belief.labels):
            return None
        link: Link = "logistic" if self.belief.classes == 2 else "softmax"
        return self.design.model(self.weights.T, link, self.spec.classes or ())

    @property
    def contradicted(self) -> int:
        """How many labels the best model gives otherwise."""
        belief = self.belief
        if not len(belief.labels):
            return 0
        return int(((belief.rows @ self.weights.T).argmax(axis=1) != belief.labels).sum())

    @property
    def told(self) -> str:
        """How the fit fared on further rows, for a person."""
        return f"{self.agreed} of {self.checked} further rows beside boundaries agree"

    def evidence(self) -> dict[str, object]:
        """Numbers behind the outcome."""
        shown = self.proof if len(self.proof) * len(self.spec.space) <= _SHOWN else []
        return {
            "unknowns": self.unknowns,
            "rows heard": len(self.belief.labels),
            "contradicted": self.contradicted,
            "expected disagreement": self.ties.beside(self.belief).disagreement,
            "classes never seen": self.unseen,
            "checked": self.checked,
            "agreed": self.agreed,
            "contradictory rows": len(self.proof),
            "contradiction": [[*self.heard[i].tolist(), float(self.belief.labels[i])] for i in shown],
        }

    def verdict(self) -> Finding:
        """The outcome of a run that came to its end."""
        heard = len(self.belief.labels)
        if self.single:
            reason = f"only one class was seen in {heard:,} rows, so the model is a constant"
            return self.finding(Outcome.APPROXIMATE, reason if heard else "no row was answered")
        absent = f"; never seen: {', '.join(map(str, self.unseen))}" if self.unseen else ""
        if self.proof:
            reason = f"no linear model gives the labels of these {len(self.proof)} rows: the target is not linear, or"
            return self.finding(Outcome.NONE_FITS, f"{reason} labels are flipped")
        if self.hopeless:
            reason = f"{self.hopeless}: the target is not linear, or labels are flipped"
            return self.finding(Outcome.NONE_FITS, reason)
        if not self.goal.check:
            return self.finding(Outcome.UNVERIFIED, f"the fit was not held against further rows (check=0){absent}")
        if not self.checked and not self.contradicted and self.exhausted:
            return self.finding(Outcome.VERIFIED, f"all {heard} rows that tell anything agree{absent}")
        if not self.checked:
            return self.finding(Outcome.UNVERIFIED, f"no further row was answered to check with{absent}")
        if self.agreed < self.checked:
            reason = f"{self.told}, and {self.contradicted} of {heard} labels heard contradict the fit"
            return self.finding(Outcome.NONE_FITS, f"{reason}: the target is not linear, or labels are flipped")
        if self.paid >= self.goal.most * self.unknowns and not self.known:
            reason = f"{self.told}, but {self.goal.most} rows an unknown did not reach the precision{absent}"
            return self.finding(Outcome.NO_CONVERGENCE, reason)
        return self.finding(Outcome.VERIFIED, f"{self.told}: a linear model{absent}")

    def finding(self, outcome: Outcome, reason: str) -> Finding:
        """The best model, with an outcome and its evidence."""
        return Finding(self.model(), outcome, reason, self.evidence())
