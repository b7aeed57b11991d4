"""The paper's gradient descent: close copies, the promised number of queries, rounded and truncated answers."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import log_softmax

import filch
from filch.attacks.perceptron_sgd import PerceptronSGD, descend
from filch.errors import CannotRun, UsageError
from filch.models.perceptron import PerceptronModel


@dataclass
class Target:
    """A hand-made network, dressed as a scikit-learn classifier."""

    model: PerceptronModel

    @property
    def classes_(self):
        return self.model.classes_

    def predict_proba(self, X):
        return self.model.predict_proba(X)

    def predict(self, X):
        return self.model.predict(X)


def target_of(classes=3, activation="tanh", seed=0, hidden=3, space=None):
    space = filch.FeatureSpace.box([-1, -1], [1, 1]) if space is None else space
    rng = np.random.default_rng(seed)
    outputs = 1 if classes == 2 else classes
    coefs = rng.normal(size=(filch.OneHot(space).width, hidden)) * 2, rng.normal(size=(hidden, outputs)) * 2
    intercepts = rng.normal(size=hidden), rng.normal(size=outputs)
    names = tuple("abcdefgh"[:classes])
    link = "logistic" if classes == 2 else "softmax"
    return Target(PerceptronModel(space, names, coefs, intercepts, activation, link)), space


@pytest.mark.parametrize("activation", ["tanh", "logistic", "relu"])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_close_copy_from_the_promised_queries(activation, classes):
    target, space = target_of(classes, activation)
    attack = PerceptronSGD(hidden=6, activation=activation, alpha=10, epochs=600)
    oracle = filch.ModelOracle(target, space)
    run = filch.extract(oracle, attack, budget=2_000, curve=False)
    assert (run.queries, run.selection) == (10 * (6 * 3 + classes * 7), 8)
    assert run.outcome == "approximate", run.reason
    assert run.model.activation == activation
    found = filch.fidelity(oracle, run.model)
    assert found.r_unif < 0.05
    assert found.r_tv_unif < 0.03
    assert run.evidence["residual"] < 0.03


@pytest.mark.parametrize("reveal", [{"decimals": 2}, {"reveal": "top-2"}, {"reveal": "top-1"}])
def test_rounded_and_truncated_answers(reveal):
    target, space = target_of(4)
    full = filch.ModelOracle(target, space)
    run = filch.extract(
        filch.ModelOracle(target, space, **reveal),
        PerceptronSGD(hidden=6, alpha=10, epochs=400),
        budget=2_000,
        curve=False,
    )
    assert run.outcome in ("approximate", "verified"), run.reason
    assert filch.fidelity(full, run.model).r_unif < 0.05


def test_over_raw_columns():
    features = filch.Numeric("n", 0, 10, integer=True), filch.Categorical("c", ("u", "v", "w"))
    target, space = target_of(3, space=filch.FeatureSpace(features))
    oracle = filch.ModelOracle(target, space)
    run = filch.extract(oracle, PerceptronSGD(hidden=6, epochs=300), budget=1_000, curve=False)
    assert filch.fidelity(oracle, run.model).r_unif < 0.05


def test_the_budget_cuts_what_is_planned():
    target, space = target_of()
    oracle = filch.ModelOracle(target, space)
    run = filch.extract(oracle, PerceptronSGD(epochs=5), budget=100)
    assert (run.queries, run.selection, run.outcome) == (92, 8, "approximate")
    assert filch.extract(oracle, PerceptronSGD(epochs=5, check=0), budget=100).queries == 100
    short = filch.extract(oracle, PerceptronSGD(epochs=5), budget=4)
    assert short.outcome == "budget_spent" and short.model is not None


def test_known_answers_are_learned():
    target, space = target_of()
    oracle = filch.ModelOracle(target, space)
    known = oracle.ask(space.sample(50, np.random.default_rng(1)))
    run = filch.extract(oracle, PerceptronSGD(epochs=5), budget=50, known=known)
    assert run.evidence["answers"] == 50 + 42


def test_steps_follow_the_gradient():
    """With one huge batch and one tiny step, Adam moves every weight against the slope of the loss by ``rate``."""
    rng = np.random.default_rng(0)
    inputs, shown = np.column_stack([rng.normal(size=(40, 2)), np.ones(40)]), rng.dirichlet(np.ones(3), size=40)

    def loss(inner, outer):
        scores = np.tanh(inputs @ inner) @ outer[:-1] + outer[-1]
        return float(-(shown * log_softmax(scores, axis=1)).sum() / 40)

    def fitted(rate):
        # Two epochs of one step: the second one's rate is 0, the first one's half of the rate given.
        return descend(PerceptronSGD(hidden=4, epochs=2, batch=40, rate=rate), inputs, shown, np.random.default_rng(3))

    (inner, outer), (moved, turned) = fitted(1e-12), fitted(2e-6)
    for position in np.ndindex(inner.shape):
        nudged = inner.copy()
        nudged[position] += 1e-5
        slope = loss(nudged, outer) - loss(inner, outer)
        assert np.sign(slope) == -np.sign(moved[position] - inner[position])
    assert np.abs(np.abs(turned - outer) - 1e-6).max() < 1e-8


def test_needs_and_parameters():
    target, space = target_of()
    with pytest.raises(CannotRun, match="reveals labels"):
        filch.extract(filch.ModelOracle(target, space, reveal="labels"), PerceptronSGD(), budget=10)
    assert PerceptronSGD().needs(filch.OracleSpec(space, None)) is not None
    for wrong in ({"activation": "sine"}, {"hidden": 0}, {"alpha": 0}, {"epochs": 0}, {"rate": -1.0}, {"check": -1}):
        with pytest.raises(UsageError, match="PerceptronSGD takes"):
            PerceptronSGD(**wrong)
