"""Surrogates fitted on answers: which of several, and how labels, probabilities and values become targets."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone, is_regressor
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold
from sklearn.utils.validation import has_fit_parameter

from filch.attacks.surrogates.named import default_surrogates, resolve
from filch.attacks.threads import one_thread
from filch.core.answers import Answers
from filch.core.attack import Ask
from filch.core.oracle import OracleSpec
from filch.core.seeds import child
from filch.models.surrogate import SurrogateModel, inputs

Floats = npt.NDArray[np.float64]
_FOLDS = 3
_FEW = 30  # answers below which the first surrogate is taken: the folds would tell nothing
_JUDGED = 2_000  # answers on which surrogates are cross-validated, at most
_LIGHT = 1e-3  # probabilities below it are left out of soft labels
_COMPLETIONS = 3  # refits in which a surrogate fills in what top-k answers hide
_MANY = 4  # candidates above which a small sample first tells which ones come into question
_SMALL = 400


@dataclass(eq=False)
class Fitter:
    """What an attack has heard, and the surrogate that this allows; each set of answers is fitted once.

    Parameters
    ----------
    spec : OracleSpec
    candidates : tuple of estimator or name
        The simplest first; a name stands for a family (`filch.attacks.surrogates.named`), none for the default ones.
    encoded : bool
        Whether they take one-hot-encoded rows.
    rng : Generator
    heard : Answers
        Answered rows.
    unbiased : int
        So many of the first answers are to rows that were not chosen for being hard: errors are told on these. 0: all.
    light : mapping of str to float
        By phase, the weight of its answers in fits and choices; 1 for others. For estimators that take weights.
    """

    spec: OracleSpec
    candidates: tuple[Any, ...]
    encoded: bool
    rng: np.random.Generator
    heard: Answers
    unbiased: int = 0
    light: Mapping[str, float] = field(default_factory=dict)
    _fitted: tuple[int, SurrogateModel] | None = field(default=None, init=False)
    _weights: Floats = field(init=False)
    _chosen: dict[int, Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._weights = np.ones(len(self.heard))

    def hear(self, ask: Ask, answers: Answers) -> None:
        """Learn answers."""
        given = answers.given
        self.heard = Answers.concat([self.heard, given])
        self._weights = np.concatenate([self._weights, np.full(len(given), self.light.get(ask.phase, 1.0))])

    def model(self) -> SurrogateModel | None:
        """The best surrogate for what was heard; None if nothing was."""
        n = len(self.heard)
        if n == 0:
            return None
        if self._fitted is None or self._fitted[0] != n:
            self._fitted = n, self._fit(self._best(), self.heard, self._weights)
        return self._fitted[1]

    def evidence(self) -> dict[str, Any]:
        """The chosen surrogate and its cross-validated error, as JSON-able values."""
        if len(self.heard) < 2 * _FOLDS:
            return {"answers": len(self.heard)}
        judged = self._judged(len(self.heard))
        errors = self._errors(self._best(), judged)[judged < (self.unbiased or len(self.heard))]
        return {
            "surrogate": _name(self._best()),
            "parameters": _settings(self._best()),
            "answers": len(self.heard),
            "cross-validated error": float(errors.mean()) if len(errors) else None,
            "on rows": len(errors),
        }

    def settle(self) -> None:
        """Choose once more, on all answers."""
        candidates, n = self._candidates(), len(self.heard)
        if len(candidates) > 1 and n >= _FEW:
            self._chosen[n] = self._choose(candidates, n)

    def _best(self) -> Any:
        """Choose by cross-validation, anew whenever there are twice as many answers [Tramèr16, §5.3].

        Of the number of answers alone, so that it is the same whenever a snapshot is taken.
        """
        candidates, n = self._candidates(), len(self.heard)
        if len(candidates) == 1 or n < _FEW:
            return candidates[0]
        stage = n if n in self._chosen else _FEW << int(math.log2(n / _FEW))
        if stage not in self._chosen:
            self._chosen[stage] = self._choose(candidates, stage)
        return self._chosen[stage]

    def _candidates(self) -> tuple[Any, ...]:
        return self._families or default_surrogates(self.spec, len(self.heard))

    def _choose(self, candidates: tuple[Any, ...], n: int) -> Any:
        judged = self._judged(n)
        if len(candidates) > _MANY and len(judged) > 2 * _SMALL:
            candidates = self._ranked(candidates, judged[:_SMALL])[: max(2, len(candidates) // 3)]
        return self._ranked(candidates, judged)[0]

    def _ranked(self, candidates: tuple[Any, ...], judged: npt.NDArray[np.int64]) -> tuple[Any, ...]:
        """The candidates by cross-validated error; of equally good ones, the simplest first."""
        weights = self._weights[judged]
        errors = [np.average(self._errors(candidate, judged), weights=weights) for candidate in candidates]
        return tuple(candidates[place] for place in np.argsort(errors, kind="stable"))

    @cached_property
    def _families(self) -> tuple[Any, ...]:
        return resolve(self.candidates, self.spec)

    def _judged(self, n: int) -> npt.NDArray[np.int64]:
        """Of the first n answers those to cross-validate on, in random order."""
        return child(self.rng, "judged").permutation(n)[:_JUDGED]

    def _errors(self, candidate: Any, judged: npt.NDArray[np.int64]) -> Floats:
        """How far off each judged answer is, from a fit on the others: another label, total variation, or distance."""
        sample, weights = self.heard[judged], self._weights[judged]
        errors = np.empty(len(sample))
        for learn, test in KFold(_FOLDS).split(sample.rows):
            errors[test] = self._off(self._fit(candidate, sample[learn], weights[learn]), sample[test])
        return errors

    def _off(self, model: SurrogateModel, answers: Answers) -> Floats:
        if self.spec.classes is None:
            assert answers.value is not None and self.heard.value is not None
            span = float(np.ptp(self.heard.value)) or 1.0
            return np.asarray(np.abs(model.predict(answers.rows) - answers.value) / span)
        if answers.probabilities is None or np.isnan(answers.probabilities).any():
            return np.asarray(model.labels(answers.rows) != answers.labels, dtype=np.float64)
        return np.asarray(0.5 * np.abs(model.votes(answers.rows) - answers.probabilities).sum(axis=1))

    def _fit(self, candidate: Any, answers: Answers, weights: Floats) -> SurrogateModel:
        """Fit a surrogate; what top-k answers hide is first shared evenly, then as the surrogate of before says."""
        shown = answers.probabilities
        if shown is None or not np.isnan(shown).any():
            return self._fit_once(candidate, answers, weights, shown)
        model = self._fit_once(candidate, answers, weights, _completed(shown, np.ones_like(shown)))
        for _ in range(_COMPLETIONS):
            model = self._fit_once(candidate, answers, weights, _completed(shown, model.votes(answers.rows)))
        return model

    def _fit_once(self, candidate: Any, answers: Answers, weights: Floats, soft: Floats | None) -> SurrogateModel:
        estimator = _seeded(clone(candidate), self.rng)
        X = inputs(self.spec.space, answers.rows, encoded=self.encoded)
        y: Any = answers.labels if self.spec.classes is not None else answers.value
        fit: dict[str, Any] = {}
        if self.spec.classes is not None and is_regressor(estimator):
            y = np.eye(self.spec.n_classes)[answers.labels] if soft is None else soft
        elif self.spec.classes is not None:
            weight = _weight_parameter(estimator)
            if weight and self.light and soft is None:
                fit = {weight: weights}
            if weight and soft is not None:  # each row once a class, weighted by the class's probability
                rows, y = np.nonzero(soft > _LIGHT)
                X, fit = X[rows], {weight: soft[rows, y]}
            if len(np.unique(y)) == 1:
                estimator, fit = DummyClassifier(strategy="most_frequent"), {}
        with one_thread(), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            estimator.fit(X, y, **fit)
        return SurrogateModel(self.spec.space, self.spec.classes, estimator, self.encoded)


def _completed(shown: Floats, guess: Floats) -> Floats:
    """Probabilities in which the hidden ones (NaN) share what is left, in proportion to a guess."""
    hidden = np.isnan(shown)
    weights = np.where(hidden, guess + 1e-12, 0.0)
    left = np.clip(1.0 - np.nansum(shown, axis=1, keepdims=True), 0.0, None)
    shares = left * weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    return np.where(hidden, shares, shown)


def _weight_parameter(estimator: Any) -> str | None:
    """The name under which an estimator's fit takes sample weights, or None."""
    if hasattr(estimator, "steps"):
        name, last = estimator.steps[-1]
        return f"{name}__sample_weight" if has_fit_parameter(last, "sample_weight") else None
    return "sample_weight" if has_fit_parameter(estimator, "sample_weight") else None


def _seeded(estimator: Any, rng: np.random.Generator) -> Any:
    names = sorted(name for name in estimator.get_params() if name.split("__")[-1] == "random_state")
    return estimator.set_params(**{name: int(child(rng, name).integers(2**31)) for name in names})


def _name(estimator: Any) -> str:
    steps = [step for _, step in estimator.steps] if hasattr(estimator, "steps") else [estimator]
    return " + ".join(type(step).__name__ for step in steps)


def _settings(estimator: Any) -> dict[str, Any]:
    """The plain parameters of an estimator, or of a pipeline's last step, that are not its defaults."""
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    for inner in ("regressor", "estimator"):
        last = getattr(last, inner, last)
    defaults = {name: of.default for name, of in inspect.signature(type(last)).parameters.items()}
    shown = {name: list(value) if isinstance(value, tuple) else value for name, value in last.get_params(False).items()}
    return {
        name: value
        for name, value in shown.items()
        if isinstance(value, (bool, int, float, str, list)) and last.get_params(False)[name] != defaults.get(name)
    }
