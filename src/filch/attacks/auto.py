"""Extract-and-test: every attack that can run, on one shared set of answers [Tramèr16, §5.3].

Candidates run in the order of their unknowns. What one has paid is known to the next for free; all are held against
the same further rows. The first candidate whose fit verifies within the reveal's resolution ends the search, for a
later one could only tie with more parameters. Where the first does not, a few rows in the selection account tell what
the target looks like (`filch.attacks.texture`), so that steps are not searched for slopes, nor curves for steps. If
none verifies, the closest model is returned as ``none_fits``, with every candidate's outcome, residual and price as
evidence.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from filch.attacks.binned_linear import BinnedLinear
from filch.attacks.doubts import distances
from filch.attacks.kernel_logistic import KernelLogistic
from filch.attacks.logistic import Logistic
from filch.attacks.perceptron import Perceptron
from filch.attacks.perceptron_relu import PerceptronRelu
from filch.attacks.retraining import Retraining
from filch.attacks.texture import Texture, look, repeats
from filch.attacks.tree_bottom_up import TreeBottomUp
from filch.attacks.tree_top_down import TreeTopDown
from filch.core.answers import Answers
from filch.core.attack import Ask, Attack, Finding, Outcome, Steps, overheard
from filch.core.models import ExtractedModel, class_index
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent, UsageError

_LOOKS: Mapping[type, Texture] = {
    Perceptron: Texture.CURVED,
    KernelLogistic: Texture.CURVED,
    PerceptronRelu: Texture.STRAIGHT,
    TreeTopDown: Texture.STEPS,
    TreeBottomUp: Texture.STEPS,
    BinnedLinear: Texture.STEPS,
}
"""What the targets of an attack look like; any, if it is not here."""
_OPEN_ENDED = (
    KernelLogistic,
    TreeTopDown,
    TreeBottomUp,
    BinnedLinear,
)  # they may take any budget: at most half of what is left
_DEFAULT = (
    Logistic(),
    Perceptron(method="slopes"),
    PerceptronRelu(),
    TreeTopDown(),
    TreeBottomUp(),
    BinnedLinear(ovr=False),
    KernelLogistic(local=0),
    Perceptron(method="scratch"),
    Retraining(),
)


@dataclass(frozen=True)
class Auto:
    """Find out what the target is by extracting it in every way that applies.

    Parameters
    ----------
    check : int, default 32
        Held-back rows by which candidates are ranked where none verifies.
    candidates : tuple of Attack, optional
        Tried in this order; by default logistic models, networks, trees, additive and kernel models, and, for what
        none of them fits, `Retraining`.

    Raises
    ------
    UsageError
        No candidates, or ``check`` below 1.
    """

    check: int = 32
    candidates: tuple[Attack, ...] = _DEFAULT

    def __post_init__(self) -> None:
        if not self.candidates or self.check < 1:
            raise UsageError("Auto needs at least one candidate and check ≥ 1")

    def needs(self, spec: OracleSpec) -> str | None:
        """At least one candidate that can run."""
        reasons = {type(candidate): candidate.needs(spec) for candidate in self.candidates}
        return None if None in reasons.values() else "; ".join(reason for reason in reasons.values() if reason)

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Run each candidate on what is known by then; stop at the first that verifies."""
        contest = _Contest(spec, known)
        texture: Texture | None = None
        able = [candidate for candidate in self.candidates if candidate.needs(spec) is None]
        for place, candidate in enumerate(able):
            if contest.found and len(able) > 1:
                yield from contest.hold_back(min(self.check, (budget - contest.paid) // 2), child(rng, "held back"))
            looked_for = _LOOKS.get(type(candidate))
            if isinstance(candidate, BinnedLinear) and spec.omission:
                looked_for = None  # attributes alone tell soon whether it is one, and lines beside steps hide the steps
            if contest.found and looked_for is not None:
                if texture is None:
                    texture = yield from contest.look(child(rng, "texture"))
                if texture not in (looked_for, Texture.UNKNOWN):
                    continue
                one_tree = looked_for is Texture.STEPS and not isinstance(candidate, BinnedLinear)
                if one_tree and not repeats(contest.held.given):
                    continue
            left = budget - contest.paid
            if isinstance(candidate, _OPEN_ENDED) and place < len(able) - 1:
                left //= 2
            name = _name(candidate, contest.found)
            finding = yield from contest.run(name, candidate, child(rng, name), left)
            if finding.outcome is Outcome.VERIFIED:
                return contest.won(name)
        return contest.verdict(texture)


@dataclass(eq=False)
class _Contest:
    """What the candidates were answered, and what came of each."""

    spec: OracleSpec
    known: Answers
    found: dict[str, Finding] = field(default_factory=dict)
    prices: dict[str, int] = field(default_factory=dict)
    paid: int = 0

    def __post_init__(self) -> None:
        self.learned, self.held = self.known, Answers.none(len(self.spec.space))

    def run(self, name: str, candidate: Attack, rng: np.random.Generator, budget: int) -> Steps:
        """Let a candidate ask what it likes within its budget, and learn from what others paid for."""
        before = self.paid
        steps = candidate.steps(self.spec, rng, budget=max(budget, 0), known=self.learned)
        finding = yield from overheard(_capped(steps, budget), self.note, name=name, fallback=self.closest())
        self.found[name], self.prices[name] = finding, self.paid - before
        return finding

    def note(self, ask: Ask, answers: Answers) -> None:
        self.paid += len(answers)
        if ask.account == "selection":
            self.held = Answers.concat([self.held, answers])
        else:
            self.learned = Answers.concat([self.learned, answers])

    def hold_back(self, wanted: int, rng: np.random.Generator) -> Generator[Ask, Answers, None]:
        """Have so many rows to rank candidates by."""
        missing = wanted - len(self.held)
        if missing > 0:
            best = self.closest()
            ask = Ask(self.spec.space.sample(missing, rng), "held back", "selection", lambda: best)
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

    # ── the result ──────────────────────────────────────────────────────────────────────────────────────

    def ranked(self) -> dict[str, dict[str, object]]:
        """Sort the candidates by residual, ties by fewer parameters."""
        held = self.held.given
        table = []
        for name, finding in self.found.items():
            size = finding.model.n_parameters if finding.model is not None else 0
            residual = _residual(finding.model, held, self.spec)
            table.append((finding.model is None, residual, size, name, finding.outcome.value))
        return {
            name: {"residual": residual, "parameters": size, "outcome": outcome, "queries": self.prices[name]}
            for _, residual, size, name, outcome in sorted(table)
        }

    def closest(self) -> ExtractedModel | None:
        """The best model so far."""
        return self.found[next(iter(self.ranked()))].model if self.found else None

    def won(self, name: str) -> Finding:
        """The finding of a candidate that verified."""
        finding = self.found[name]
        evidence = {**finding.evidence, "attack": name, "candidates": self.ranked()}
        return Finding(finding.model, finding.outcome, f"{name}: {finding.reason}", evidence)

    def verdict(self, texture: Texture | None) -> Finding:
        """Return the closest model, as fitting only if nothing held back tells it from the target."""
        if not self.found:
            return Finding(None, Outcome.BUDGET_SPENT, "the budget left no candidate a row", {})
        ranked = self.ranked()
        name, facts = next(iter(ranked.items()))
        best, held = self.found[name], len(self.held)
        evidence = {**best.evidence, "attack": name, "candidates": ranked, "held back": held}
        evidence |= {"texture": texture.value} if texture is not None else {}
        if best.outcome in (Outcome.UNVERIFIED, Outcome.BUDGET_SPENT) and len(self.found) == 1:
            return Finding(best.model, best.outcome, f"{name}: {best.reason}", evidence)
        if facts["residual"] == 0.0:
            return Finding(best.model, Outcome.APPROXIMATE, f"{name} agrees on all {held} held-back rows", evidence)
        reason = f"no candidate fits; {name} is closest, {facts['residual']:.2g} off on {held} held-back rows"
        return Finding(best.model, Outcome.NONE_FITS, reason, evidence)


def _name(candidate: Attack, taken: Mapping[str, object]) -> str:
    """Name a candidate after its class, a second one of the same class by a number."""
    name, number = type(candidate).__name__, 2
    while name in taken:
        name, number = f"{type(candidate).__name__} {number}", number + 1
    return name


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
