"""Query access to a target: what is publicly known of it, and the one narrow seam through which it is asked.

The driver hands an oracle an iterator of batches and takes replies in whatever order they come. Pulling a batch
*is* paying for it: the driver has then written it to the journal. An oracle that sends a batch once more (a retry)
must call `Batch.pay_again` before.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd

from filch.core.answers import Answers, Reveal
from filch.core.columns import listed
from filch.core.features import FeatureSpace, Rows
from filch.core.models import class_index
from filch.errors import NotRevealed, SchemaError, UsageError

ClassName = str | bool | int | float


@dataclass(frozen=True)
class OracleSpec:
    """Public facts of an oracle: all that an attack knows before it asks.

    Attributes
    ----------
    space : FeatureSpace
    classes : tuple or None
        The class names in the order of the probabilities; None for a regressor.
    reveal : Reveal
        What an answer shows.
    omission : bool
        Whether a feature may be omitted (NaN).
    max_batch : int or None
        The most rows in one request.
    """

    space: FeatureSpace
    classes: tuple[ClassName, ...] | None
    reveal: Reveal = field(default_factory=Reveal)
    omission: bool = False
    max_batch: int | None = None

    @property
    def n_classes(self) -> int:
        """The number of classes; 0 for a regressor."""
        return len(self.classes or ())

    @property
    def decimals(self) -> int | None:
        """The decimals that answers are rounded to, None if not known."""
        return self.reveal.decimals


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows for one request, already paid once.

    Attributes
    ----------
    index : int
        The batch's place in its ask.
    rows : (n, d)
        As `FeatureSpace.check` returns them.
    pay_again : callable
        Pays for one more transmission of these rows; False if the budget does not allow it.
        Safe to call from any thread.
    """

    index: int
    rows: Rows
    pay_again: Callable[[], bool] = field(default=lambda: True, repr=False)


@dataclass(frozen=True, eq=False)
class Reply:
    """The answers to one batch; ``sent`` is False if they came from memory, not from the target."""

    batch: Batch
    answers: Answers
    sent: bool = True


class Oracle(Protocol):
    """Query access to a target.

    Attributes
    ----------
    spec : OracleSpec
    local : bool
        Whether asking costs nothing, so that an evaluation may ask as much as it likes.
    """

    @property
    def spec(self) -> OracleSpec:
        """The public facts."""
        ...

    @property
    def local(self) -> bool:
        """Whether asking costs nothing."""
        ...

    def fingerprint(self) -> str:
        """Name the target and its guards, so that a changed one is noticed. Holds no secrets."""
        ...

    def answer(self, batches: Iterator[Batch]) -> Iterator[Reply]:
        """Answer batches in any order; pull the next one only when it can be sent at once."""
        ...


class ModelOracle:
    """An oracle over a model in this process.

    Parameters
    ----------
    model : object
        Anything with ``predict``, and ``predict_proba`` or ``decision_function`` where they are to be revealed:
        a scikit-learn estimator, a pipeline over a DataFrame of raw columns, …
    space : FeatureSpace
        If it is named, or has categories, the model is given DataFrames of raw columns, in the order in which it was
        trained; else matrices. A model that was trained without column names is given none.
    reveal : str, default "probabilities"
        ``labels``, ``top-1`` …, ``probabilities``, ``value`` (regressors), ``scores`` or ``node``.
    decimals : int, optional
        Round probabilities, values or scores.
    omission : bool, default False
        Whether the model takes missing values.
    max_batch : int, optional
        The most rows in one request.

    Raises
    ------
    NotRevealed
        The model cannot reveal what is asked of it.
    SchemaError
        The model was trained on other columns, or on another number of them; on asking, it does not take the rows.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> model = LogisticRegression().fit([[0.0], [1.0]], ["a", "b"])
    >>> ModelOracle(model, FeatureSpace.box([0], [1])).spec.classes
    ('a', 'b')
    """

    local = True

    def __init__(
        self,
        model: Any,
        space: FeatureSpace,
        *,
        reveal: str | Reveal = "probabilities",
        decimals: int | None = None,
        omission: bool = False,
        max_batch: int | None = None,
    ) -> None:
        shown = reveal if isinstance(reveal, Reveal) else Reveal(reveal)
        if decimals is not None:
            shown = replace(shown, decimals=decimals)
        classes = getattr(model, "classes_", None)
        _check_reveal(model, shown, classifies=classes is not None)
        _check_columns(model, space)
        if max_batch is not None and max_batch < 1:
            raise UsageError(f"max_batch must be at least 1, got {max_batch}")
        names = None if classes is None else tuple(np.asarray(classes).tolist())
        self.model = model
        self.spec = OracleSpec(space, names, shown, omission, max_batch)
        self._trained_on = getattr(model, "feature_names_in_", None)
        nameless = hasattr(model, "n_features_in_") and self._trained_on is None
        self._raw = bool(space.categorical.any()) or self._trained_on is not None or (space.named and not nameless)
        self._nameless = nameless

    def fingerprint(self) -> str:
        """Hash the model's parameters, or its predictions where it cannot be pickled."""
        try:
            # A copy by way of pickle: memory layout is not part of a model, and a file does not keep it.
            return f"model:{joblib.hash(pickle.loads(pickle.dumps(self.model)))}"
        except Exception:  # whatever an unpicklable attribute raises
            probe = self._inputs(self.spec.space.sample(64, np.random.default_rng(0)))
            return f"predictions:{hashlib.sha256(repr(self.model.predict(probe)).encode()).hexdigest()}"

    def answer(self, batches: Iterator[Batch]) -> Iterator[Reply]:
        """Answer each batch by the model's own methods."""
        for batch in batches:
            # Read-only rows come from a driver, which has checked them.
            checked = not batch.rows.flags.writeable
            yield Reply(batch, self._ask(batch.rows) if checked else self.ask(batch.rows))

    def ask(self, rows: npt.ArrayLike) -> Answers:
        """Answer coded rows of shape (n, d), uncounted: for the owner and for evaluation."""
        return self._ask(self.spec.space.check(rows, omission=self.spec.omission))

    def _ask(self, rows: Rows) -> Answers:
        reveal, classes = self.spec.reveal, self.spec.classes
        inputs = self._inputs(rows)
        if classes is None:
            value = np.asarray(self._call("predict", inputs), dtype=np.float64)
            if value.size != len(rows):
                raise NotRevealed("the model predicts several values a row: wrap it to predict one")
            value = value.reshape(len(rows))
            return reveal.apply(Answers(rows, value=value, node=self._node(inputs)))
        probabilities = scores = None
        if reveal.shows_probabilities:
            probabilities = np.array(self._call("predict_proba", inputs), dtype=np.float64)
        if reveal.level == "scores":
            scores = np.array(self._call("decision_function", inputs), dtype=np.float64).reshape(len(rows), -1)
        if probabilities is not None and _argmax_decides(self.model):
            labels = probabilities.argmax(axis=1)
        else:
            labels = class_index(self._call("predict", inputs), classes)
        full = Answers(rows, labels=labels, probabilities=probabilities, scores=scores, node=self._node(inputs))
        return reveal.apply(full)

    def _call(self, method: str, inputs: pd.DataFrame | npt.NDArray[Any]) -> Any:
        try:
            return getattr(self.model, method)(inputs)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            why = " ".join(str(error).split())[:200]
            raise SchemaError(
                f"{type(self.model).__name__} does not take these rows ({type(error).__name__}: {why}): "
                "give a table of values like those that it was trained on"
            ) from error

    def _inputs(self, rows: Rows) -> pd.DataFrame | npt.NDArray[Any]:
        if not self._raw:
            return rows
        frame = self.spec.space.decode(rows)
        if self._trained_on is None:
            return frame.to_numpy() if self._nameless else frame
        names = list(self._trained_on)
        if names == list(frame.columns):
            return frame
        return frame[names] if self.spec.space.named else frame.set_axis(names, axis=1)

    def _node(self, inputs: pd.DataFrame | npt.NDArray[Any]) -> npt.NDArray[np.int64] | None:
        if self.spec.reveal.level != "node":
            return None
        prepared, tree = inputs, self.model
        if hasattr(self.model, "steps"):
            prepared, tree = self.model[:-1].transform(inputs), self.model[-1]
        return np.asarray(tree.apply(prepared), dtype=np.int64)


class GuardedOracle:
    """An oracle behind one guard; the guard sees the answers and nothing of the target.

    Parameters
    ----------
    oracle : Oracle
    guard : Guard
    """

    def __init__(self, oracle: Oracle, guard: Guard) -> None:
        self.inner, self.guard = oracle, guard
        self.spec = guard.public(oracle.spec)
        self.local = oracle.local

    def fingerprint(self) -> str:
        """Name the target and the guard."""
        return f"{self.inner.fingerprint()} behind {self.guard}"

    def answer(self, batches: Iterator[Batch]) -> Iterator[Reply]:
        """Answer batches as the guard lets them through."""
        for reply in self.inner.answer(batches):
            yield replace(reply, answers=self.guard.apply(reply.answers, self.inner.spec))


class Guard(Protocol):
    """A countermeasure: changes what an oracle says, and what is publicly known of it. A frozen dataclass."""

    def public(self, spec: OracleSpec) -> OracleSpec:
        """The public facts of an oracle behind this guard.

        Raises
        ------
        NotRevealed
            The oracle shows less than the guard would leave.
        """
        ...

    def apply(self, answers: Answers, spec: OracleSpec) -> Answers:
        """What the guard leaves of the answers of an oracle with these facts."""
        ...


def guarded(oracle: Oracle, guards: Iterable[Guard]) -> Oracle:
    """Put an oracle behind guards, the first one innermost."""
    for guard in guards:
        oracle = GuardedOracle(oracle, guard)
    return oracle


def _check_reveal(model: Any, reveal: Reveal, *, classifies: bool) -> None:
    kind = type(model).__name__
    if classifies and reveal.level == "value":
        raise NotRevealed(f"{kind} is a classifier: reveal labels, probabilities or scores, not a value")
    if not classifies and reveal.level not in ("value", "node"):
        raise NotRevealed(f'{kind} has no classes_: a regressor reveals a value, so pass reveal="value"')
    if reveal.shows_probabilities and not hasattr(model, "predict_proba"):
        raise NotRevealed(f'{kind} has no predict_proba: pass reveal="labels", or calibrate it')
    if reveal.level == "scores" and not hasattr(model, "decision_function"):
        raise NotRevealed(f'{kind} has no decision_function: pass reveal="labels" or "probabilities"')
    if reveal.level == "confidence":
        raise NotRevealed("only trees of filch.models show a confidence beside the label: ask them by TreeOracle")
    last = model[-1] if hasattr(model, "steps") else model
    if reveal.level == "node" and not (hasattr(last, "apply") and hasattr(last, "tree_")):
        raise NotRevealed(f'{kind} is no single tree: pass reveal="labels" or "probabilities"')


def _check_columns(model: Any, space: FeatureSpace) -> None:
    expected = getattr(model, "n_features_in_", None)
    if expected is not None and expected != len(space):
        raise SchemaError(
            f"the model was trained on {expected} columns, the feature space has {len(space)}: "
            "build the space from the model's own input columns"
        )
    trained = getattr(model, "feature_names_in_", None)
    if trained is not None and space.named and set(trained) != set(space.names):
        other = listed(sorted(set(space.names) - set(trained)))
        raise SchemaError(f"the model was not trained on column {other}: name the columns as in its training data")


_ARGMAX = {
    *("LogisticRegression", "LogisticRegressionCV", "MLPClassifier", "GaussianNB", "DecisionTreeClassifier"),
    *("RandomForestClassifier", "ExtraTreesClassifier", "HistGradientBoostingClassifier"),
}


def _argmax_decides(model: Any) -> bool:
    """Whether predict is the argmax of predict_proba, so that one call answers both."""
    last = model[-1] if hasattr(model, "steps") else model
    return type(last).__module__.startswith("sklearn.") and type(last).__name__ in _ARGMAX
