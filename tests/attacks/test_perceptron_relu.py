"""ReLU networks: exact copies in few queries, whatever the output, the columns and the width; and other targets."""

from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.svm import SVC

import filch
from filch.attacks.networks.relu_algebra import merged, oriented, polish
from filch.attacks.networks.relu_view import Heard, Units, View, always_on
from filch.attacks.perceptron_relu import PerceptronRelu
from filch.errors import CannotRun, UsageError
from filch.models.perceptron import PerceptronModel

SEEDS = range(3)


@dataclass
class Target:
    """A hand-made network, dressed as a scikit-learn model."""

    model: PerceptronModel
    noise: float = 0.0

    @property
    def classes_(self):
        return self.model.classes_

    def predict_proba(self, X):
        shown = self.model.predict_proba(X)
        if self.noise:
            shown = shown * np.exp(self.noise * np.random.default_rng().normal(size=shown.shape))
            shown /= shown.sum(axis=1, keepdims=True)
        return shown

    def predict(self, X):
        return self.model.predict(X)


@dataclass
class Regressor:
    """A hand-made network with a value."""

    model: PerceptronModel

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


def network(space, classes, hidden, seed, bias=1.0):
    rng = np.random.default_rng(seed)
    width = filch.OneHot(space).width
    outputs = 1 if classes in (None, 2) else classes
    coefs = rng.normal(size=(width, hidden)) / np.sqrt(width), rng.normal(size=(hidden, outputs))
    intercepts = bias * rng.normal(size=hidden), rng.normal(size=outputs)
    names = None if classes is None else tuple("abcdefgh"[:classes])
    link = "identity" if classes is None else "logistic" if classes == 2 else "softmax"
    return PerceptronModel(space, names, coefs, intercepts, "relu", link)


def check_exact(oracle, run, tolerance=1e-10):
    assert run.outcome == "verified", run.reason
    found = filch.fidelity(oracle, run.model)
    assert found.r_unif == 0.0
    if found.r_tv_unif is not None:
        assert found.r_tv_unif <= tolerance


def unknowns(space, classes, hidden):
    outputs = 1 if classes is None else classes
    return hidden * (filch.OneHot(space).width + 1) + outputs * (hidden + 1)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("classes", [2, 3, 5, None])
def test_exact_in_few_queries(classes, seed):
    space = filch.FeatureSpace.box(-np.ones(12), np.ones(12))
    model = network(space, classes, 8, seed, bias=0.3)
    oracle = filch.ModelOracle(Regressor(model), space, reveal="value") if classes is None else None
    oracle = oracle or filch.ModelOracle(Target(model), space)
    run = filch.extract(oracle, PerceptronRelu(), budget=3 * unknowns(space, classes, 8) + 8, seed=seed, curve=False)
    check_exact(oracle, run)
    assert run.evidence["hidden"] == 8
    assert run.queries <= 3 * unknowns(space, classes, 8)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_weights_of_the_units_are_found(seed):
    space = filch.FeatureSpace.box(-np.ones(12), np.ones(12))
    model = network(space, 3, 8, seed, bias=0.3)
    run = filch.extract(filch.ModelOracle(Target(model), space), PerceptronRelu(), budget=2_000, seed=seed, curve=False)
    true, found = model.canonical(), run.model.canonical()
    assert found.hidden == 8
    for mine, theirs in zip((*found.coefs_, *found.intercepts_), (*true.coefs_, *true.intercepts_), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-8)


@pytest.mark.parametrize("seed", SEEDS)
def test_more_units_than_columns(seed):
    space = filch.FeatureSpace.box(-np.ones(3), np.ones(3))
    model = network(space, 3, 30, seed)
    oracle = filch.ModelOracle(Target(model), space)
    run = filch.extract(oracle, PerceptronRelu(), budget=2_000, seed=seed, curve=False)
    check_exact(oracle, run)


@pytest.mark.parametrize("seed", SEEDS)
def test_raw_columns_with_categories(seed):
    space = mixed_space()
    oracle = filch.ModelOracle(Target(network(space, 3, 6, seed)), space)
    run = filch.extract(oracle, PerceptronRelu(), budget=2_000, seed=seed, curve=False)
    check_exact(oracle, run)


def test_dead_double_and_constant_units():
    space = filch.FeatureSpace.box(-np.ones(6), np.ones(6))
    model = network(space, 3, 6, 1, bias=0.3)
    first, inner = model.coefs_[0], model.intercepts_[0]
    first[:, 0] = 0.0  # always on
    first[:, 1], inner[1] = 0.0, -1.0  # dead
    first[:, 2], inner[2] = 2 * first[:, 3], 2 * inner[3]  # doubles
    first[:, 4] = -first[:, 5]  # and the same kink from the other side
    inner[4] = -inner[5]
    oracle = filch.ModelOracle(Target(model), space)
    run = filch.extract(oracle, PerceptronRelu(), budget=1_000, curve=False)
    check_exact(oracle, run)
    assert run.evidence["hidden"] == 2


def test_units_that_are_on_everywhere_in_range():
    space = filch.FeatureSpace.box(-np.ones(6), np.ones(6))
    model = network(space, 3, 4, 0, bias=0.3)
    model.intercepts_[0][0] = 50.0
    oracle = filch.ModelOracle(Target(model), space)
    check_exact(oracle, filch.extract(oracle, PerceptronRelu(), budget=1_000, curve=False))


def test_a_network_that_scikit_learn_fitted():
    X, y = load_iris(return_X_y=True)
    target = MLPClassifier((20,), random_state=0, max_iter=3_000).fit(X, y)
    oracle = filch.ModelOracle(target, filch.FeatureSpace.box(X.min(0), X.max(0)))
    run = filch.extract(oracle, "perceptron-relu", budget=3 * unknowns(oracle.spec.space, 3, 20), curve=False)
    check_exact(oracle, run)
    assert filch.fidelity(oracle, run.model, X_test=X).r_test == 0.0


def test_a_linear_model_has_no_kinks():
    X, y = load_iris(return_X_y=True)
    target = LogisticRegression(max_iter=1_000).fit(X, y)
    oracle = filch.ModelOracle(target, filch.FeatureSpace.box(X.min(0), X.max(0)))
    run = filch.extract(oracle, PerceptronRelu(), budget=500, curve=False)
    check_exact(oracle, run)
    assert run.evidence["hidden"] == 0 and run.evidence["affine part"]


@pytest.mark.parametrize(
    "target",
    [
        MLPClassifier((8,), "tanh", solver="lbfgs", max_iter=3_000, random_state=0),
        SVC(),
        RandomForestClassifier(n_estimators=7, random_state=0),
        MLPClassifier((8, 8), solver="lbfgs", max_iter=3_000, random_state=0),
    ],
    ids=["tanh", "kernel", "forest", "two layers"],
)
def test_another_class_of_model_is_noticed_early(target):
    X, y = load_iris(return_X_y=True)
    target.fit(X, y)
    if isinstance(target, SVC):
        machine = target

        class Softmax:
            classes_ = machine.classes_
            predict = staticmethod(machine.predict)

            def predict_proba(self, X):
                scores = np.exp(machine.decision_function(X))
                return scores / scores.sum(axis=1, keepdims=True)

        target = Softmax()
    oracle = filch.ModelOracle(target, filch.FeatureSpace.box(X.min(0), X.max(0)))
    run = filch.extract(oracle, PerceptronRelu(), budget=20_000, curve=False)
    assert run.outcome in ("class_mismatch", "no_convergence"), run.reason
    assert run.queries <= 3_000


def test_noise_is_named():
    space = filch.FeatureSpace.box(-np.ones(4), np.ones(4))
    oracle = filch.ModelOracle(Target(network(space, 3, 5, 0), noise=1e-3), space)
    run = filch.extract(oracle, PerceptronRelu(), budget=3_000, curve=False)
    assert run.outcome == "no_convergence"
    assert "differently from call to call" in run.reason


def test_answers_in_float32_are_not_taken_for_exact_ones():
    space = filch.FeatureSpace.box(-np.ones(4), np.ones(4))
    model = network(space, 3, 5, 0)

    class Single(Target):
        def predict_proba(self, X):
            return self.model.predict_proba(X).astype(np.float32)

    run = filch.extract(filch.ModelOracle(Single(model), space), PerceptronRelu(), budget=3_000, curve=False)
    assert run.outcome == "no_convergence"
    assert "float32" in run.reason


def test_rounding_is_noticed_without_being_told():
    space = filch.FeatureSpace.box(-np.ones(4), np.ones(4))
    model = network(space, 3, 5, 0)

    class Rounds(Target):
        def predict_proba(self, X):
            return np.round(self.model.predict_proba(X), 4)

    run = filch.extract(filch.ModelOracle(Rounds(model), space), PerceptronRelu(), budget=3_000, curve=False)
    assert run.outcome == "no_convergence"
    assert "rounded" in run.reason


def test_small_budgets():
    space = filch.FeatureSpace.box(-np.ones(6), np.ones(6))
    oracle = filch.ModelOracle(Target(network(space, 3, 4, 0, bias=0.3)), space)
    whole = filch.extract(oracle, PerceptronRelu(), budget=1_000, curve=False)
    exact = filch.extract(oracle, PerceptronRelu(), budget=whole.queries, curve=False)
    assert exact.outcome == "unverified" and filch.fidelity(oracle, exact.model).r_unif == 0.0
    short = filch.extract(oracle, PerceptronRelu(), budget=40, curve=False)
    assert short.outcome == "budget_spent" and short.model is not None
    assert filch.extract(oracle, PerceptronRelu(check=0), budget=1_000, curve=False).outcome == "unverified"


def test_needs_and_parameters():
    space = filch.FeatureSpace.box([0, 0], [1, 1])
    target = Target(network(space, 3, 4, 0))
    for reveal, word in (
        ({"reveal": "labels"}, "labels"),
        ({"reveal": "top-2"}, "top-2"),
        ({"decimals": 3}, "3 decim"),
    ):
        with pytest.raises(CannotRun, match=word):
            filch.extract(filch.ModelOracle(target, space, **reveal), PerceptronRelu(), budget=10)
    words = filch.FeatureSpace((filch.Categorical("c", ("u", "v")),))
    assert "no column is a number" in (PerceptronRelu().needs(filch.OracleSpec(words, ("a", "b"))) or "")
    with pytest.raises(UsageError, match="check"):
        PerceptronRelu(check=-1)


# ── parts ───────────────────────────────────────────────────────────────────────────────────────────────────


def random_units(rng, d=5, k=4, m=2):
    return Units(rng.normal(size=(d + 1, m)), rng.normal(size=(d + 1, k)), rng.normal(size=(k, m)))


@pytest.mark.parametrize("seed", SEEDS)
def test_turning_merging_and_always_on_units_change_no_score(seed):
    rng = np.random.default_rng(seed)
    units, points = random_units(rng), rng.uniform(-10, 10, (50, 5))
    turned, constant = oriented(units)
    assert not constant
    np.testing.assert_allclose(turned.scores(points), units.scores(points), atol=1e-9)
    np.testing.assert_allclose(always_on(units, 10.0).scores(points), units.scores(points), atol=1e-9)
    assert not always_on(units, 10.0).affine[:-1].any()
    double = units.joined(Units(0 * units.affine, 3 * units.inner, units.outer))
    assert merged(double).count == 4
    np.testing.assert_allclose(merged(double).scores(points), double.scores(points), atol=1e-9)


def test_an_affine_part_that_is_only_the_orientation_of_units_vanishes():
    rng = np.random.default_rng(0)
    units = random_units(rng)
    units.affine[:-1] = 0.0
    points, sign = rng.normal(size=(50, 5)), np.array([1.0, -1.0, -1.0, 1.0])
    affine = units.affine + (units.inner * (sign < 0)) @ units.outer
    hidden = Units(affine, units.inner * sign, units.outer)
    found, constant = oriented(hidden)
    assert constant
    np.testing.assert_allclose(found.scores(points), units.scores(points), atol=1e-9)


def test_steps_by_iteration_are_those_of_the_normal_equations(monkeypatch):
    rng = np.random.default_rng(0)
    units, points = random_units(rng), rng.normal(size=(200, 5))
    heard = Heard(points, units.scores(points), np.full(200, 1e-15))
    near = Units(units.affine + 1e-6, units.inner * (1 + 1e-6 * rng.normal(size=units.inner.shape)), units.outer)
    for dense in (4_000, 1):
        monkeypatch.setattr("filch.attacks.networks.relu_algebra._DENSE", dense)
        found = polish(near, heard, bent=False)
        np.testing.assert_allclose(found.scores(points), heard.scores, atol=1e-12)


def test_contrasts_are_orthonormal():
    view = View(filch.OracleSpec(filch.FeatureSpace.box([0], [1]), tuple("abcd")))
    np.testing.assert_allclose(view.contrasts.T @ view.contrasts, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(view.contrasts.sum(axis=0), 0.0, atol=1e-12)


def test_regressor_of_scikit_learn():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (300, 4))
    target = MLPRegressor(hidden_layer_sizes=(10,), solver="lbfgs", max_iter=2_000, random_state=0).fit(
        X, np.sin(2 * X).sum(axis=1)
    )
    oracle = filch.ModelOracle(target, filch.FeatureSpace.box(-np.ones(4), np.ones(4)), reveal="value")
    check_exact(oracle, filch.extract(oracle, PerceptronRelu(), budget=2_000, curve=False))
