"""Extract-and-test: every attack that can run, on one shared set of answers [Tramèr16, §5.3].

Candidates run in the order of their unknowns. What one has paid is known to the next for free; all are held against
the same further rows. The first candidate whose fit verifies within the reveal's resolution ends the search, for a
later one could only tie with more parameters. Where the first does not, a few rows in the selection account tell what
the target looks like (`filch.attacks.selection.texture`), so that steps are not searched for slopes, nor curves for
steps. If none verifies, the closest model is returned as ``none_fits``, with every candidate's outcome, residual and
price as evidence.

Labels alone verify linear models only, and their attack soon tells that a target is none. Then a few places of its
boundary are looked at from near by (`filch.attacks.selection.edges`): steps are left to the attack on trees, slopes to
that on kernel machines. After half of what is left, the copies that the other attacks make of all answers so far, which
costs no query, are held against the same further rows, and the best has the rest.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from filch.attacks import make
from filch.attacks.binned_linear import BinnedLinear
from filch.attacks.committee import Committee
from filch.attacks.halfspace import Halfspace
from filch.attacks.kernel_labels import KernelLabels
from filch.attacks.kernel_logistic import KernelLogistic
from filch.attacks.linear.design import Design
from filch.attacks.linear_regression import Linear
from filch.attacks.logistic import Logistic
from filch.attacks.perceptron import Perceptron
from filch.attacks.perceptron_relu import PerceptronRelu
from filch.attacks.retraining import Retraining
from filch.attacks.selection.contest import Contest, name_of, paused
from filch.attacks.selection.edges import Edges, price, tells
from filch.attacks.selection.texture import Texture, repeats
from filch.attacks.softmax_labels import SoftmaxLabels
from filch.attacks.tree_bottom_up import TreeBottomUp
from filch.attacks.tree_labels import TreeLabels
from filch.attacks.tree_top_down import TreeTopDown
from filch.core.answers import Answers
from filch.core.attack import Ask, Attack, Outcome, Steps, called
from filch.core.models import ExtractedModel
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.errors import UsageError

_LOOKS: Mapping[type, Texture] = {
    Perceptron: Texture.CURVED,
    KernelLogistic: Texture.CURVED,
    PerceptronRelu: Texture.STRAIGHT,
    TreeTopDown: Texture.STEPS,
    TreeBottomUp: Texture.STEPS,
    BinnedLinear: Texture.STEPS,
}
"""What the targets of an attack look like; any, if it is not here."""
_LINEAR: tuple[type, ...] = Halfspace, SoftmaxLabels  # labels can verify these
_RACES: Mapping[Edges, tuple[type, ...]] = {
    Edges.STEPS: (TreeLabels,),
    Edges.SLOPES: (KernelLabels, Committee),
    Edges.UNKNOWN: (KernelLabels, TreeLabels, Committee),
}
"""By what boundaries look like, the attacks on labels that come into question; the first one begins."""
_BY_LABELS = *_LINEAR, KernelLabels, Committee, TreeLabels  # not run where more than labels is shown
_OWN = *_BY_LABELS, Retraining  # run on labels
_OPEN_ENDED = (  # they may take any budget: at most half of what is left
    BinnedLinear,
    KernelLogistic,
    TreeBottomUp,
    TreeTopDown,
)
_EARLY = 10  # rows an unknown after which a copy of a linear target has fewer …
_FAR = 2  # … than so many held-back labels wrong
_HELD, _LOOK = 10, 3  # of what is left, one part is held back, and one at most is for a look at the boundary
_PLACES = 4  # to look at
_MOST = 2**62  # rows for any other attack
_KERNEL = 2_000  # rows for kernel machines of each class but the first: time grows as their cube
_DEFAULT = (
    Linear(),
    Logistic(),
    Perceptron(method="slopes"),
    PerceptronRelu(),
    TreeTopDown(),
    TreeBottomUp(),
    BinnedLinear(ovr=False),
    KernelLogistic(local=0),
    Perceptron(method="scratch"),
    Halfspace(),
    SoftmaxLabels(),
    KernelLabels(),
    TreeLabels(),
    Committee(),
    Retraining(),
)


@dataclass(frozen=True)
class Auto:
    """Find out what the target is by extracting it in every way that applies.

    Parameters
    ----------
    check : int, default 32
        Held-back rows by which candidates are ranked where none verifies.
    candidates : tuple of Attack or str, optional
        Tried in this order; by default linear and logistic models, networks, trees, additive and kernel models; from
        labels alone linear models, kernel machines, trees, networks; and, for what none of them fits, `Retraining`.

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
        made = tuple(make(one) if isinstance(one, str) else one for one in self.candidates)
        object.__setattr__(self, "candidates", made)

    def needs(self, spec: OracleSpec) -> str | None:
        """At least one candidate that can run."""
        reasons = {type(candidate): candidate.needs(spec) for candidate in self.candidates}
        return None if None in reasons.values() else "; ".join(reason for reason in reasons.values() if reason)

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Run each candidate on what is known by then; stop at the first that verifies."""
        able = [candidate for candidate in self.candidates if candidate.needs(spec) is None]
        if spec.reveal.level == "labels" and any(isinstance(candidate, _OWN) for candidate in able):
            return (yield from self.by_labels(able, Contest(spec, known), rng, budget))
        ways = [one for one in able if not isinstance(one, _BY_LABELS)]
        return (yield from self.in_turn(ways or able, Contest(spec, known), rng, budget))

    def in_turn(self, able: Sequence[Attack], contest: Contest, rng: np.random.Generator, budget: int) -> Steps:
        """Run the candidates one after the other, but for those whose targets look different."""
        texture: Texture | None = None
        for place, candidate in enumerate(able):
            if contest.found and len(able) > 1:
                yield from contest.hold_back(min(self.check, (budget - contest.paid) // 2), child(rng, "held back"))
            looked_for = _LOOKS.get(type(candidate))
            if isinstance(candidate, BinnedLinear) and contest.spec.omission:
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
            name = name_of(candidate, contest.found)
            own = child(rng, type(candidate).__name__, *name.split()[1:])
            finding = yield from contest.run(name, candidate, own, left)
            if finding.outcome is Outcome.VERIFIED:
                return contest.won(name)
        return contest.verdict(**({"texture": texture.value} if texture is not None else {}))

    def by_labels(self, able: Sequence[Attack], contest: Contest, rng: np.random.Generator, budget: int) -> Steps:
        """Try what labels can verify; leave what is left to the attacks on what the boundary looks like."""
        linear = [one for one in able if isinstance(one, _LINEAR)][:1]  # of two classes either would do
        others = [one for one in able if isinstance(one, _OWN) and not isinstance(one, _LINEAR)]
        told: dict[str, str] = {}
        for candidate in linear:
            finding = yield from self.line(candidate, contest, rng, budget, bool(others), told)
            if finding.outcome is Outcome.VERIFIED:
                return contest.won(called(candidate))
            if finding.outcome is Outcome.BUDGET_SPENT and called(candidate) not in contest.doubted:
                return contest.verdict(**told)
        if others and budget > contest.paid:
            held = min(self.check, (budget - contest.paid) // _HELD)
            yield from contest.hold_back(held, child(rng, "held back"))
            if len(others) > 1 and "edges" not in told:
                places = self.places(contest, budget - contest.paid)
                told["edges"] = (yield from contest.look_at_edges(places, child(rng, "edges"))).value
            order = {kind: place for place, kind in enumerate(_RACES[Edges(told.get("edges", Edges.UNKNOWN))])}
            racers = sorted((one for one in others if type(one) in order), key=lambda one: order[type(one)])
            yield from self.race(racers or others[:1], contest, rng, budget)
        return contest.verdict(**told)

    def line(
        self,
        candidate: Attack,
        contest: Contest,
        rng: np.random.Generator,
        budget: int,
        others: bool,
        told: dict[str, str],
    ) -> Steps:
        """Run a linear attack. After a while, where others are left to try, see whether it is right elsewhere, too."""
        enough = _EARLY * Design(contest.spec.space).size * (contest.spec.n_classes - 1)
        pause = min(enough, budget // 2)
        held = min(self.check, (budget - pause) // _HELD)
        places = self.places(contest, budget - pause - held) if pause < enough else 0

        def elsewhere(model: ExtractedModel | None) -> Generator[Ask, Answers, bool]:
            yield from contest.hold_back(held, child(rng, "held back"))
            if pause == enough:
                return contest.wrong(model) >= _FAR
            told["edges"] = (yield from contest.look_at_edges(places, child(rng, "edges"))).value
            return told["edges"] == Edges.STEPS

        aside = held + places * price(contest.spec.space) if others else 0
        steps = contest.go(candidate, rng, budget - aside, beside=True)
        stopped, finding = yield from paused(steps, pause, elsewhere) if others else paused(steps, budget, elsewhere)
        if stopped or finding.outcome in (Outcome.NONE_FITS, Outcome.CLASS_MISMATCH):
            contest.doubted.add(called(candidate))
        return finding

    def places(self, contest: Contest, left: int) -> int:
        """At how many places of the boundary to look: as many as a part of what is left pays for."""
        return min(_PLACES, left // (_LOOK * price(contest.spec.space))) if tells(contest.spec.space) else 0

    def race(
        self, racers: Sequence[Attack], contest: Contest, rng: np.random.Generator, budget: int
    ) -> Generator[Ask, Answers, None]:
        """Let the first begin; half-way, leave the rest to whose copy of all answers so far is the best."""
        entrants, best, half = list(racers), racers[0], len(racers) > 1
        while entrants and (left := budget - contest.paid) > 0:
            share = min(max(1, left // 2) if half else left, self.room(best, contest))
            if share:
                finding = yield from contest.go(best, rng, share)
                if finding.outcome is Outcome.APPROXIMATE and contest.goal_reached(best, share):
                    return
                if isinstance(best, KernelLabels):  # what it expects is not so, if it ended early
                    entrants[entrants.index(best)] = best = replace(best, goal=0.0)
            if not half:
                entrants.remove(best)
            half = False
            if entrants and budget > contest.paid:
                best = contest.foremost(entrants, child(rng, "half-way"))

    def room(self, candidate: Attack, contest: Contest) -> int:
        """The most rows that a candidate may still ask."""
        if not isinstance(candidate, KernelLabels):
            return _MOST
        return max(0, _KERNEL // (contest.spec.n_classes - 1) - contest.prices.get(called(candidate), 0))
