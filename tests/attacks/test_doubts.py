"""Answers that cannot be believed are named, and ordinary ones are not."""

from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

import filch
from filch.attacks.doubts import doubt, resolution, unmet
from filch.attacks.logistic import Logistic

X, y = load_iris(return_X_y=True)
SPACE = filch.FeatureSpace.box(X.min(axis=0), X.max(axis=0))
MODEL = LogisticRegression(max_iter=1_000).fit(X, y)
SPEC = filch.ModelOracle(MODEL, SPACE).spec


@dataclass
class Tampered:
    """A classifier whose probabilities go through ``change`` before they are shown."""

    change: object

    classes_ = MODEL.classes_

    def predict(self, X):
        return self.classes_[np.nan_to_num(self.predict_proba(X)).argmax(axis=1)]

    def predict_proba(self, X):
        return self.change(MODEL.predict_proba(X))


def extract(model, budget=400, **options):
    return filch.extract(filch.ModelOracle(model, SPACE, **options), Logistic(), budget=budget)


def one_nan(p):
    p = p.copy()
    p[:1, 0] = np.nan
    return p


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p * 1.5, "above 1"),
        (lambda p: p * 0.5, "do not sum to 1 (0.5)"),
        (lambda p: p - 0.2, "below 0"),
        (one_nan, "missing (NaN)"),
        (lambda p: p * np.nan, "missing (NaN)"),
    ],
)
def test_answers_that_are_no_probabilities_are_named(change, words):
    run = extract(Tampered(change))
    assert run.outcome == "class_mismatch" and words in run.reason, run.reason
    assert run.model is not None or np.isnan(change(np.ones((1, 3)))).all()


@pytest.mark.parametrize("decimals", [None, 1, 2, 5])
@pytest.mark.parametrize("reveal", ["labels", "top-1", "top-2", "probabilities"])
def test_ordinary_answers_are_believed(decimals, reveal):
    oracle = filch.ModelOracle(MODEL, SPACE, reveal=reveal, decimals=decimals)
    assert doubt(oracle.ask(SPACE.sample(500, np.random.default_rng(0))), oracle.spec) is None


def test_a_float32_server_is_believed_and_its_resolution_seen():
    single = Tampered(lambda p: p.astype(np.float32))
    oracle = filch.ModelOracle(single, SPACE)
    answers = oracle.ask(SPACE.sample(500, np.random.default_rng(0)))
    assert doubt(answers, oracle.spec) is None and resolution(answers, oracle.spec) == 0.0
    run = filch.extract(oracle, Logistic(), budget=100)
    assert run.outcome == "verified", run.reason
    assert filch.fidelity(oracle, run.model).r_tv_unif < 1e-6


def test_top_k_that_sums_to_more_than_one():
    spec = filch.OracleSpec(SPACE, ("a", "b", "c"), filch.Reveal("top-2"))
    shown = np.array([[0.7, 0.6, np.nan]])
    assert "sum to more than 1 (1.3)" in doubt(filch.Answers(X[:1], probabilities=shown), spec)
    missing = np.array([[0.7, np.nan, np.nan]])
    assert "missing" in doubt(filch.Answers(X[:1], probabilities=missing), spec)


@pytest.mark.parametrize("reveal", ["value", "scores"])
def test_numbers_that_are_not_finite(reveal):
    numbers = np.array([[1.0], [np.inf]])
    answers = filch.Answers(X[:2], **{reveal: numbers[:, 0] if reveal == "value" else numbers})
    assert "no finite number" in doubt(answers, filch.OracleSpec(SPACE, None, filch.Reveal(reveal)))


def test_classes_that_never_appear_are_named():
    labels = filch.Answers(X[:9], labels=np.array([0, 2] * 4 + [0]))
    assert unmet(labels, SPEC) == "class '1' never appears in 9 answers"
    assert unmet(filch.Answers(X[:3], labels=np.array([0, 1, 2])), SPEC) is None

    def without_the_last(p):
        p = np.column_stack([p[:, :2], np.zeros(len(p))])
        return p / p.sum(axis=1, keepdims=True)

    run = extract(Tampered(without_the_last))
    assert run.outcome == "no_convergence" and "class '2' never appears" in run.reason, run.reason


@pytest.mark.parametrize("seed", range(3))
def test_noise_between_calls_is_told_from_another_class(seed):
    rng = np.random.default_rng(seed)

    def noisy(p):
        p = np.abs(p + rng.normal(size=p.shape) * 1e-3)
        return p / p.sum(axis=1, keepdims=True)

    run = extract(Tampered(noisy))
    assert run.outcome == "no_convergence" and "from call to call (4 of 4" in run.reason, run.reason


def test_a_support_vector_machine_is_no_logistic_model():
    machine = CalibratedClassifierCV(SVC(), ensemble=False).fit(X, y)
    run = extract(machine)
    assert run.outcome == "class_mismatch" and run.model is not None, run.reason
