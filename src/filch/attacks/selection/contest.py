"""A contest of attacks for one target: what candidates were answered, and what came of each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from filch.attacks.doubts import distances
from filch.attacks.selection.edges import Edges, coarse
from filch.attacks.selection.edges import look as edges
from filch.attacks.selection.texture import Texture, look
from filch.core.answers import Answers
from filch.core.attack import Ask, Attack, Finding, Outcome, Steps, called, overheard
from filch.core.models import ExtractedModel, class_index
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent

_LOOSE = 0.05  # share of held-back labels that a copy from labels alone may have wrong and still be one
_DOUBT = 3  # held-back labels by which a candidate that labels contradict must be closer than others
_UNIFORM = "held back"
_CLEARLY = 2  # held-back labels by which a candidate must be closer than the first


@dataclass(eq=False)
class Contest:
    """What the candidates were answered, and what came of each.

    Parameters
    ----------
    spec : OracleSpec
    known : Answers
        Paid before.
    """

    spec: OracleSpec
    known: Answers
    found: dict[str, Finding] = field(default_factory=dict)
    prices: dict[str, int] = field(default_factory=dict)
    paid: int = 0
    last: int = field(default=0, init=False)
    """Rows that the last candidate asked."""
    beside: bool = field(default=False, init=False)
    doubted: set[str] = field(default_factory=set)
    """Candidates that labels contradict: they are the closest only if they clearly are."""

    def __post_init__(self) -> None:
        self.learned, self.held = self.known, Answers.none(len(self.spec.space))

    def run(self, name: str, candidate: Attack, rng: np.random.Generator, budget: int) -> Steps:
        """Let a candidate ask what it likes within its budget, and learn from what others paid for."""
        before = self.paid
        steps = candidate.steps(self.spec, rng, budget=max(budget, 0), known=self.learned)
        finding = yield from overheard(_capped(steps, budget), self.note, name=name, fallback=self.closest())
        self.found[name], self.prices[name] = finding, self.paid - before
        return finding

    def go(self, candidate: Attack, rng: np.random.Generator, budget: int, beside: bool = False) -> Steps:
        """Let a candidate run, or go on: with all answers so far, under the same name, with rows of its own.

        ``beside``: the rows by which it checks itself lie beside its boundary, and do not tell candidates apart.
        """
        name = called(candidate)
        price = self.prices.get(name)
        self.found.pop(name, None)  # the last to run comes last
        kind = type(candidate).__name__
        rng = child(rng, kind) if price is None else child(rng, kind, f"after {self.paid}")
        self.beside = beside
        finding = yield from self.run(name, candidate, rng, budget)
        self.beside = False
        self.last, self.prices[name] = self.prices[name], self.prices[name] + (price or 0)
        return finding

    def note(self, ask: Ask, answers: Answers) -> None:
        """Pay for rows, and keep their answers by account."""
        self.paid += len(answers)
        if ask.account == "selection" and (ask.phase == _UNIFORM or not self.beside):
            self.held = Answers.concat([self.held, answers])
        else:
            self.learned = Answers.concat([self.learned, answers])

    def hold_back(self, wanted: int, rng: np.random.Generator) -> Generator[Ask, Answers, None]:
        """Have so many rows to rank candidates by."""
        missing = wanted - len(self.held)
        if missing > 0:
            best = self.closest()
            ask = Ask(self.spec.space.sample(missing, rng), _UNIFORM, "selection", lambda: best)
            try:
                self.note(ask, (yield ask))
            except BudgetSpent as spent:
                self.note(ask, spent.partial)

    def look(self, rng: np.random.Generator) -> Generator[Ask, Answers, Texture]:
        """What the target looks like from near by."""
        seen = Answers.concat([self.learned, self.held]).given if len(self.learned) or len(self.held) else self.held
        texture = yield from overheard(look(self.spec, seen, rng), self.count)
        return texture

    def count(self, ask: Ask, answers: Answers) -> None:
        """Pay for rows that are neither learned from nor held back: they lie too close to others."""
        self.paid += len(answers)

    def look_at_edges(self, places: int, rng: np.random.Generator) -> Generator[Ask, Answers, Edges]:
        """What the boundary looks like from near by; candidates learn from the rows that do not lie too close."""
        steps = edges(self.spec, Answers.concat([self.learned, self.held]).given, places, rng)
        asks = itertools.count()

        def note(ask: Ask, answers: Answers) -> None:
            (self.note if next(asks) < coarse(self.spec.space) else self.count)(ask, answers)

        told = yield from overheard(steps, note, fallback=self.closest())
        return told

    def goal_reached(self, candidate: Attack, share: int) -> bool:
        """Whether the candidate that ran last left some of its share, and no held-back label is wrong."""
        return self.last < share and not self.wrong(self.found[called(candidate)].model)

    def foremost(self, candidates: Sequence[Attack], rng: np.random.Generator) -> Attack:
        """The candidate whose copy of all answers so far errs least on those held back; the first, if not clearly."""
        wrong = [self.wrong(self.copy(one, child(rng, type(one).__name__))) for one in candidates]
        least = min(range(len(wrong)), key=wrong.__getitem__)
        return candidates[least if wrong[least] + _CLEARLY <= wrong[0] else 0]

    def copy(self, candidate: Attack, rng: np.random.Generator) -> ExtractedModel | None:
        """The copy that a candidate makes of all answers so far, for no query."""
        name = called(candidate)
        if name in self.found and name == list(self.found)[-1]:
            return self.found[name].model
        finding = answered_nothing(candidate.steps(self.spec, rng, budget=0, known=self.learned))
        return finding.model

    def wrong(self, model: ExtractedModel | None) -> int:
        """The number of held-back labels that a model gets wrong."""
        held = self.held.given
        return round(_residual(model, held, self.spec) * len(held))

    # ── the result ──────────────────────────────────────────────────────────────────────────────────────

    def ranked(self) -> dict[str, dict[str, object]]:
        """Sort the candidates by residual, ties by fewer parameters; from labels alone, by which learned last."""
        held, labels = self.held.given, self.spec.reveal.level == "labels"
        table = []
        for place, (name, finding) in enumerate(self.found.items()):
            size = finding.model.n_parameters if finding.model is not None else 0
            residual = _residual(finding.model, held, self.spec)
            behind = residual + _DOUBT / max(1, len(held)) * (name in self.doubted)
            table.append((finding.model is None, behind, -place if labels else size, name, residual, size))
        return {
            name: {
                "residual": residual,
                "parameters": size,
                "outcome": self.found[name].outcome.value,
                "queries": self.prices[name],
            }
            for *_, name, residual, size in sorted(table)
        }

    def closest(self) -> ExtractedModel | None:
        """The best model so far."""
        return self.found[next(iter(self.ranked()))].model if self.found else None

    def won(self, name: str) -> Finding:
        """The finding of a candidate that verified."""
        finding = self.found[name]
        evidence = {**finding.evidence, "attack": name, "candidates": self.ranked()}
        return Finding(finding.model, finding.outcome, f"{name}: {finding.reason}", evidence)

    def verdict(self, **told: object) -> Finding:
        """Return the closest model, as fitting only if nothing held back tells it from the target.

        Of a copy from labels alone a few held-back labels may differ. ``told`` is further evidence.
        """
        if not self.found:
            return Finding(None, Outcome.BUDGET_SPENT, "the budget left no candidate a row", {})
        ranked = self.ranked()
        name, facts = next(iter(ranked.items()))
        best, held = self.found[name], len(self.held)
        evidence = {**best.evidence, "attack": name, "candidates": ranked, "held back": held, **told}
        if not held or (best.outcome in (Outcome.UNVERIFIED, Outcome.BUDGET_SPENT) and len(self.found) == 1):
            return Finding(best.model, best.outcome, f"{name}: {best.reason}", evidence)
        residual, labels = facts["residual"], self.spec.reveal.level == "labels"
        assert isinstance(residual, float)
        if labels and held and 0.0 < residual <= _LOOSE:
            reason = f"{name} is closest, with {residual:.2g} of {held} held-back labels wrong"
            return Finding(best.model, Outcome.APPROXIMATE, reason, evidence)
        if residual == 0.0:
            return Finding(best.model, Outcome.APPROXIMATE, f"{name} agrees on all {held} held-back rows", evidence)
        reason = f"no candidate fits; {name} is closest, {residual:.2g} off on {held} held-back rows"
        return Finding(best.model, Outcome.NONE_FITS, reason, evidence)


def name_of(candidate: Attack, taken: Mapping[str, object]) -> str:
    """Name a candidate, a second one of the same class by a number."""
    name, number = called(candidate), 2
    while name in taken:
        name, number = f"{called(candidate)} {number}", number + 1
    return name


def answered_nothing(steps: Steps) -> Finding:
    """What an attack finds if its budget is 0."""
    try:
        next(_capped(steps, 0))
    except StopIteration as stop:
        finding: Finding = stop.value
        return finding
    raise AssertionError("an attack asked beyond its budget")


def paused(
    steps: Steps, after: int, elsewhere: Callable[[ExtractedModel | None], Generator[Ask, Answers, bool]]
) -> Generator[Ask, Answers, tuple[bool, Finding]]:
    """Interrupt an attack once after so many rows; whether ``elsewhere`` stopped it, and its finding."""
    paid, stopped = 0, False
    try:
        ask = next(steps)
        while True:
            if 0 <= after <= paid:
                after = -1
                if (yield from elsewhere(ask.snapshot() if ask.snapshot else None)):
                    stopped = True
                    ask = steps.throw(BudgetSpent(Answers.none(ask.rows.shape[1])))
                    continue
            try:
                answers = yield ask
            except BudgetSpent as spent:
                ask = steps.throw(spent)
            else:
                paid += len(answers)
                ask = steps.send(answers)
    except StopIteration as stop:
        finding: Finding = stop.value
        return stopped, finding


def _capped(steps: Steps, budget: int) -> Steps:
    """Throw `BudgetSpent` into a candidate at its own budget, as the driver does at the whole one."""
    try:
        ask = next(steps)
        while True:
            part = ask if len(ask.rows) <= budget else replace(ask, rows=ask.rows[:budget])
            try:
                answers = (yield part) if len(part.rows) else Answers.none(ask.rows.shape[1])
            except BudgetSpent as spent:
                ask = steps.throw(spent)
                continue
            budget -= len(answers)
            ask = steps.send(answers) if part is ask else steps.throw(BudgetSpent(answers))
    except StopIteration as stop:
        finding: Finding = stop.value
        return finding


def _residual(model: ExtractedModel | None, held: Answers, spec: OracleSpec) -> float:
    """Mean total variation, label error or relative error on the held-back rows; 1 where it cannot be told."""
    if model is None or not len(held):
        return 1.0
    if spec.classes is None:
        assert held.value is not None
        span = float(np.ptp(held.value)) or 1.0
        return float(np.abs(model.predict(held.rows) - held.value).mean() / span)
    if held.probabilities is not None and hasattr(model, "predict_proba"):
        return float(distances(model, held).mean())
    return float((class_index(model.predict(held.rows), spec.classes) != held.labels).mean())
