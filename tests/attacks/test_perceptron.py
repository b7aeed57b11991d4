"""Networks from slopes: exact recovery, counted units, fits from scratch, and what is no smooth network."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

import filch
from filch.attacks.networks.algebra import fit_bumps, points_needed, rank_one_terms
from filch.attacks.networks.fit import Equations, Net, fit_from_scratch, polish
from filch.attacks.perceptron import Perceptron
from filch.errors import CannotRun, UsageError
from filch.models.perceptron import PerceptronModel
from filch.testing import check_attack

SEEDS = range(5)


class Target:
    """A hand-made network, dressed as a scikit-learn model."""

    def __init__(self, model: PerceptronModel):
        self.model = model
        if model.classes is not None:
            self.classes_ = model.classes_
            self.predict_proba = model.predict_proba

    def predict(self, X):
        return self.model.predict(X)


def network(space, hidden, outputs, activation="tanh", seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    width = filch.OneHot(space).width
    link = {1: "identity", 2: "logistic"}.get(outputs, "softmax")
    columns = outputs if link == "softmax" else 1
    coefs = rng.normal(size=(width, hidden)) * scale / np.sqrt(width), rng.normal(size=(hidden, columns))
    intercepts = rng.normal(size=hidden) * scale / 3, rng.normal(size=columns)
    classes = None if link == "identity" else tuple("abcdefghij"[:outputs])
    return PerceptronModel(space, classes, coefs, intercepts, activation, link)


def box(d):
    return filch.FeatureSpace.box([-1.0] * d, [1.0] * d)


def extracted(model, budget=5_000, seed=0, reveal="probabilities", attack=None, guard=()):
    oracle = filch.ModelOracle(Target(model), model.space, reveal=reveal)
    run = filch.extract(oracle, attack or Perceptron(), budget=budget, seed=seed, curve=False, guard=guard)
    return oracle, run


@pytest.mark.parametrize("activation", ["tanh", "logistic"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_network_is_recovered_unit_by_unit(activation, seed):
    target = network(box(12), 6, 4, activation, seed, scale=2.0)
    _, run = extracted(target, seed=seed, attack=Perceptron(activation=activation))
    assert run.outcome == "verified", run.reason
    assert run.model.hidden == 6
    found, true = run.model.canonical(), target.canonical()
    for ours, theirs in zip((*found.coefs_, *found.intercepts_), (*true.coefs_, *true.intercepts_), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert run.queries < 2 * 13 + 8 + 2 + 8 * 10 + 20


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("outputs", "reveal"), [(2, "probabilities"), (1, "value")])
def test_one_score_is_enough(outputs, reveal, seed):
    oracle, run = extracted(network(box(10), 4, outputs, seed=seed, scale=2.0), seed=seed, reveal=reveal)
    assert run.outcome == "verified", run.reason
    assert run.model.hidden == 4
    rows = oracle.spec.space.sample(1_000, np.random.default_rng(seed))
    found = filch.fidelity(oracle, run.model, X_test=rows)
    if outputs == 2:
        assert found.r_test == 0.0 and found.r_tv_test < 1e-6
    else:
        assert np.abs(run.model.predict(rows) - oracle.model.predict(rows)).max() < 1e-5


def test_a_narrow_space_is_fitted_from_scratch():
    oracle, run = extracted(network(box(2), 8, 3, scale=2.0), attack=Perceptron(hidden=8))
    assert run.outcome == "verified", run.reason
    assert filch.fidelity(oracle, run.model, n_uniform=2_000).r_unif == 0.0


def test_dead_and_double_units_are_no_harm():
    target = network(box(10), 5, 4, scale=2.0)
    (first, second), (inner, outer) = target.coefs_, target.intercepts_
    first, second, inner = first.copy(), second.copy(), inner.copy()
    first[:, 1], inner[1] = first[:, 0], inner[0]  # the same unit twice
    second[2] = 0.0  # a unit that nobody listens to
    double = PerceptronModel(target.space, target.classes, (first, second), (inner, outer), "tanh", "softmax")
    oracle, run = extracted(double)
    assert run.outcome == "verified", run.reason
    assert run.model.hidden == 3
    assert filch.fidelity(oracle, run.model, n_uniform=2_000).r_tv_unif < 1e-7


@pytest.mark.parametrize("seed", SEEDS)
def test_units_that_saturate_almost_everywhere_are_scouted_for(seed):
    oracle, run = extracted(network(box(30), 8, 5, scale=8.0, seed=seed), seed=seed)
    assert run.outcome == "verified", run.reason
    assert filch.fidelity(oracle, run.model, n_uniform=2_000).r_unif == 0.0


def test_categories_are_fitted_from_scratch():
    space = filch.FeatureSpace((filch.Numeric("a", 0, 9, integer=True), filch.Categorical("b", ("x", "y", "z"))))
    oracle, run = extracted(network(space, 3, 3, scale=2.0), attack=Perceptron(hidden=3))
    assert run.outcome == "verified", run.reason
    assert filch.fidelity(oracle, run.model, n_uniform=2_000).r_unif == 0.0


# ── what is no smooth network ───────────────────────────────────────────────────────────────────────────────


def fitted(model, d=8):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(400, d))
    y = (np.sin(3 * X[:, 0]) + X[:, 1] > 0).astype(int) + (X[:, 2] > 0.3)
    return filch.ModelOracle(model.fit(X, y), box(d))


@pytest.mark.parametrize(
    ("model", "told", "most"),
    [
        (RandomForestClassifier(20, random_state=0), "steps", 9),
        (LogisticRegression(), "straight lines", 9 + 9),
    ],
)
def test_other_classes_are_told_early(model, told, most):
    run = filch.extract(fitted(model), Perceptron(), budget=5_000)
    assert run.outcome == "class_mismatch"
    assert told in run.reason
    assert run.queries <= most


def test_relu_units_are_told_early():
    _, run = extracted(network(box(10), 6, 3, "relu"))
    assert run.outcome == "class_mismatch"
    assert "perceptron-relu" in run.reason
    assert run.queries <= 11 + 9


def test_noise_is_told():
    class Noisy(Target):
        rng = np.random.default_rng(0)

        def __init__(self, model):
            super().__init__(model)
            self.predict_proba = self.noisy

        def noisy(self, X):
            shown = self.model.predict_proba(X) + self.rng.uniform(0, 1e-3, size=(len(X), 4))
            return shown / shown.sum(axis=1, keepdims=True)

    oracle = filch.ModelOracle(Noisy(network(box(6), 3, 4)), box(6))
    run = filch.extract(oracle, Perceptron(), budget=2_000, curve=False)
    assert run.outcome == "class_mismatch"
    assert "differently" in run.reason


@pytest.mark.parametrize("decimals", [3, 7])
def test_rounded_answers_are_told(decimals):
    class Rounded(Target):
        def __init__(self, model):
            super().__init__(model)
            self.predict_proba = lambda X: np.round(model.predict_proba(X), decimals)

    oracle = filch.ModelOracle(Rounded(network(box(4), 3, 3)), box(4))
    run = filch.extract(oracle, Perceptron(hidden=3), budget=150, curve=False)
    assert run.outcome == "class_mismatch"
    assert "rounded" in run.reason and "perceptron-rounded" in run.reason
    assert run.queries < 20


def test_a_spent_budget_still_yields_a_network():
    _, run = extracted(network(box(12), 6, 4), budget=40)
    assert run.outcome == "budget_spent"
    assert run.queries + run.selection <= 40
    assert run.model is not None


def test_needs_unrounded_probabilities_or_a_value():
    space = box(3)
    target = Target(network(space, 2, 3))
    for settings, word in [
        ({"reveal": "labels"}, "labels"),
        ({"decimals": 3}, "perceptron-rounded"),
        ({"reveal": "top-1"}, "all"),
    ]:
        with pytest.raises(CannotRun, match=word):
            filch.extract(filch.ModelOracle(target, space, **settings), Perceptron(), budget=100)


@pytest.mark.parametrize(
    "wrong", [{"activation": "relu"}, {"hidden": 0}, {"check": -1}, {"rounds": 0}, {"method": "luck"}]
)
def test_parameters_out_of_range(wrong):
    with pytest.raises(UsageError, match="Perceptron takes"):
        Perceptron(**wrong)


def test_conforms():
    space = box(5)
    oracle = filch.ModelOracle(Target(network(space, 3, 3, scale=2.0)), space)
    check_attack(Perceptron(), oracle)


# ── the algebra ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("points", "scores", "units"), [(12, 3, 8), (10, 2, 8), (70, 2, 50)])
def test_terms_of_rank_one_are_found(points, scores, units):
    rng = np.random.default_rng(0)
    g, v, w = rng.normal(size=(units, points)), rng.normal(size=(units, scores)), rng.normal(size=(units, units))
    tensor = np.einsum("jp,jk,jq->pkq", g, v, w)
    shares, outputs = rank_one_terms(tensor, rng)
    terms = np.einsum("jp,jk->jpk", shares, outputs)
    true = np.einsum("jp,jk->jpk", g, v)
    cosine = np.einsum("jpk,ipk->ji", terms, true)
    cosine /= np.linalg.norm(terms, axis=(1, 2))[:, None] * np.linalg.norm(true, axis=(1, 2))
    assert np.abs(cosine).max(axis=0).min() > 1 - 1e-6
    assert points >= points_needed(units, scores) or scores == 2


def test_bumps_give_scale_and_bias():
    rng = np.random.default_rng(0)
    ways, scales, biases = rng.uniform(-2, 2, size=(4, 12)), np.array([0.5, 1, 2, 3]), np.array([0.3, -1, 0.5, 1.5])
    heights = -3.0 / np.cosh(scales[:, None] * ways + biases[:, None]) ** 2
    found = fit_bumps(ways, heights)
    np.testing.assert_allclose(np.abs(found[0]), scales, rtol=1e-6)
    np.testing.assert_allclose(np.sign(found[0]) * found[1], biases, rtol=1e-5)


def test_polish_follows_quotients():
    rng = np.random.default_rng(0)
    true = Net(rng.normal(size=(4, 3)), rng.normal(size=(4, 2)))
    rows = np.column_stack([rng.normal(size=(30, 3)), np.ones(30)])
    ways = np.column_stack([rng.normal(size=(30, 3)), np.zeros(30)])
    quotients = (true.scores(rows + 1e-4 * ways) - true.scores(rows)) / 1e-4
    equations = Equations(rows, true.scores(rows), np.arange(30), ways, quotients, np.full(30, 1e-4))
    begun = Net(true.inner + 0.05 * rng.normal(size=(4, 3)), true.outer)
    found, misfit = polish(equations.solve_outer(begun.inner), equations)
    assert misfit < 1e-9
    np.testing.assert_allclose(found.inner, true.inner, atol=1e-6)


def test_a_fit_from_scratch_keeps_the_closest_start():
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.uniform(-1, 1, size=(80, 1)), np.ones(80)])
    net, misfit = fit_from_scratch(rows, np.sin(3 * rows[:, :1]), 6, rng)
    assert misfit == pytest.approx(np.sqrt(np.mean((net.scores(rows) - np.sin(3 * rows[:, :1])) ** 2)))
    assert misfit < 1e-4
