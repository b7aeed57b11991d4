"""What `softmax-labels` puts into its conversation: rows where two classes tie, and classes that were never seen."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from filch.attacks.linear.contests import ClassBelief
from filch.attacks.linear.conversation import Conversation
from filch.attacks.linear.design import Design
from filch.attacks.linear.misfit import contradiction, soft_fit
from filch.attacks.linear.ties import Beside, Ties, leaders
from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome, Steps
from filch.core.features import Rows
from filch.core.models import ExtractedModel
from filch.core.seeds import child
from filch.models.logistic import Link

Floats = npt.NDArray[np.float64]
_FIRST = 4  # rows for each class, from anywhere, before any is chosen
_SEEK = 4, 64, 2  # one row in so many looks for classes never seen; at most so many, and so many for each column
_ROUND = 32  # one row in a batch for so many unknowns
_SETTLE = 5, 4  # all labels are weighed anew after a fifth as many more as there are unknowns, and at least four
_CLEAR = 6.0  # deviations by which a class leads where its label is certain
_SAMPLE = 2_048  # uniform rows that stand for the space
_STRAIN = (
    2,
    0.03,
    0.1,
)  # rows an unknown at which labels against the fit are first counted; shares: suspicious, hopeless


@dataclass(eq=False)
class Ranker(Conversation):
    """What was heard, and what it leaves open."""

    design: Design
    sought: int = field(default=0, init=False)
    """Rows in which classes that were never seen were looked for."""
    doubted: int = field(default=0, init=False)
    """Rows paid at which labels against the fit are next counted."""
    beside: Beside = field(init=False)
    """Uniform rows close to a boundary, as they were when rows were last chosen."""

    PHASE, BESIDE, LOOK, EARLY = "ties", "boundaries", (1_024, 4), 4

    def __post_init__(self) -> None:
        matrix = self.design.matrix(self.spec.space.sample(_SAMPLE, child(self.rng, "sample")))
        deviations = np.ones(self.design.size)
        # A weight adds as much to a score as any other, and the bias as all of them together.
        deviations[-1] = np.sqrt((matrix[:, :-1] ** 2).mean(axis=0).sum())
        self.belief = ClassBelief(deviations, self.spec.n_classes)
        self.unknowns = len(self.belief.mean)
        self.batch = self.goal.batch or max(1, self.unknowns // _ROUND)
        self.patience = max(self.unknowns // _SETTLE[0], _SETTLE[1])
        self.chooser: Ties = Ties(self.design, child(self.rng, "rows"))

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
        """Look around, then ask, check, and go on from what a check taught."""
        missing = _FIRST * self.spec.n_classes - len(self.belief.labels)
        rows = self.chooser.anywhere(max(missing, 0))
        if len(rows):
            yield from self.ask(rows, "first look")
        return (yield from super().steps())

    def rounds(self, early: bool) -> Generator[Ask, Answers, None]:
        """Ask until the labels are known, or nothing is left to ask."""
        self.doubted = max(2 * self.paid, _STRAIN[0] * self.unknowns)
        yield from super().rounds(early)
        self.settle()

    @property
    def known(self) -> bool:
        """Whether two classes were seen, and labels are known to the precision."""
        self.beside = self.chooser.beside(self.belief)
        return not self.single and self.beside.open <= self.goal.precision

    def choose(self) -> Rows:
        """Rows in which classes tie, and some in which one that was never seen may be at its best."""
        rows = self.chooser.choose(self.belief, self.batch, self.beside)
        most = _SEEK[1] + _SEEK[2] * self.design.size
        if len(rows) and self.sought < most and self.sought * _SEEK[0] <= self.paid:
            rows = np.vstack([rows, self.seek(len(rows))])
        return rows

    def elsewhere(self) -> Rows:
        """Rows from anywhere, while one class only is seen."""
        return self.chooser.anywhere(self.batch) if self.single else super().elsewhere()

    def seek(self, n: int) -> Rows:
        """New rows in which a class that was never seen may be at its best, of shape (≤ n / 2 or 1, d)."""
        seen = np.unique(self.belief.labels)
        never = np.setdiff1d(np.arange(self.belief.classes), seen)
        if not len(never) or not len(seen):
            return np.empty((0, len(self.spec.space)))
        rows = self.chooser.best_of(self.belief, never, seen, max(1, n // 2))
        self.sought += len(rows)
        return rows

    def weigh(self) -> bool:
        """Weigh all labels anew; whether that came to rest."""
        return self.belief.settle(child(self.rng, "settle", str(len(self.heard))))

    def learn(self, rows: Rows, labels: npt.NDArray[np.int64]) -> None:
        """Learn the labels of complete rows."""
        self.belief.hear(self.design.matrix(rows), labels)

    def label(self, i: int) -> float:
        """The i-th label heard."""
        return float(self.belief.labels[i])

    # ── holding the fit against further rows ────────────────────────────────────────────────────────────

    def clear(self, rng: np.random.Generator) -> Rows:
        """New rows whose labels are certain, close to a boundary as far as that allows; else the most certain ones."""
        count = self.goal.check
        rows = np.unique(self.spec.space.sample(_SAMPLE, rng), axis=0)
        rows = rng.permutation(rows[self.chooser.new(rows)])
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

    def said(self, rows: Rows) -> npt.NDArray[np.int64]:
        """The labels that the fit gives rows."""
        return np.asarray(self.belief.scores(self.design.matrix(rows)).argmax(axis=1))

    def contradiction(self) -> list[int]:
        """Heard rows whose labels no linear model gives."""
        return contradiction(self.belief)

    def believable(self, ended: bool = True) -> bool:
        """Whether the fit gives the labels heard, but for a few next to a boundary, or some linear model gives them."""
        if self.proof or self.hopeless:
            return False
        if not ended:
            if self.paid < self.doubted:
                return True
            self.doubted *= 2
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

    def evidence(self) -> dict[str, object]:
        """Numbers behind the outcome."""
        return super().evidence() | {
            "unknowns": self.unknowns,
            "contradicted": self.contradicted,
            "expected disagreement": self.chooser.beside(self.belief).disagreement,
            "classes never seen": self.unseen,
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
