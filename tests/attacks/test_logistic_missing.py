"""Logistic models with a weight for each missing value, as BigML serves them: to 5 decimals, twice rounded."""

import numpy as np
import pytest

import filch
from filch import models
from filch.attacks.logistic_missing import LogisticMissing
from filch.errors import CannotRun, UsageError
from filch.models.logistic import LogisticModel
from filch.models.logistic_bigml import BigMLLogistic
from filch.models.logistic_missing import MissingLogisticModel
from filch.testing import check_attack

SPACE = filch.FeatureSpace(
    (
        filch.Numeric("age", 18, 90, integer=True),
        filch.Categorical("job", ("a", "b", "c")),
        filch.Numeric("share", 0, 1),
    )
)


def target(seed, classes=("x", "y", "z")):
    """A logistic regression of BigML's; with two classes its sigmoids add up to 1, as BigML trains them."""
    rng = np.random.default_rng(seed)
    coef, intercept = rng.normal(size=(len(classes), 8)), rng.normal(size=len(classes))
    if len(classes) == 2:
        coef[1], intercept[1] = -coef[0], -intercept[0]
    centre, scale = np.array([50, 0, 0.5]), np.array([15, 1, 0.3])
    return BigMLLogistic(SPACE, classes, coef, intercept, centre=centre, scale=scale)


def incomplete(n, seed):
    rng = np.random.default_rng(seed)
    rows = SPACE.sample(n, rng)
    rows[rng.random(rows.shape) < rng.random((n, 1))] = np.nan
    return rows


@pytest.mark.parametrize("classes", [("x", "y"), ("x", "y", "z"), ("x", "y", "z", "")], ids=len)
@pytest.mark.parametrize("seed", range(5))
def test_missing_values_are_learned(classes, seed):
    model = target(seed, classes)
    oracle = filch.ModelOracle(model, SPACE, decimals=5, omission=True)
    run = filch.extract(oracle, attack="logistic-missing", budget=2_000)
    assert run.outcome.value == "verified", run.reason
    rows = incomplete(2_000, seed)
    assert (run.model.predict(rows) == model.predict(rows)).mean() >= 0.998
    assert np.abs(run.model.predict_proba(rows) - model.predict_proba(rows)).mean() < 1e-4


def test_unrounded_answers_give_float_precision():
    whole = LogisticModel(SPACE, ("a", "b"), np.array([[1.0, 0.5, -0.5, 0.0, 2.0]]), np.array([0.3])).canonical()
    model = MissingLogisticModel(whole, np.array([[0.7, -1.1, 0.2]]))
    run = filch.extract(filch.ModelOracle(model, SPACE, omission=True), attack="logistic-missing", budget=200)
    assert run.outcome.value == "verified", run.reason
    rows = incomplete(1_000, 1)
    assert run.model.predict_proba(rows) == pytest.approx(model.predict_proba(rows), abs=1e-9)


def test_the_copy_is_saved_and_read_back(tmp_path):
    whole = LogisticModel(SPACE, ("a", "b"), np.array([[1.0, 0.5, -0.5, 0.0, 2.0]]), np.array([0.3]))
    model = MissingLogisticModel(whole, np.array([[0.7, -1.1, 0.2]]))
    again = models.load(model.save(tmp_path / "copy"))
    rows = incomplete(50, 0)
    assert np.array_equal(again.predict_proba(rows), model.predict_proba(rows))


class Interacting:
    """A missing age counts more the larger the share: no constant."""

    def __init__(self):
        self.whole = target(0)

    classes_ = np.array(["x", "y", "z"])

    def predict_proba(self, X):
        rows = SPACE.rows_of(X)
        shares = self.whole.predict_proba(rows) + 0.1
        shares[:, 0] += np.where(np.isnan(rows[:, 0]), 3 * np.nan_to_num(rows[:, 2]) ** 2, 0)
        return shares / shares.sum(axis=1, keepdims=True)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def test_other_models_are_told():
    oracle = filch.ModelOracle(Interacting(), SPACE, omission=True)
    run = filch.extract(oracle, attack=LogisticMissing(), budget=2_000)
    assert (run.outcome.value, "times what the answers resolve" in run.reason) == ("class_mismatch", True)


def test_contract():
    whole = LogisticModel(SPACE, ("a", "b"), np.array([[1.0, 0.5, -0.5, 0.0, 2.0]]), np.array([0.3]))
    model = MissingLogisticModel(whole, np.array([[0.7, -1.1, 0.2]]))
    check_attack(LogisticMissing(), filch.ModelOracle(model, SPACE, omission=True), budget=40)


def test_misuse():
    with pytest.raises(UsageError):
        LogisticMissing(alpha=0)
    with pytest.raises(CannotRun, match="no incomplete rows"):
        filch.extract(filch.ModelOracle(target(0), SPACE, decimals=5), attack=LogisticMissing(), budget=100)
