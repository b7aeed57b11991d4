"""Equation solving: exact recovery, the promised number of queries, saturation, mismatch, rounding."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import filch
from filch.attacks.linear.equations import solve_one_vs_rest, solve_softmax
from filch.attacks.logistic import Logistic
from filch.errors import CannotRun, UsageError
from filch.models.logistic import LogisticModel, probabilities

SEEDS = range(3)


@dataclass
class Target:
    """A hand-made logistic model, dressed as a scikit-learn classifier."""

    model: LogisticModel

    @property
    def classes_(self):
        return self.model.classes_

    def predict_proba(self, X):
        return self.model.predict_proba(X)

    def predict(self, X):
        return self.model.predict(X)


def mixed_space():
    return filch.FeatureSpace(
        (
            filch.Numeric("age", 18, 90, integer=True),
            filch.Numeric("income", 0, 1e5),
            filch.Numeric("fixed", 3, 3),
            filch.Categorical("city", ("a", "b", "c", "d")),
            filch.Categorical("member", (False, True)),
        )
    )


def target_of(space, link, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    classes = ("no", "yes") if link == "logistic" else ("x", "y", "z")
    vectors = 1 if link == "logistic" else 3
    width = filch.OneHot(space).width
    coef = rng.normal(size=(vectors, width)) * scale
    return Target(LogisticModel(space, classes, coef, rng.normal(size=vectors) * scale / 3, link))


@pytest.mark.parametrize("link", ["logistic", "softmax"])
@pytest.mark.parametrize("seed", SEEDS)
def test_d_plus_one_queries_are_enough(link, seed):
    space = mixed_space()
    oracle = filch.ModelOracle(target_of(space, link, seed), space)
    run = filch.extract(oracle, Logistic(), budget=100, seed=seed)
    assert run.outcome == "verified"
    assert (run.queries, run.selection) == (filch.OneHot(space).free + 1, 8)
    found = filch.fidelity(oracle, run.model, X_test=space.sample(200, np.random.default_rng(seed)))
    assert found.r_test == found.r_unif == 0.0
    assert found.r_tv_unif < 1e-12


def test_one_hot_blocks_and_constants_cost_no_extra_query():
    assert filch.OneHot(mixed_space()).free == 1 + 1 + 0 + 3 + 1


@pytest.mark.parametrize("seed", SEEDS)
def test_one_vs_rest_within_its_bound(seed):
    X, y = load_iris(return_X_y=True)
    oracle = filch.ModelOracle(
        OneVsRestClassifier(LogisticRegression(max_iter=1_000)).fit(X, y), filch.FeatureSpace.box(X.min(0), X.max(0))
    )
    run = filch.extract(oracle, Logistic(), budget=100, seed=seed)
    assert run.outcome == "verified" and run.model.link == "ovr"
    assert run.queries <= 1.2 * math.ceil(3 * 5 / 2)
    assert filch.fidelity(oracle, run.model).r_tv_unif < 1e-9


def test_one_vs_rest_on_digits():
    X, y = load_digits(return_X_y=True)
    oracle = filch.ModelOracle(
        OneVsRestClassifier(LogisticRegression(C=0.01, max_iter=1_000)).fit(X, y), filch.FeatureSpace.box(0, X.max(0))
    )
    run = filch.extract(oracle, Logistic(), budget=500)
    assert run.outcome == "verified", run.reason
    assert filch.fidelity(oracle, run.model, X_test=X).r_tv_test < 1e-9


def test_raw_columns_through_a_pipeline_and_the_owners_weights():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"n": rng.normal(size=300), "k": rng.integers(0, 9, 300), "c": rng.choice(list("uvw"), 300)})
    y = np.where(frame["n"] + (frame["c"] == "u") > 0.3, "in", "out")
    encode = make_column_transformer((OneHotEncoder(), ["c"]), remainder=StandardScaler())
    target = make_pipeline(encode, LogisticRegression()).fit(frame, y)
    oracle = filch.ModelOracle(target, filch.FeatureSpace.from_frame(frame))
    run = filch.extract(oracle, "logistic", budget=50)
    assert run.queries == 5
    assert (run.model.predict(frame) == target.predict(frame)).all()
    assert filch.parameter_error(run.model, target) < 1e-10
    assert np.allclose(run.model.canonical().coef_[:, 2:].sum(axis=1), 0.0, atol=1e-9)


def test_omission_identifies_every_column():
    frame = pd.DataFrame({"c": [*"uvw", *"uvw"], "n": np.arange(6.0)})
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["c"]), remainder="passthrough")
    target = make_pipeline(encode, LogisticRegression()).fit(frame, list("ababba"))
    oracle = filch.ModelOracle(target, filch.FeatureSpace.from_frame(frame), omission=True)
    run = filch.extract(oracle, "logistic", budget=50)
    assert (run.outcome, run.queries) == ("verified", 3 + 1 + 1)
    incomplete = np.array([[np.nan, 2.0]])
    assert np.allclose(run.model.predict_proba(incomplete), oracle.ask(incomplete).probabilities, atol=1e-12)


@pytest.mark.parametrize("scale", [30, 300, 3_000])
@pytest.mark.parametrize("seed", SEEDS)
def test_saturated_answers_are_replaced_by_gentler_rows(scale, seed):
    space = filch.FeatureSpace.box(np.zeros(6), np.full(6, 10.0))
    oracle = filch.ModelOracle(target_of(space, "logistic", seed, scale), space)
    run = filch.extract(oracle, Logistic(), budget=2_000, seed=seed)
    assert run.outcome == "verified", run.reason
    assert filch.fidelity(oracle, run.model).r_unif <= 1e-4


def test_hopeless_saturation_is_said_not_hidden():
    space = mixed_space()
    oracle = filch.ModelOracle(target_of(space, "softmax", 0, 1e6), space)
    run = filch.extract(oracle, Logistic(), budget=2_000)
    assert run.outcome == "no_convergence"
    assert "unknowns stay open" in run.reason


@pytest.mark.parametrize("seed", SEEDS)
def test_another_class_of_model_is_noticed(seed):
    X, y = load_iris(return_X_y=True)
    forest = RandomForestClassifier(n_estimators=37, random_state=0).fit(X, y)
    oracle = filch.ModelOracle(forest, filch.FeatureSpace.box(X.min(0), X.max(0)))
    run = filch.extract(oracle, Logistic(), budget=2_000, seed=seed)
    assert run.outcome in ("class_mismatch", "no_convergence")
    assert run.model is not None


@pytest.mark.parametrize("decimals", [2, 3, 5])
def test_rounded_answers(decimals):
    X, y = load_iris(return_X_y=True)
    target = LogisticRegression(max_iter=1_000).fit(X, y)
    oracle = filch.ModelOracle(target, filch.FeatureSpace.box(X.min(0), X.max(0)), decimals=decimals)
    run = filch.extract(oracle, Logistic(), budget=1_000)
    assert run.outcome == "verified", run.reason
    assert filch.fidelity(oracle, run.model).r_tv_unif < 10.0**-decimals


def test_rounding_is_noticed_without_being_told():
    X, y = load_iris(return_X_y=True)
    space = filch.FeatureSpace.box(X.min(0), X.max(0))
    target = LogisticRegression(max_iter=1_000).fit(X, y)

    class Rounds:
        classes_ = target.classes_

        def predict_proba(self, X):
            return np.round(target.predict_proba(X), 3)

        predict = staticmethod(target.predict)

    run = filch.extract(filch.ModelOracle(Rounds(), space), Logistic(), budget=1_000)
    assert run.outcome == "verified" and run.queries > 5


def test_known_answers_are_free():
    X, y = load_iris(return_X_y=True)
    oracle = filch.ModelOracle(LogisticRegression(max_iter=1_000).fit(X, y), filch.FeatureSpace.box(X.min(0), X.max(0)))
    run = filch.extract(oracle, Logistic(), budget=50, known=oracle.ask(X[::40]))
    assert (run.outcome, run.queries) == ("verified", 1)  # 4 of 5 rows are known


def test_budget_without_a_check_is_unverified():
    X, y = load_iris(return_X_y=True)
    oracle = filch.ModelOracle(LogisticRegression(max_iter=1_000).fit(X, y), filch.FeatureSpace.box(X.min(0), X.max(0)))
    exact = filch.extract(oracle, Logistic(), budget=5)
    assert (exact.outcome, exact.queries) == ("unverified", 5)
    assert filch.fidelity(oracle, exact.model).r_unif == 0.0
    assert filch.extract(oracle, Logistic(), budget=4).outcome == "budget_spent"
    assert filch.extract(oracle, Logistic(check=0), budget=50).outcome == "unverified"


def test_needs_and_parameters():
    X, y = load_iris(return_X_y=True)
    model, space = LogisticRegression(max_iter=1_000).fit(X, y), filch.FeatureSpace.box(X.min(0), X.max(0))
    with pytest.raises(CannotRun, match="reveals labels"):
        filch.extract(filch.ModelOracle(model, space, reveal="labels"), Logistic(), budget=10)
    for wrong in ({"link": "probit"}, {"check": -1}, {"most": 0}):
        with pytest.raises(UsageError):
            Logistic(**wrong)


@pytest.mark.parametrize("seed", SEEDS)
def test_solvers_recover_random_weights(seed):
    rng = np.random.default_rng(seed)
    design = np.column_stack([rng.normal(size=(60, 7)), np.ones(60)])
    weights = rng.normal(size=(8, 4))
    centred = weights - weights.mean(axis=1, keepdims=True)
    assert np.allclose(solve_softmax(design, probabilities(design @ weights, "softmax")), centred, atol=1e-10)
    found, residual = solve_one_vs_rest(design[:12], probabilities(design[:12] @ weights, "ovr"))
    assert residual < 1e-10
    assert np.allclose(probabilities(design @ found, "ovr"), probabilities(design @ weights, "ovr"), atol=1e-6)
