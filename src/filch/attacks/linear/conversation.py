"""The conversation of the attacks that learn linear models from labels: ask, learn, hold the fit against further rows.

`filch.attacks.linear.halver` and `.ranker` fill in what labels leave open, which rows are asked next, and what tells
that no linear model is behind them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from filch.attacks.linear.asking import View
from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome, Steps
from filch.core.features import Rows
from filch.core.models import ExtractedModel
from filch.core.oracle import OracleSpec
from filch.core.seeds import child

_TURNS = 4  # a fit that further rows disagree with is mended at most so often, less one
_SHOWN = 1_000  # numbers of contradicting rows that the evidence shows


@dataclass(frozen=True)
class Goal:
    """How far to go, and how: parameters of `filch.attacks.halfspace.Halfspace` and `.softmax_labels.SoftmaxLabels`."""

    precision: float
    batch: int | None
    most: int
    check: int


class Chooser(Protocol):
    """Chooses rows: `filch.attacks.linear.asking.Asking`, or `.ties.Ties`."""

    asked: set[bytes]

    def new(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Which rows were not asked yet."""
        ...


@dataclass(eq=False)
class Conversation(ABC):
    """What was heard, and what it leaves open."""

    goal: Goal
    spec: OracleSpec
    design: View
    rng: np.random.Generator
    heard: list[Rows] = field(default_factory=list, init=False)
    """Complete rows whose labels were learned."""
    paid: int = field(default=0, init=False)
    settled: int = field(default=0, init=False)
    """Labels that were weighed against each other."""
    waiting: bool = field(default=False, init=False)
    """Whether the rows in flight are to be learned from."""
    held: Answers | None = field(default=None, init=False)
    """Answers that the fit was held against and did not learn from yet."""
    checked: int = field(default=0, init=False)
    """How many rows the fit was last held against, of which so many agreed:"""
    agreed: int = field(default=0, init=False)
    proof: list[int] = field(default_factory=list, init=False)
    """Heard rows whose labels no linear model gives."""
    hopeless: str = field(default="", init=False)
    """Why no linear model is behind the labels, where there is no proof."""
    exhausted: bool = field(default=False, init=False)
    """Whether no row was left whose label is open."""
    unknowns: int = field(init=False)
    patience: int = field(init=False)
    """Labels after which all are weighed anew."""
    chooser: Chooser = field(init=False)

    PHASE: ClassVar[str]
    BESIDE: ClassVar[str]
    """What checked rows are beside of."""
    LOOK: ClassVar[tuple[int, int]]
    """Rows, and rows an unknown, in which two classes must be seen."""
    EARLY: ClassVar[int]
    """Rows an unknown after which the target is first held to be linear."""

    # ── the conversation ────────────────────────────────────────────────────────────────────────────────

    def steps(self) -> Steps:
        """Ask, check, and go on from what a check taught."""
        for turn in range(_TURNS):
            yield from self.rounds(early=not turn)
            if not self.believable() or self.single or not self.goal.check:
                break
            self.settle()
            if not (yield from self.differs("check", turn)) or not self.learned():
                break
        return self.verdict()

    def rounds(self, early: bool) -> Generator[Ask, Answers, None]:
        """Ask until the labels are known, or nothing is left to ask."""
        self.exhausted = False
        while self.paid < self.goal.most * self.unknowns and not self.known:
            if self.single and self.paid >= max(self.LOOK[0], self.LOOK[1] * self.unknowns):
                break
            rows = self.choose()
            if not len(rows):
                if self.settle():
                    continue
                rows = self.elsewhere()
            if not len(rows):
                self.exhausted = True
                break
            yield from self.ask(rows, self.PHASE)
            if len(self.heard) - self.settled >= self.patience:
                self.settle()
            yield from self.aside()
            if early and self.goal.check and self.paid >= self.EARLY * self.unknowns and not self.single:
                early = False
                if (yield from self.differs("early check", least=1)) and not self.learned():
                    self.hopeless = self.told
            if not self.believable(ended=False):
                break

    def ask(self, rows: Rows, phase: str) -> Generator[Ask, Answers, None]:
        """Ask rows and learn from them."""
        self.waiting = True
        answers = yield Ask(rows, phase, snapshot=self.model)
        self.waiting = False
        self.paid += len(answers)
        self.hear(answers)

    def hear(self, answers: Answers) -> None:
        """Take in labels of complete rows."""
        given = answers.given
        if given.labels is None or not len(given):
            return
        self.chooser.asked.update(row.tobytes() for row in given.rows)
        whole = (given.rows >= np.where(self.spec.space.categorical, 0, -np.inf)).all(axis=1)  # neither NaN nor −1
        self.learn(given.rows[whole], given.labels[whole])
        self.heard += list(given.rows[whole])

    def settle(self) -> bool:
        """Weigh all labels anew, while float precision allows it; whether that was done."""
        if self.settled == len(self.heard) or not self.fine:
            return False
        self.settled = len(self.heard)
        return self.weigh()

    def differs(self, phase: str, turn: int = 0, least: int = 0) -> Generator[Ask, Answers, bool]:
        """Hold the fit against further rows; whether more disagree than ``least``, and than flips explain."""
        self.held, self.checked, self.agreed = None, 0, 0
        rows = self.clear(child(self.rng, phase, str(turn)))
        if not len(rows):
            return False
        answers = (yield Ask(rows, phase, "selection", self.model)).given
        if answers.labels is None or not len(answers):
            return False
        self.held, self.checked = answers, len(answers)
        self.agreed = int((self.said(answers.rows) == answers.labels).sum())
        return self.checked - self.agreed > max(least, self.allowed)

    def learned(self) -> bool:
        """Learn from the rows held against the fit; whether some linear model may still give all labels."""
        if self.held is not None:
            self.hear(self.held)
            self.held = None
        self.proof = self.contradiction()
        return not self.proof

    @property
    def told(self) -> str:
        """How the fit fared on further rows, for a person."""
        return f"{self.agreed} of {self.checked} further rows beside {self.BESIDE} agree"

    def evidence(self) -> dict[str, object]:
        """Numbers behind the outcome."""
        few = len(self.proof) * len(self.spec.space) <= _SHOWN
        shown = [[*self.heard[i].tolist(), self.label(i)] for i in self.proof] if few else []
        counts = {"rows heard": len(self.heard), "checked": self.checked, "agreed": self.agreed}
        return {**counts, "contradictory rows": len(self.proof), "contradiction": shown}

    def finding(self, outcome: Outcome, reason: str) -> Finding:
        """The best model, with an outcome and its evidence."""
        return Finding(self.model(), outcome, reason, self.evidence())

    # ── what an attack fills in ─────────────────────────────────────────────────────────────────────────

    @property
    @abstractmethod
    def single(self) -> bool:
        """Whether at most one class was seen."""

    @property
    @abstractmethod
    def known(self) -> bool:
        """Whether two classes were seen, and all that can be told is told to the precision."""

    @property
    def fine(self) -> bool:
        """Whether float precision allows that labels are weighed anew."""
        return True

    @property
    def allowed(self) -> int:
        """How many of the rows checked may disagree by chance."""
        return 0

    @abstractmethod
    def choose(self) -> Rows:
        """The next rows to ask; none where no label is open."""

    def elsewhere(self) -> Rows:
        """Rows to ask where `choose` has none."""
        return np.empty((0, len(self.spec.space)))

    def aside(self) -> Generator[Ask, Answers, None]:
        """What else is asked between two requests."""
        yield from ()

    @abstractmethod
    def learn(self, rows: Rows, labels: npt.NDArray[np.int64]) -> None:
        """Learn the labels of complete rows."""

    @abstractmethod
    def weigh(self) -> bool:
        """Weigh all labels anew; whether that came to rest."""

    @abstractmethod
    def label(self, i: int) -> float:
        """The i-th label heard."""

    @abstractmethod
    def said(self, rows: Rows) -> npt.NDArray[np.int64]:
        """The labels that the fit gives rows."""

    @abstractmethod
    def clear(self, rng: np.random.Generator) -> Rows:
        """New rows to hold the fit against, whose labels are certain."""

    @abstractmethod
    def contradiction(self) -> list[int]:
        """Heard rows whose labels no linear model gives; none where one may give all."""

    def believable(self, ended: bool = True) -> bool:
        """Whether a linear model may be behind the labels; ``ended`` asks for more care than after each request."""
        return not self.proof and not self.hopeless

    @abstractmethod
    def model(self) -> ExtractedModel | None:
        """The best model so far."""

    @abstractmethod
    def verdict(self) -> Finding:
        """The outcome of a run that came to its end."""
