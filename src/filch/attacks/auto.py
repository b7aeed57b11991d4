"""Extract-and-test: every attack that can run, on one shared set of answers [Tramèr16, §5.3].

Candidates run in the order of their unknowns. What one has paid is known to the next for free; all are held against
the same further rows. The first candidate whose fit verifies within the reveal's resolution ends the search, for a
later one could only tie with more parameters. Where the first does not, a few rows in the selection account tell what
the target looks like (`filch.attacks.selection.texture`), so that steps are not searched for slopes, nor curves for
steps. If none verifies, the closest model is returned as ``none_fits``, with every candidate's outcome, residual and
price as evidence.

Labels alone verify linear models only. What they are kin to beyond that is told by surrogates on a few uniform rows
(`filch.attacks.selection.kin`), and the attack on the closest kind has the rest of the budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from filch.attacks.binned_linear import BinnedLinear
from filch.attacks.committee import Committee
from filch.attacks.halfspace import Halfspace
from filch.attacks.kernel_labels import KernelLabels
from filch.attacks.kernel_logistic import KernelLogistic
from filch.attacks.linear_regression import Linear
from filch.attacks.logistic import Logistic
from filch.attacks.perceptron import Perceptron
from filch.attacks.perceptron_relu import PerceptronRelu
from filch.attacks.retraining import Retraining
from filch.attacks.selection import kin
from filch.attacks.selection.contest import Contest, name_of
from filch.attacks.selection.texture import Texture, repeats
from filch.attacks.softmax_labels import SoftmaxLabels
from filch.attacks.tree_bottom_up import TreeBottomUp
from filch.attacks.tree_top_down import TreeTopDown
from filch.core.answers import Answers
from filch.core.attack import Ask, Attack, Outcome, Steps
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
_KIN: Mapping[type, tuple[str, ...]] = {
    Halfspace: ("linear-svm",),
    SoftmaxLabels: ("softmax",),
    KernelLabels: ("rbf-svm",),
    Committee: ("mlp",),
    Retraining: ("poly-svm", "tree", "boosting"),
}
"""The surrogates that an attack on labels does better than, or uses."""
_BY_LABELS = *_LINEAR, KernelLabels, Committee  # not run where more than labels is shown
_OPEN_ENDED = (  # they may take any budget: at most half of what is left
    BinnedLinear,
    KernelLogistic,
    TreeBottomUp,
    TreeTopDown,
)
_SHARE = 4  # of what is left, one part is for rows that tell kinds apart
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
    candidates : tuple of Attack, optional
        Tried in this order; by default linear and logistic models, networks, trees, additive and kernel models; from
        labels alone linear models, kernel machines, networks; and, for what none of them fits, `Retraining`.

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
        able = [candidate for candidate in self.candidates if candidate.needs(spec) is None]
        if spec.reveal.level == "labels" and any(type(candidate) in _KIN for candidate in able):
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
            finding = yield from contest.run(name, candidate, child(rng, name), left)
            if finding.outcome is Outcome.VERIFIED:
                return contest.won(name)
        return contest.verdict(**({"texture": texture.value} if texture is not None else {}))

    def by_labels(self, able: Sequence[Attack], contest: Contest, rng: np.random.Generator, budget: int) -> Steps:
        """Try what labels can verify, with half of the budget; leave the rest to the attack on what they are kin to."""
        told: dict[str, object] = {}
        linear = [candidate for candidate in able if type(candidate) in _LINEAR][:1]  # of two classes either would do
        rest = linear + [one for one in able if type(one) in _KIN and type(one) not in _LINEAR]
        for candidate in linear:
            name, left = name_of(candidate, contest.found), budget - contest.paid
            finding = yield from contest.run(name, candidate, child(rng, name), left if len(able) == 1 else left // 2)
            if finding.outcome is Outcome.VERIFIED:
                return contest.won(name)
            if finding.outcome in (Outcome.NONE_FITS, Outcome.CLASS_MISMATCH):
                rest.remove(candidate)
        if len(rest) > 1:
            yield from contest.hold_back(min(self.check, (budget - contest.paid) // 2), child(rng, "held back"))
            few = min(kin.enough(contest.spec), (budget - contest.paid) // _SHARE)
            ask = Ask(contest.spec.space.sample(few, child(rng, "kin")), "kin", snapshot=contest.closest)
            uniform = (yield ask) if few else Answers.none(len(contest.spec.space))
            contest.note(ask, uniform)
            families = dict.fromkeys(name for candidate in rest for name in _KIN[type(candidate)])
            told["kin"] = errors = kin.errors(families, contest.spec, uniform.given, child(rng, "kin"))
            rest = [min(rest, key=lambda candidate: min(errors[name] for name in _KIN[type(candidate)]))]
        for candidate in rest if budget > contest.paid else ():
            name = name_of(candidate, contest.found)
            finding = yield from contest.run(name, candidate, child(rng, name), budget - contest.paid)
            if finding.outcome is Outcome.VERIFIED:
                return contest.won(name)
        return contest.verdict(**told)
