from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from filch import Answers, FeatureSpace, ModelOracle, OracleSpec, Reveal
from filch.core.models import class_index
from filch.core.oracle import Batch, guarded
from filch.errors import NotRevealed, SchemaError, UsageError
from filch.models.logistic import LogisticModel

X, Y = load_iris(return_X_y=True)
SPACE = FeatureSpace.box(X.min(axis=0), X.max(axis=0))
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
RAW = pd.DataFrame({"age": np.arange(20, 60), "sex": ["f", "m"] * 20, "plan": [1, 2, 3, 1] * 10})
BOUGHT = (RAW["age"] + 30 * (RAW["sex"] == "f") > 50).map({True: "yes", False: "no"})


def over_raw_columns() -> Any:
    encode = make_column_transformer((OneHotEncoder(), ["sex", "plan"]), (StandardScaler(), ["age"]))
    return make_pipeline(encode, LogisticRegression()).fit(RAW, BOUGHT)


# ── what is answered ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(max_iter=1_000),
        RandomForestClassifier(10, random_state=0),
        DecisionTreeClassifier(max_depth=3, random_state=0),
        SGDClassifier(loss="modified_huber", random_state=0),
        make_pipeline(StandardScaler(), LogisticRegression()),
        OneVsRestClassifier(LogisticRegression()),
    ],
    ids=lambda model: type(model).__name__,
)
def test_answers_are_the_model_s_own(model: Any) -> None:
    oracle = ModelOracle(model.fit(X, NAMES), SPACE)
    rows = SPACE.sample(300, np.random.default_rng(0))
    answers = oracle.ask(rows)
    assert oracle.spec.classes == ("setosa", "versicolor", "virginica")
    np.testing.assert_array_equal(answers.probabilities, model.predict_proba(rows))
    np.testing.assert_array_equal(np.array(oracle.spec.classes)[answers.labels], model.predict(rows))


def test_labels_are_those_of_predict_where_argmax_says_otherwise() -> None:
    wary = FixedThresholdClassifier(LogisticRegression(max_iter=1_000), threshold=0.9).fit(X, Y == 1)
    oracle = ModelOracle(wary, SPACE)
    answers = oracle.ask(X)
    assert answers.labels is not None
    assert answers.probabilities is not None
    np.testing.assert_array_equal(answers.labels == 1, wary.predict(X))
    assert (answers.labels != answers.probabilities.argmax(axis=1)).any()


def test_a_pipeline_over_raw_columns_gets_raw_columns() -> None:
    model, space = over_raw_columns(), FeatureSpace.from_frame(RAW)
    oracle = ModelOracle(model, space)
    answers = oracle.ask(space.encode(RAW))
    np.testing.assert_allclose(answers.probabilities, model.predict_proba(RAW), rtol=0, atol=1e-15)


def test_columns_are_found_by_name_not_by_place() -> None:
    turned = RAW[["plan", "sex", "age"]]
    space = FeatureSpace.from_frame(turned)
    answers = ModelOracle(over_raw_columns(), space).ask(space.encode(turned))
    np.testing.assert_allclose(answers.probabilities, over_raw_columns().predict_proba(RAW), rtol=0, atol=1e-15)


def test_a_model_trained_without_names_is_given_none() -> None:
    model = LogisticRegression(max_iter=1_000).fit(X, Y)
    named = FeatureSpace.from_frame(pd.DataFrame(X, columns=list("abcd")))
    np.testing.assert_array_equal(ModelOracle(model, named).ask(X).probabilities, model.predict_proba(X))
    mixed = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(
        RAW[["sex", "plan"]].to_numpy(), BOUGHT
    )
    space = FeatureSpace.from_frame(RAW[["sex", "plan"]])
    assert len(ModelOracle(mixed, space).ask(space.sample(5, np.random.default_rng(0)))) == 5


def test_a_model_trained_with_names_over_a_box() -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = LogisticRegression(max_iter=1_000).fit(frame, Y)
    np.testing.assert_array_equal(ModelOracle(model, SPACE).ask(X).probabilities, model.predict_proba(frame))


def test_truth_values_are_class_names() -> None:
    oracle = ModelOracle(LogisticRegression(max_iter=1_000).fit(X, Y > 0), SPACE, reveal="labels")
    assert oracle.spec.classes == (False, True)
    assert oracle.ask(X[:1]).labels.tolist() == [0]  # type: ignore[union-attr]


def test_a_support_vector_machine_shows_labels_and_scores() -> None:
    two = Y < 2
    for model, width, labels in [(LinearSVC(), 1, Y[two]), (SVC(), 3, Y)]:
        rows = X[two] if width == 1 else X
        oracle = ModelOracle(model.fit(rows, labels), SPACE, reveal="scores")
        answers = oracle.ask(rows)
        assert answers.scores is not None
        np.testing.assert_array_equal(answers.scores, model.decision_function(rows).reshape(len(rows), width))
        assert answers.probabilities is None


def test_a_regressor_shows_a_value_rounded_if_told() -> None:
    model = LinearRegression().fit(X, X[:, 0] / 3)
    answers = ModelOracle(model, SPACE, reveal="value", decimals=2).ask(X)
    np.testing.assert_array_equal(answers.value, np.round(model.predict(X), 2))
    assert answers.labels is None


@pytest.mark.parametrize("tree", [DecisionTreeClassifier(max_depth=3), DecisionTreeRegressor(max_depth=3)])
def test_a_tree_shows_its_leaf(tree: Any) -> None:
    answers = ModelOracle(tree.fit(X, Y), SPACE, reveal="node").ask(X)
    np.testing.assert_array_equal(answers.node, tree.apply(X))
    piped = make_pipeline(StandardScaler(), tree).fit(X, Y)
    answers = ModelOracle(piped, SPACE, reveal="node").ask(X)
    np.testing.assert_array_equal(answers.node, tree.apply(piped[:-1].transform(X)))


def test_omission_is_accepted_only_where_declared() -> None:
    gaps = X.copy()
    gaps[::3, 1] = np.nan
    model = DecisionTreeClassifier(max_depth=3).fit(gaps, Y)
    with pytest.raises(SchemaError, match="does not accept omitted"):
        ModelOracle(model, SPACE).ask(gaps)
    np.testing.assert_array_equal(ModelOracle(model, SPACE, omission=True).ask(gaps).labels, model.predict(gaps))


def test_anything_with_predict_will_do() -> None:
    class Parity:
        classes_ = ("even", "odd")
        open_file = io.StringIO()  # which cannot be pickled

        def predict(self, rows: Any) -> Any:
            return np.array(self.classes_)[np.floor(rows[:, 0]).astype(int) % 2]

    oracle = ModelOracle(Parity(), FeatureSpace.box([0], [9]), reveal="labels")
    assert oracle.ask([[2.0], [3.0]]).labels.tolist() == [0, 1]  # type: ignore[union-attr]
    assert oracle.fingerprint() == oracle.fingerprint()


# ── what is not ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("model", "reveal", "message"),
    [
        (SVC(), "probabilities", "no predict_proba: pass reveal=.labels"),
        (LinearSVC(), "top-1", "no predict_proba"),
        (DecisionTreeClassifier(), "scores", "no decision_function"),
        (LogisticRegression(max_iter=1_000), "node", "no single tree"),
        (RandomForestClassifier(5), "node", "no single tree"),
        (LogisticRegression(max_iter=1_000), "value", "is a classifier"),
        (LinearRegression(), "probabilities", "a regressor reveals a value"),
        (LinearRegression(), "labels", "a regressor reveals a value"),
    ],
)
def test_what_a_model_cannot_reveal(model: Any, reveal: str, message: str) -> None:
    with pytest.raises(NotRevealed, match=message):
        ModelOracle(model.fit(X, Y), SPACE, reveal=reveal)


def test_several_values_a_row_are_not_revealed() -> None:
    with pytest.raises(NotRevealed, match="several values a row"):
        ModelOracle(LinearRegression().fit(X, X[:, :2]), SPACE, reveal="value").ask(X)


def test_columns_that_the_model_was_not_trained_on() -> None:
    model = LogisticRegression(max_iter=1_000).fit(X, Y)
    with pytest.raises(SchemaError, match="trained on 4 columns, the feature space has 2"):
        ModelOracle(model, FeatureSpace.box([0, 0], [1, 1]))
    named = LogisticRegression(max_iter=1_000).fit(pd.DataFrame(X, columns=list("abcd")), Y)
    with pytest.raises(SchemaError, match="not trained on column 'z'"):
        ModelOracle(named, FeatureSpace.from_frame(pd.DataFrame(X, columns=list("abcz"))))


def test_a_largest_batch_of_nothing() -> None:
    with pytest.raises(UsageError, match="max_batch must be at least 1"):
        ModelOracle(LogisticRegression(max_iter=1_000).fit(X, Y), SPACE, max_batch=0)


# ── the target's name ───────────────────────────────────────────────────────────────────────────────────────


def test_the_fingerprint_outlives_a_file_and_tells_models_apart() -> None:
    space = FeatureSpace.from_frame(RAW)
    file = io.BytesIO()
    joblib.dump(over_raw_columns(), file)
    file.seek(0)
    name = ModelOracle(over_raw_columns(), space).fingerprint()
    assert ModelOracle(joblib.load(file), space).fingerprint() == name
    other = over_raw_columns()
    other[-1].coef_[0, 0] += 1e-12
    assert ModelOracle(other, space).fingerprint() != name


def test_asking_does_not_change_the_fingerprint() -> None:
    oracle = ModelOracle(RandomForestClassifier(5, random_state=0).fit(X, Y), SPACE)
    before = oracle.fingerprint()
    oracle.ask(X)
    assert oracle.fingerprint() == before


def test_evaluating_an_extracted_model_does_not_change_its_fingerprint() -> None:
    """Its feature space caches what it is asked for: a run against it could not be resumed."""
    space = FeatureSpace.box([-1, -1], [1, 1])
    model = LogisticModel(space, ("a", "b"), np.array([[1.0, 2.0]]), np.array([0.5]))
    oracle = ModelOracle(model, FeatureSpace.box([-1, -1], [1, 1]))
    before = oracle.fingerprint()
    model.predict(space.snap(space.sample(10, np.random.default_rng(0))))
    assert oracle.fingerprint() == before


# ── guards ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Shown:
    """A guard that leaves a coarser reveal."""

    reveal: Reveal

    def public(self, spec: OracleSpec) -> OracleSpec:
        return replace(spec, reveal=self.reveal)

    def apply(self, answers: Answers, spec: OracleSpec) -> Answers:
        return self.reveal.apply(answers)


def one(rows: np.ndarray) -> Iterator[Batch]:
    yield Batch(0, rows)


def test_guards_apply_from_the_inside_out_and_are_part_of_the_name() -> None:
    oracle = ModelOracle(LogisticRegression(max_iter=1_000).fit(X, Y), SPACE)
    guards = [Shown(Reveal("probabilities", 2)), Shown(Reveal("labels"))]
    target = guarded(oracle, guards)
    (reply,) = target.answer(one(SPACE.check(X)))
    assert reply.answers.probabilities is None
    np.testing.assert_array_equal(reply.answers.labels, oracle.ask(X).labels)
    assert target.spec.reveal == Reveal("labels")
    assert len({oracle.fingerprint(), target.fingerprint(), guarded(oracle, guards[:1]).fingerprint()}) == 3
    assert guarded(oracle, []) is oracle


def test_class_names_keep_their_kind() -> None:
    assert class_index([True, False], (False, True)).tolist() == [1, 0]
    assert class_index(np.array([1.0, 2.0]), (1, 2)).tolist() == [0, 1]
    assert class_index(["b", "z"], ("a", "b")).tolist() == [1, -1]
    assert class_index([1], (False, True)).tolist() == [-1]
    assert class_index([], ("a",)).tolist() == []
