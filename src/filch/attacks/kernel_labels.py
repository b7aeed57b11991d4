"""Kernel machines from labels alone, by halving what they leave open [Tramèr16, §6].

An SVM's label is the sign of a sum of kernels, RBF or polynomial. Many such sums are likely at first, as a Gaussian
process tells; each label cuts some of them away (`filch.attacks.gaussian.posterior`). Rows are asked where the mean of
what is left is 0 and its variance is greatest, so that a label tells nearly one bit; the kernel, γ, the columns' scales
and the noise of labels are what makes the answers likeliest. The copy is the mean, which is a sum of kernels, too, at
the rows that were asked. Of more than two classes each has a score of its own, against the rest, of one kernel.

Queries: the whole budget, or until the posterior expects no more than ``goal`` of uniform rows to be labelled
otherwise, at most ``most``. Requests: each asks ``share`` as many rows as all before it. ``check`` further uniform rows
in the selection account tell how often the copy is wrong.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import ndtr

from filch.attacks.committees.spread import indicators
from filch.attacks.gaussian.choose import abroad, unseen, zeros
from filch.attacks.gaussian.posterior import NONE, Posterior
from filch.attacks.gaussian.tune import afresh, likeliest, starts, tuned
from filch.attacks.threads import one_thread
from filch.core.answers import Answers
from filch.core.attack import Ask, Finding, Outcome, Steps, overheard
from filch.core.encoding import OneHot
from filch.core.features import Rows
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent, UsageError
from filch.models.kernel import KernelModel

Floats = npt.NDArray[np.float64]
_FIRST, _WIDEST = 8, 40  # rows of the first look: two a column, within these bounds
_LOOK = 4_096  # rows after which the search for a second class ends
_EDGES, _EVERY = 0.5, 4  # share of segments' ends that lie at the ends of ranges, in each fourth round
_ENDS, _CANDIDATES = 600, 150  # rows between which segments run, and segments to choose from, at least
_BESIDE = 2_000, 300, 100  # uniform rows; those beside the boundary and others, whose labels are to be told
_AGAIN = 1.4  # γ is looked at anew at so many times the answers
_TUNED = 1_000  # answers up to which γ, the noise and columns' scales are looked at
_WHOLE = 300  # answers up to which all of them are weighed anew after each request
_EACH = 8  # answers for each column, below which they have one scale
_DEGREES: Mapping[str, int | None] = MappingProxyType({"rbf": None, "poly2": 2, "poly3": 3})
_HOPELESS = 10.0  # how much less evidence gives a view up
_SIMPLER = {2: 2.0, 3: 1.0}  # evidence in favour of polynomials, which RBF kernels of small γ resemble
_EXPECT = 1_000  # uniform rows on which the posterior tells what it expects
_SURPRISE = 1e-3  # chance below which the held-back answers contradict that
_SURE = 0.95


@dataclass(frozen=True)
class KernelLabels:
    """Extract a kernel machine from labels, with a Gaussian process that chooses its rows.

    Parameters
    ----------
    kernel : {"auto", "rbf", "poly2", "poly3"}, default "auto"
        Of the copy: RBF, a polynomial of degree 2 or 3, or that of these which makes the answers likeliest.
    goal : float, default 1e-3
        Ends once so many of uniform rows are expected to be labelled otherwise; 0 spends the budget.
    share : float, default 0.1
        Rows of a request, as a share of the answers before it; more of them cost fewer requests, and more queries.
    most : int, default 3000
        Answers to learn from: time grows as their cube (about 40 s in all at 2,700), memory as their square.
    check : int, default 8
        Further uniform rows that the copy is held against (a tenth of the budget, where that is less); 0 leaves the
        copy's error to the posterior's own word.

    Raises
    ------
    UsageError
        A parameter out of range.

    Examples
    --------
    >>> import filch
    >>> from sklearn.datasets import make_moons
    >>> from sklearn.svm import SVC
    >>> X, y = make_moons(500, noise=0.1, random_state=0)
    >>> oracle = filch.ModelOracle(SVC().fit(X, y), filch.FeatureSpace.box(X.min(0), X.max(0)), reveal="labels")
    >>> run = filch.extract(oracle, attack=KernelLabels(), budget=100)
    >>> run.outcome.value, filch.fidelity(oracle, run.model).r_unif < 0.01
    ('approximate', True)
    """

    kernel: Literal["auto", "rbf", "poly2", "poly3"] = "auto"
    goal: float = 1e-3
    share: float = 0.1
    most: int = 3_000
    check: int = 8

    def __post_init__(self) -> None:
        if self.kernel not in ("auto", *_DEGREES):
            raise UsageError(f"no kernel {self.kernel!r}: choose auto, {', '.join(_DEGREES)}")
        if not (0 <= self.goal < 0.5 and 0 < self.share <= 1 and self.most >= 1 and self.check >= 0):
            raise UsageError("KernelLabels takes 0 ≤ goal < 0.5, 0 < share ≤ 1, most ≥ 1 and check ≥ 0")

    def needs(self, spec: OracleSpec) -> str | None:
        """Two classes or more, and a feature that varies."""
        if spec.n_classes < 2:
            return "the target is no classifier with two or more classes"
        return None if (spec.space.high > spec.space.low).any() else "no feature varies: widen the ranges"

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Look for both classes, ask round after round, check; see the module's docstring."""
        learner = _Learner(self, spec, rng, known.given)
        held, checks = Answers.none(len(spec.space)), min(self.check, budget // 10)
        try:
            yield from overheard(learner.rounds(budget - checks), learner.hear)
            learner.learn(ended=True)
            if checks:
                rows = spec.space.sample(checks, child(rng, "check"))
                held = (yield Ask(rows, "check", "selection", learner.model)).given
        except BudgetSpent as spent:
            learner.learn(ended=True)
            reason = f"the budget ended early; the copy has learned {len(learner.heard):,} answers"
            return Finding(learner.model(), Outcome.BUDGET_SPENT, reason, learner.evidence(spent.partial[:0]))
        return learner.verdict(held)


@dataclass(eq=False)
class _Learner:
    """What was heard, and the score functions that this leaves."""

    attack: KernelLabels
    spec: OracleSpec
    rng: np.random.Generator
    heard: Answers
    views: list[Posterior] = field(default_factory=list)
    """Of each kernel that may still be the target's, the likeliest first."""
    best: Posterior | None = None
    """Of class ``lead`` against the rest; of two classes, of the second one."""
    rest: dict[int, Posterior] = field(default_factory=dict)
    """Of each other class against the rest, where there are more than two; of the same kernel."""
    lead: int = 1
    looked: int = 0
    """Answers when γ was last looked at."""

    def __post_init__(self) -> None:
        self.view = OneHot(self.spec.space)
        if self.heard.labels is None:
            self.heard = Answers.none(len(self.spec.space))
        self.seen = {row.tobytes() for row in self.heard.rows}

    def hear(self, ask: Ask, answers: Answers) -> None:
        self.seen.update(row.tobytes() for row in answers.rows)
        if len(answers.given):
            self.heard = Answers.concat([self.heard, answers.given])

    # ── the conversation ────────────────────────────────────────────────────────────────────────────────

    def rounds(self, budget: int) -> Generator[Ask, Answers, None]:
        """Ask until the budget or the goal is reached."""
        space, left = self.spec.space, min(budget, self.attack.most)
        first = int(np.clip(2 * self.view.width, _FIRST, _WIDEST))
        asked = turn = 0
        while left > asked and not self.both and asked < _LOOK:
            wanted = min(asked or first, left - asked)
            rows = abroad(space, wanted, 0.5, child(self.rng, f"look {asked}"))
            yield Ask(rows, "both classes", snapshot=self.model)
            asked += wanted
        while self.both and asked < left:
            self.learn()
            own = child(self.rng, f"rows after {asked}")
            if self.attack.goal and self.expected() <= self.attack.goal:
                break
            wanted = min(max(1, round(self.attack.share * len(self.heard))), left - asked)
            turn += 1
            rows = self.next(wanted, 0.0 if turn % _EVERY else _EDGES, own, turn)
            if not len(rows):
                break  # every row of the space was asked
            yield Ask(rows, "halving", snapshot=self.model)
            asked += len(rows)

    def next(self, wanted: int, edges: float, rng: np.random.Generator, turn: int) -> Rows:
        """Rows on the boundary of the mean whose labels tell most; of more than two classes, around each in turn."""
        assert self.best is not None
        space, fits = self.spec.space, self.fits
        own = turn % len(fits)
        best = fits[own]

        def score(rows: Rows) -> Floats:
            scores = np.array([fit.mean(self.view.encode(rows)) for fit in fits])
            rest = np.delete(scores, own, axis=0)
            return np.asarray(scores[own] - rest.max(axis=0) if len(rest) else scores[own])

        coded = bool(indicators(space))  # one-hot columns: real rows are no uniform ones
        edges = _EDGES if coded else edges
        ends = np.concatenate([abroad(space, _ENDS, edges, rng), self.heard.rows[-_ENDS // 4 :]])
        inside = ((ends >= space.low) & (ends <= space.high)).all(axis=1)  # neither NaN nor −1
        with one_thread():
            count = max(_CANDIDATES, 3 * wanted)
            rows = zeros(space, score, ends[inside], count, rng)
            rows = unseen(rows, self.seen)
            if len(rows):
                among = abroad(space, _BESIDE[0], edges if coded else 0.0, rng)
                among = among[np.abs(score(among)).argpartition(_BESIDE[1])[: _BESIDE[1] + _BESIDE[2]]]
                rows = rows[best.telling(self.view.encode(rows), wanted, self.view.encode(among))]
        if len(rows) < wanted:  # steps and categories leave few rows on a boundary
            asked = self.seen | {row.tobytes() for row in rows}
            rows = np.concatenate([rows, unseen(abroad(space, 2 * wanted, edges, rng), asked)[: wanted - len(rows)]])
        return rows

    # ── the fit ─────────────────────────────────────────────────────────────────────────────────────────

    @property
    def both(self) -> bool:
        """Whether answers of two classes were heard."""
        return self.heard.labels is not None and len(np.unique(self.heard.labels)) > 1

    def signs(self, of: int) -> Floats:
        """+1 for the labels of a class, −1 for others."""
        assert self.heard.labels is not None
        return np.where(self.heard.labels == of, 1.0, -1.0)

    @property
    def fits(self) -> list[Posterior]:
        """Of the second of two classes; of more, of each."""
        assert self.best is not None
        return [self.rest.get(one, self.best) for one in range(self.spec.n_classes)] if self.rest else [self.best]

    def learn(self, ended: bool = False) -> None:
        """Fit all that was heard; look at γ anew where there is much more than at the last look."""
        if not self.both or (self.best is not None and len(self.best.rows) == len(self.heard) and not ended):
            return
        classes, rows = self.spec.n_classes, self.view.encode(self.heard.rows)
        if classes > 2 and self.best is None:  # the class nearest to a half tells most of the kernel
            assert self.heard.labels is not None
            counts = np.bincount(self.heard.labels, minlength=classes)
            self.lead = int(np.abs(counts / len(rows) - 0.5).argmin())
        with one_thread():
            self.best = self.fitted(rows, self.signs(self.lead), ended)
            whole = ended or len(rows) <= _WHOLE or len(rows) == self.looked
            for one in (one for one in range(classes) if classes > 2 and one != self.lead):
                found, signs = self.rest.get(one), self.signs(one)
                if whole or found is None:
                    sites = NONE if found is None else found.sites
                    self.rest[one] = Posterior.of(self.best.kernel, rows, signs, sites)
                else:
                    self.rest[one] = found.further(rows, signs)

    def fitted(self, rows: Floats, signs: Floats, ended: bool) -> Posterior:
        """The likeliest fit of the leading class."""
        if not self.views:
            asked = [self.attack.kernel] if self.attack.kernel != "auto" else list(_DEGREES)
            kernels = starts(self.view, [_DEGREES[name] for name in asked], self.uniform())
            grids = [[Posterior.of(kernel, rows, signs) for kernel in grid] for grid in kernels]
            self.views = [max(grid, key=lambda found: found.evidence) for grid in grids]
        elif len(rows) < _AGAIN * self.looked and (not ended or len(rows) > _TUNED):
            assert self.best is not None
            whole = ended or len(rows) <= _WHOLE
            return self.best.again(rows, signs) if whole else self.best.further(rows, signs)
        else:
            self.look(rows, signs)
        self.looked = len(rows)
        favour = _SIMPLER if ended else {}  # the copy's; rows are chosen by the likeliest
        self.views.sort(key=lambda found: -found.evidence - favour.get(found.kernel.degree or 0, 0.0))
        return self.views[0]

    def look(self, rows: Floats, signs: Floats) -> None:
        """Weigh all labels anew, and look at γ, the noise and the columns' scales while answers are not too many."""
        if len(rows) > _TUNED:
            self.views = [self.views[0].again(rows, signs)]
            return
        few, uniform = len(rows) <= _WHOLE, self.uniform()
        again = [afresh(one, rows, signs, uniform) if few else one.again(rows, signs) for one in self.views]
        least = max(found.evidence for found in again) - _HOPELESS
        views = [likeliest(found, signs, steps=2) for found in again if found.evidence > least]
        if _EACH * len(self.spec.space) <= len(rows):
            groups = np.repeat(np.arange(len(self.spec.space)), self.view.widths)
            views = [tuned(found, signs, groups) for found in views]
        # While answers are few, what is far behind may come back.
        self.views = views + [found for found in again if few and not found.evidence > least]

    def uniform(self) -> Floats:
        """Encoded uniform rows that tell typical distances, always the same."""
        return self.view.encode(self.spec.space.sample(_EXPECT, child(self.rng, "distances")))

    def model(self) -> KernelModel | None:
        """The best copy so far; a constant while one class only is seen."""
        classes = self.spec.classes or ()
        if self.best is None:
            if not len(self.heard):
                return None
            none, outputs = np.empty((0, self.view.width)), len(classes) if len(classes) > 2 else 1
            only = np.array([self.signs(one)[0] for one in ((1,) if outputs == 1 else range(outputs))])
            return KernelModel(self.spec.space, classes, none, np.empty((outputs, 0)), only, 1.0)
        kernel, weights = self.best.kernel, np.array([fit.weights for fit in self.fits])
        dual, bias = weights / kernel.unit, kernel.bias * weights.sum(axis=1)
        shape = float(kernel.gamma), kernel.scale, kernel.degree
        return KernelModel(self.spec.space, classes, self.best.rows, dual, bias, *shape)

    def expected(self) -> float:
        """The share of uniform rows whose labels the posterior expects the copy to get wrong."""
        rows = self.view.encode(self.spec.space.sample(_EXPECT, child(self.rng, "expected")))
        with one_thread():
            if not self.rest:
                return float(self.fits[0].doubts(rows).mean())
            means = np.array([fit.mean(rows) for fit in self.fits])
            variances = np.array([fit.variance(rows) for fit in self.fits])
        first, second = (-means).argsort(axis=0)[:2]
        each = np.arange(len(rows))
        apart = means[first, each] - means[second, each]
        return float(ndtr(-apart / np.sqrt(variances[first, each] + variances[second, each])).mean())

    # ── how far to trust it ─────────────────────────────────────────────────────────────────────────────

    def evidence(self, held: Answers) -> dict[str, Any]:
        told: dict[str, Any] = {"answers": len(self.heard)}
        if self.best is not None:
            told |= {
                "kernel": next(name for name, degree in _DEGREES.items() if degree == self.best.kernel.degree),
                "gamma": float(self.best.kernel.gamma),
                "noise": self.best.kernel.noise,
                "expected error": self.expected(),
            }
        model = self.model()
        if model is not None and len(held):
            assert held.labels is not None
            wrong = int((model.predict(held.rows) != model.classes_[held.labels]).sum())
            told |= {"held back": len(held), "of them wrong": wrong, "error below (95 %)": _bound(wrong, len(held))}
        return told

    def verdict(self, held: Answers) -> Finding:
        model, told, n = self.model(), self.evidence(held), len(self.heard)
        if model is None:
            return Finding(None, Outcome.NO_CONVERGENCE, "every row was refused", told)
        if self.best is None:
            bound = 1.0 - (1.0 - _SURE) ** (1.0 / n)
            reason = f"all {n:,} answers are {model.predict(self.heard.rows[:1]).tolist()[0]!r}: the copy is a constant"
            return Finding(model, Outcome.APPROXIMATE, reason, told | {"other class below (95 %)": bound})
        expected, wrong = told["expected error"], told.get("of them wrong", 0)
        reason = f"the copy is expected to err on {expected:.2%} of uniform rows"
        if len(held):
            reason += f"; of {len(held)} held-back rows it has {wrong} wrong"
        if wrong and stats.binom.sf(wrong - 1, len(held), expected) < _SURPRISE:
            return Finding(model, Outcome.CLASS_MISMATCH, f"{reason}: the target is not of this class", told)
        return Finding(model, Outcome.APPROXIMATE, reason, told)


def _bound(wrong: int, n: int) -> float:
    """The largest error that ``wrong`` of n leave likely, one-sided [ClopperPearson34]."""
    return 1.0 if wrong == n else float(stats.beta.ppf(_SURE, wrong + 1, n - wrong))
