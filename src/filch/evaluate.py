"""How close a copy is: R_test, R_unif and their total-variation forms, each with n and an interval.

R is the share of rows on which the copy's label differs from the target's (fidelity is 1 − R); R_TV is the mean total
variation distance between their probability vectors [Tramèr16, §4].

Two values of a regressor are the same if they differ by no more than the answers show: half a unit of the decimals that
are revealed, but no more than 1 % of the range of the target's values, so that rounding which hides the value makes no
copy of a constant; 1e-9 of that range where nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from filch.core.answers import Answers, rounded_to
from filch.core.drive import Recital, Run, drive
from filch.core.encoding import OneHot
from filch.core.features import Rows
from filch.core.journal import Journal
from filch.core.models import ExtractedModel, class_index
from filch.core.oracle import GuardedOracle, ModelOracle, Oracle, OracleSpec
from filch.core.seeds import stream
from filch.errors import UsageError
from filch.models.logistic import LogisticModel

Measure = Literal["r_test", "r_unif", "r_tv_test", "r_tv_unif"]
Floats = npt.NDArray[np.float64]
_SAME_VALUE = 1e-9  # of the target's range: unrounded values agree if they are this close, …
_COARSEST = 1e-2  # … rounded ones within half a unit, but at most this part of the range


@dataclass(frozen=True)
class Fidelity:
    """How far a copy is from its target; lower is better, 0 is a perfect copy.

    Attributes
    ----------
    r_test, r_unif : float or None
        Share of test rows, and of uniform rows, with another label, or with a value that differs by more than answers
        show (see the module).
    r_tv_test, r_tv_unif : float or None
        Mean total variation distance; None where labels or values only are revealed.
    n_test, n_uniform : int
        The rows behind them; a figure with n = 0 is None.
    mean_error : float or None
        Of regressors: how far values are off on average, in parts of the range of the target's; of test rows and
        uniform rows the larger. A copy whose values are nearly right may have no value the same.
    """

    r_test: float | None
    r_unif: float | None
    r_tv_test: float | None
    r_tv_unif: float | None
    n_test: int
    n_uniform: int
    mean_error: float | None = None
    _distances: dict[str, Floats] = field(default_factory=dict, repr=False, compare=False)

    def interval(self, measure: Measure, confidence: float = 0.95) -> tuple[float, float]:
        """Return a confidence interval of a measure.

        Clopper–Pearson for R (one-sided where nothing differs: 0 of n leaves up to about 3/n), a percentile
        bootstrap for R_TV.

        Raises
        ------
        UsageError
            The measure is None.

        Examples
        --------
        >>> round(Fidelity(None, 0.0, None, None, 0, 10_000).interval("r_unif")[1], 6)
        0.0003
        """
        value = getattr(self, measure)
        if value is None:
            raise UsageError(f"there is no {measure}: it was not measured, or is not revealed")
        if measure in self._distances:
            return _bootstrap(self._distances[measure], confidence)
        n = self.n_test if measure == "r_test" else self.n_uniform
        return clopper_pearson(round(value * n), n, confidence)

    def as_dict(self) -> dict[str, float | int | None]:
        """The measures as JSON-able values."""
        names = ("r_test", "r_unif", "r_tv_test", "r_tv_unif", "n_test", "n_uniform", "mean_error")
        return {name: getattr(self, name) for name in names}


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a share of which k of n were seen; one-sided where k = 0 [ClopperPearson34].

    Examples
    --------
    >>> low, high = clopper_pearson(5, 100)
    >>> (round(low, 4), round(high, 4))
    (0.0164, 0.1128)
    """
    if k == 0:
        return 0.0, float(1 - (1 - confidence) ** (1 / n))
    exact = stats.binomtest(k, n).proportion_ci(confidence, method="exact")
    return float(exact.low), float(exact.high)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A target's answers to fixed test and uniform rows, so that any number of models are held against the same.

    Make one with `Evaluation.of` (a local target: free, in full) or `Evaluation.paid` (any target, counted).
    """

    test: Answers | None
    uniform: Answers | None
    classes: tuple[Any, ...] | None
    decimals: int | None = None
    """To which the answers are rounded that the models were made from; of regressors this says which values agree."""
    rounded: int | None = None
    """Decimals to which these answers are rounded themselves: declared, or seen of a regressor's values."""

    def behind(self, spec: OracleSpec) -> Evaluation:
        """The same answers, for models that were made from those of an oracle with such a reveal."""
        return replace(self, decimals=self.rounded if spec.decimals is None else spec.decimals)

    @classmethod
    def of(
        cls, oracle: Oracle, X_test: pd.DataFrame | Rows | None = None, n_uniform: int = 10_000, seed: int = 0
    ) -> Evaluation:
        """Ask a target outside every count: its unguarded answers, at the level that its oracle reveals."""
        test, uniform = _evaluation_rows(oracle, X_test, n_uniform, seed)
        asked = [None if rows is None else _truth(oracle, rows) for rows in (test, uniform)]
        rounded = None if oracle.local else _decimals(asked, oracle.spec)
        return cls(
            asked[0], asked[1], oracle.spec.classes, rounded if rounded is not None else oracle.spec.decimals, rounded
        )

    @classmethod
    def paid(
        cls,
        oracle: Oracle,
        X_test: pd.DataFrame | Rows | None = None,
        n_uniform: int = 500,
        seed: int = 0,
        *,
        journal: Journal | None = None,
        name: str = "evaluation",
        progress: Callable[[Any], None] | None = None,
    ) -> tuple[Evaluation, Run]:
        """Ask a target as everyone has to; the run says what it cost (evaluation account)."""
        test, uniform = _evaluation_rows(oracle, X_test, n_uniform, seed)
        rows = np.concatenate([part for part in (test, uniform) if part is not None])
        run = drive(
            oracle,
            Recital(rows),
            budget=100 * len(rows),  # room for retries
            journal=journal,
            name=name,
            keep_answers=True,
            progress=progress,
        )
        answers = run.answers
        assert answers is not None
        cut = 0 if test is None else len(test)
        parts = [part.given if len(part) else None for part in (answers[:cut], answers[cut:])]
        rounded = _decimals(parts, oracle.spec)
        return cls(parts[0], parts[1], oracle.spec.classes, rounded, rounded), run

    def measure(self, model: ExtractedModel) -> Fidelity:
        """Hold a model against the target's answers."""
        found = [self._compare(part, model) for part in (self.test, self.uniform)]
        (r_test, tv_test, _), (r_unif, tv_unif, _) = found
        distances = {"r_tv_test": tv_test, "r_tv_unif": tv_unif}
        return Fidelity(
            r_test=r_test,
            r_unif=r_unif,
            r_tv_test=None if tv_test is None else float(tv_test.mean()),
            r_tv_unif=None if tv_unif is None else float(tv_unif.mean()),
            n_test=0 if self.test is None else len(self.test),
            n_uniform=0 if self.uniform is None else len(self.uniform),
            mean_error=max((off for _, _, off in found if off is not None), default=None),
            _distances={name: tv for name, tv in distances.items() if tv is not None},
        )

    def _compare(
        self, answers: Answers | None, model: ExtractedModel
    ) -> tuple[float | None, Floats | None, float | None]:
        """R, the total variation of each row, and the mean error of values in parts of their range, as far as told."""
        if answers is None:
            return None, None, None
        predicted = model.predict(answers.rows)
        if self.classes is None:
            value = answers.value
            assert value is not None
            off, span = np.abs(predicted - value), float(np.ptp(value)) or 1.0
            return float((off > self._same(span)).mean()), None, float(off.mean() / span)
        error = float((class_index(predicted, self.classes) != answers.labels).mean())
        revealed = answers.probabilities
        if revealed is None or np.isnan(revealed).any() or not hasattr(model, "predict_proba"):
            return error, None, None
        return error, 0.5 * np.abs(revealed - model.predict_proba(answers.rows)).sum(axis=1), None

    def _same(self, span: float) -> float:
        """How far a copy's values may be off and be the same, where the target's have such a range."""
        shown, own = (0.0 if d is None else 0.5 * 10.0**-d for d in (self.decimals, self.rounded))
        return _SAME_VALUE * span + min(shown, _COARSEST * span) + own


def fidelity(
    oracle: Oracle,
    model: ExtractedModel,
    X_test: pd.DataFrame | Rows | None = None,
    n_uniform: int = 10_000,
    seed: int = 0,
) -> Fidelity:
    """Measure how close a copy is to its target.

    A local target is asked in full, for free, and unrounded; any other one is asked, and paid, through its oracle. A
    regressor's values agree within half a unit of the decimals that its oracle reveals (at most 1 % of their range), or
    within 1e-9 of the range where it does not round; answers that are rounded themselves may be off by half a unit
    more.

    Parameters
    ----------
    oracle : Oracle
        The target.
    model : ExtractedModel
        The copy.
    X_test : DataFrame of raw columns, or coded rows (n, d), optional
        Real rows, for R_test. Values outside the vocabulary are allowed.
    n_uniform : int, default 10,000
        Uniform rows, for R_unif; 0 for none.
    seed : int, default 0
        Of the uniform rows.

    Raises
    ------
    UsageError
        Neither test rows nor uniform rows.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from filch.core.features import FeatureSpace
    >>> space = FeatureSpace.box([0], [1])
    >>> oracle = ModelOracle(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), space)
    >>> w, b = oracle.model.coef_, oracle.model.intercept_
    >>> exact = LogisticModel(space, (0, 1), w / 2, b + w[0] / 2)
    >>> fidelity(oracle, exact, n_uniform=100).r_unif
    0.0
    """
    if oracle.local:
        return Evaluation.of(oracle, X_test, n_uniform, seed).measure(model)
    return Evaluation.paid(oracle, X_test, n_uniform, seed)[0].measure(model)


def parameter_error(model: LogisticModel, target: Any) -> float:
    """Return the largest error of the weights, up to symmetry, for a logistic target that the user owns.

    Both sides are brought into canonical form over the encoded columns (`LogisticModel.canonical`); the target's
    weights are read off its ``decision_function``, whatever its preprocessing.

    Parameters
    ----------
    model : LogisticModel
        The copy.
    target : object
        A fitted linear classifier, or a pipeline that ends in one, with ``decision_function``.

    Raises
    ------
    UsageError
        The target has no decision function.
    """
    if not hasattr(target, "decision_function"):
        raise UsageError(f"{type(target).__name__} has no decision_function to read weights off")
    space, view = model.space, OneHot(model.space)
    base = np.where(space.categorical, 0.0, space.low)
    rows = [base]
    for column in range(len(space)):
        values = range(1, space.sizes[column]) if space.categorical[column] else [space.high[column]]
        rows += [np.where(np.arange(len(space)) == column, value, base) for value in values]
    matrix = np.array(rows)
    inputs: Any = space.decode(matrix) if space.named or space.categorical.any() else matrix
    scores = np.asarray(target.decision_function(inputs)).reshape(len(matrix), -1)
    solved = np.linalg.lstsq(np.column_stack([view.encode(matrix), np.ones(len(matrix))]), scores, rcond=None)[0]
    own = LogisticModel(space, model.classes, solved[:-1].T, solved[-1], model.link).canonical()
    copy = LogisticModel(space, model.classes, model.coef_, model.intercept_, model.link).canonical()
    return float(max(np.abs(own.coef_ - copy.coef_).max(), np.abs(own.intercept_ - copy.intercept_).max()))


def _evaluation_rows(
    oracle: Oracle, X_test: pd.DataFrame | Rows | None, n_uniform: int, seed: int
) -> tuple[Rows | None, Rows | None]:
    space = oracle.spec.space
    if X_test is None and n_uniform < 1:
        raise UsageError("nothing to measure on: give X_test, or n_uniform of at least 1")
    if isinstance(X_test, pd.DataFrame):
        test: Rows | None = space.encode(X_test, unknown="code")
    else:
        test = None if X_test is None else space.check(X_test, omission=True)
    if test is not None and not len(test):
        test = None
    return test, space.sample(n_uniform, stream(seed, "evaluation")) if n_uniform > 0 else None


def _decimals(parts: Iterable[Answers | None], spec: OracleSpec) -> int | None:
    """The decimals to which answers are rounded, as declared or, of a regressor, as its values show."""
    values = [part.value for part in parts if part is not None and part.value is not None]
    if spec.decimals is not None or spec.classes is not None or not values:
        return spec.decimals
    return rounded_to(np.concatenate(values))


def _truth(oracle: Oracle, rows: Rows) -> Answers:
    """What a target really says, at the level that its oracle reveals but neither rounded nor cut."""
    level = oracle.spec.reveal
    inner: Any = oracle
    while isinstance(inner, GuardedOracle):
        inner = inner.inner
    if isinstance(inner, ModelOracle):
        shown = "probabilities" if level.shows_probabilities else level.level
        return ModelOracle(inner.model, inner.spec.space, reveal=shown, omission=inner.spec.omission).ask(rows)
    run = drive(oracle, Recital(rows), budget=max(1, 100 * len(rows)), keep_answers=True)
    assert run.answers is not None
    return run.answers.given


def _bootstrap(distances: Floats, confidence: float) -> tuple[float, float]:
    if np.ptp(distances) == 0.0:
        return float(distances[0]), float(distances[0])
    found = stats.bootstrap(
        (distances,),
        np.mean,
        n_resamples=1_000,
        batch=50,
        confidence_level=confidence,
        method="percentile",
        rng=stream(0, "bootstrap"),
    ).confidence_interval
    return float(found.low), float(found.high)
