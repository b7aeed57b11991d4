"""Model inversion: a row that a classifier takes for a given class, such as a face from a person's name.

MI-FACE [Fredrikson15, Alg. 1], [Tramèr16, §4.1.4]: gradient ascent on ``log f_label`` inside the ranges, from their
middle, until the class is answered with confidence. `invert` does it on a model that one has, such as an extracted one,
and asks nothing. `Inversion` does it through an oracle, with gradients by central differences: two queries a column
and 16 for each line search; it needs all probabilities. Both move numeric columns; categories stay as they start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from filch.core.answers import Answers
from filch.core.attack import MOST_BYTES, Ask, Finding, Outcome, Steps
from filch.core.encoding import OneHot
from filch.core.features import FeatureSpace, Rows
from filch.core.models import class_index
from filch.core.oracle import ClassName, OracleSpec
from filch.core.seeds import child
from filch.errors import BudgetSpent, UsageError

Floats = npt.NDArray[np.float64]
_SMALLEST = 1e-6  # of half a range: a step below which an ascent has ended
_SIZES = 0.05 * 1.5 ** np.arange(16)  # of the steps that a line search tries, in halves of the ranges
_TINY = 1e-300  # stands for a probability of 0


class Differentiable(Protocol):
    """A classifier with a gradient: `LogisticModel`, `PerceptronModel`, `KernelModel`, or one of your own."""

    @property
    def space(self) -> FeatureSpace:
        """The raw columns."""
        ...

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The class names."""
        ...

    def predict_proba(self, X: pd.DataFrame | Rows) -> Floats:
        """Class probabilities, of shape (n, c)."""
        ...

    def gradient(self, X: pd.DataFrame | Rows, index: int) -> Floats:
        """The gradient of ``log f_index`` in the raw numeric columns, of shape (n, d); 0 for categories."""
        ...


@dataclass(frozen=True, eq=False)
class Inverted:
    """What an inversion found.

    Attributes
    ----------
    row : (d,)
        A coded row; its integers and stepped numbers are not on their grid (`FeatureSpace.snap` moves them there).
    label : object
        The class.
    probability : float
        The model's probability of the class there.
    steps : int
        Gradient steps taken.
    """

    row: Rows
    label: Any
    probability: float
    steps: int


def invert(
    model: Differentiable,
    label: Any,
    *,
    start: npt.ArrayLike | None = None,
    confidence: float = 0.99,
    step: float = 0.1,
    steps: int = 300,
) -> Inverted:
    """Find a row that a model takes for a class, by gradient ascent from the middle of the ranges.

    The column that changes fastest moves by ``step`` of half its range, the others in proportion, none out of its
    range. A step that does not raise the probability is halved, one that does makes the next one longer.

    Parameters
    ----------
    model : LogisticModel, PerceptronModel, KernelModel, or any other with ``gradient``
        Usually what `extract` returned.
    label : object
        One of ``model.classes_``.
    start : (d,), optional
        The coded row to start from; by default the middle of all ranges, and the first category of each column.
    confidence : float, default 0.99
        The probability to stop at. Beyond it the row only moves into the corners of the ranges.
    step : float, default 0.1
        The first step, in halves of the ranges.
    steps : int, default 300
        The most gradient steps.

    Raises
    ------
    UsageError
        A model without a gradient, no such class, or a parameter out of range.

    Examples
    --------
    >>> import filch
    >>> from filch.models import LogisticModel
    >>> space = filch.FeatureSpace.box([0, 0], [10, 10])
    >>> model = LogisticModel(space, ("low", "high"), np.array([[8.0, 0.0]]), np.array([0.0]))
    >>> invert(model, "high").row.round(1).tolist()
    [8.7, 5.0]
    """
    if not hasattr(model, "gradient") or not hasattr(model, "predict_proba"):
        raise UsageError(
            f"{type(model).__name__} has no gradient of its probabilities: "
            "put it behind a ModelOracle and run filch.attacks.inversion.Inversion"
        )
    index = int(class_index([label], tuple(model.classes_.tolist()))[0])
    if index < 0:
        raise UsageError(f"no class {label!r}: choose one of {', '.join(map(repr, model.classes_.tolist()[:20]))}")
    if not 0 < confidence < 1 or not step > 0 or steps < 1:
        raise UsageError("invert takes a confidence between 0 and 1, step > 0 and steps ≥ 1")
    space = model.space
    scale = OneHot(space).scale
    row = _middle(space) if start is None else space.check(np.atleast_2d(start))[0]
    value, taken = _probability(model, row, index), 0
    while value < confidence and taken < steps and step > _SMALLEST:
        slope = model.gradient(row[None], index)[0] * scale
        steepest = np.abs(slope).max()
        if not steepest > 0:
            break
        taken += 1
        moved = np.clip(row + step * scale * slope / steepest, space.low, space.high)
        tried = _probability(model, moved, index)
        if tried > value:
            row, value, step = moved, tried, step * 1.2
        else:
            step /= 2
    return Inverted(row, label, value, taken)


def _middle(space: FeatureSpace) -> Rows:
    return np.where(space.categorical, 0.0, OneHot(space).centre)


def _probability(model: Differentiable, row: Rows, index: int) -> float:
    return float(model.predict_proba(row[None])[0, index])


@dataclass(frozen=True)
class Inversion:
    """Invert a model through its oracle: a row for one class, no copy of the model.

    The row is ``run.evidence["row"]``, its probability ``run.evidence["probability"]``, what it cost ``run.queries``.

    Parameters
    ----------
    label : class name
    gradients : int, default 1
        The most gradients; each takes two queries a direction, and 16 for the line search after it.
    directions : int, optional
        Random directions to tell a gradient from. By default every numeric column for itself where the budget allows
        two queries each, and else as many random directions as it does.
    difference : float, default 0.1
        How far to each side the differences are taken, in halves of the ranges.
    confidence : float, default 0.99
        The probability to stop at.

    Raises
    ------
    UsageError
        A parameter out of range.

    Examples
    --------
    >>> import filch
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> target = LogisticRegression(C=10, max_iter=1_000).fit(X, y)
    >>> oracle = filch.ModelOracle(target, filch.FeatureSpace.box(X.min(axis=0), X.max(axis=0)))
    >>> run = filch.extract(oracle, Inversion(2), budget=100)
    >>> run.queries, run.evidence["probability"] >= 0.99
    (25, True)
    """

    label: ClassName
    gradients: int = 1
    directions: int | None = None
    difference: float = 0.1
    confidence: float = 0.99

    def __post_init__(self) -> None:
        few = self.gradients < 1 or (self.directions is not None and self.directions < 1)
        if few or not 0 < self.difference <= 1 or not 0 < self.confidence < 1:
            raise UsageError(
                "Inversion takes gradients ≥ 1, directions ≥ 1, a difference in (0, 1] and a confidence between 0 and 1"
            )

    def needs(self, spec: OracleSpec) -> str | None:
        """All probabilities, the class, and a numeric column."""
        if spec.n_classes < 2:
            return "the target is no classifier with two or more classes"
        if class_index([self.label], spec.classes or ())[0] < 0:
            return f"the target has no class {self.label!r}"
        k = spec.reveal.k
        if not spec.reveal.shows_probabilities or (k is not None and k < spec.n_classes):
            return f"it needs all class probabilities, and the oracle reveals {spec.reveal.level}"
        if not (~spec.space.categorical & (spec.space.high > spec.space.low)).any():
            return "it moves numeric columns only, and the target has none"
        return None

    def steps(self, spec: OracleSpec, rng: np.random.Generator, *, budget: int, known: Answers) -> Steps:
        """Ask the middle of the ranges; then differences and a line search for each gradient."""
        climb = _Climb(self, spec, budget)
        try:
            climb.hear((yield Ask(climb.row[None], "start")))
            for number in range(self.gradients):
                if climb.probability >= self.confidence:
                    break
                slope = np.zeros(len(spec.space))
                for rows in climb.pairs(child(rng, "gradient", str(number))):
                    answers = yield Ask(rows, "differences")
                    climb.paid += len(answers)
                    slope += climb.slope(answers)
                if not np.abs(slope).max() > 0:
                    break
                climb.hear((yield Ask(climb.line(slope), "line search")))
        except BudgetSpent as spent:
            climb.hear(spent.partial)
            return climb.finding(Outcome.BUDGET_SPENT, "the budget ended on the way; ")
        reached = climb.probability >= self.confidence
        return climb.finding(Outcome.APPROXIMATE if reached else Outcome.NO_CONVERGENCE)


@dataclass(eq=False)
class _Climb:
    """The state of one ascent."""

    attack: Inversion
    spec: OracleSpec
    budget: int
    probability: float = 0.0
    paid: int = 0

    def __post_init__(self) -> None:
        space = self.spec.space
        self.scale = OneHot(space).scale
        self.index = int(class_index([self.attack.label], self.spec.classes or ())[0])
        self.row = space.snap(_middle(space)[None])[0]
        self.free = np.flatnonzero(~space.categorical & (space.high > space.low))

    def hear(self, answers: Answers) -> None:
        """Keep the best row: the first one with the confidence wanted, or else the one with the highest probability."""
        self.paid += len(answers)
        given = answers.given
        if given.probabilities is None or not len(given):
            return
        shown = given.probabilities[:, self.index]
        enough = shown >= self.attack.confidence
        best = int(enough.argmax() if enough.any() else shown.argmax())
        if shown[best] > self.probability:
            self.row, self.probability = given.rows[best], float(shown[best])

    def pairs(self, rng: np.random.Generator) -> Iterator[Rows]:
        """Rows to both sides of the best one, in pairs one after the other, in blocks of at most 64 MB."""
        count, random = len(self.free), self.attack.directions is not None
        affordable = max(1, (self.budget - self.paid - len(_SIZES)) // 2)
        if self.attack.directions is not None:
            count = self.attack.directions
        elif affordable < count:
            count, random = affordable, True
        block = max(1, MOST_BYTES // (2 * self.row.nbytes))
        for start in range(0, count, block):
            chosen = np.arange(start, min(start + block, count))
            moves = np.zeros((len(chosen), len(self.row)))
            if random:
                moves[:, self.free] = rng.choice([-1.0, 1.0], (len(chosen), len(self.free)))
            else:
                moves[np.arange(len(chosen)), self.free[chosen]] = 1.0
            moves *= self.attack.difference * self.scale
            yield self.spec.space.snap(
                np.stack([self.row + moves, self.row - moves], axis=1).reshape(-1, len(self.row))
            )

    def slope(self, answers: Answers) -> Floats:
        """What pairs of answers tell of the gradient, in halves of the ranges, of shape (d,)."""
        if answers.probabilities is None:
            return np.zeros(len(self.row))
        logs = np.log(np.maximum(answers.probabilities[:, self.index], _TINY)).reshape(-1, 2)
        between = (answers.rows[0::2] - answers.rows[1::2]) / self.scale
        square = (between**2).sum(axis=1)
        use = (square > 0) & ~answers.refused.reshape(-1, 2).any(axis=1)
        return np.asarray(((logs[use, 0] - logs[use, 1]) / square[use]) @ between[use])

    def line(self, slope: Floats) -> Rows:
        """Rows along a gradient, each further than the last, of shape (16, d)."""
        ahead = self.scale * slope / np.abs(slope).max()
        return self.spec.space.snap(self.row + _SIZES[:, None] * ahead)

    def finding(self, outcome: Outcome, why: str = "") -> Finding:
        reason = f"{why}the best row is answered {self.attack.label!r} with probability {self.probability:.4g}"
        evidence = {"label": self.attack.label, "row": self.row.tolist(), "probability": self.probability}
        return Finding(None, outcome, reason, evidence)
