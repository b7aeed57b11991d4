"""Fidelity and its intervals."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LinearRegression, LogisticRegression

import filch
from filch.errors import UsageError
from filch.evaluate import Evaluation, clopper_pearson

SPACE = filch.FeatureSpace.box([-1, -1], [1, 1])


@pytest.fixture(scope="module")
def oracle():
    X = SPACE.sample(200, np.random.default_rng(0))
    return filch.ModelOracle(LogisticRegression().fit(X, np.where(X @ [1, 2] > 0, "pos", "neg")), SPACE)


@given(st.integers(1, 2_000), st.data())
def test_clopper_pearson_covers_the_share(n, data):
    k = data.draw(st.integers(0, n))
    low, high = clopper_pearson(k, n)
    assert 0.0 <= low <= k / n <= high <= 1.0
    if k == 0:
        assert stats.binom.cdf(0, n, high) == pytest.approx(0.05)


def test_zero_of_ten_thousand_leaves_three_in_ten_thousand():
    assert clopper_pearson(0, 10_000)[1] == pytest.approx(3e-4, rel=1e-2)


def test_an_exact_copy_and_a_wrong_one(oracle):
    model = filch.extract(oracle, "logistic", budget=50).model
    exact = filch.fidelity(oracle, model, X_test=SPACE.sample(300, np.random.default_rng(1)))
    assert (exact.r_test, exact.r_unif, exact.n_test, exact.n_uniform) == (0.0, 0.0, 300, 10_000)
    assert exact.r_tv_unif < 1e-12
    flipped = type(model)(SPACE, model.classes, -model.coef_, -model.intercept_)
    wrong = filch.fidelity(oracle, flipped, n_uniform=500)
    assert wrong.r_unif == 1.0 and wrong.r_test is None and wrong.n_test == 0
    low, high = wrong.interval("r_tv_unif")
    assert low <= wrong.r_tv_unif <= high and high - low < 0.1


def test_labels_only_has_no_total_variation(oracle):
    labels = filch.ModelOracle(oracle.model, SPACE, reveal="labels")
    found = filch.fidelity(labels, filch.extract(oracle, "logistic", budget=50).model, n_uniform=100)
    assert found.r_tv_unif is None and found.r_unif == 0.0
    with pytest.raises(UsageError, match="no r_tv_unif"):
        found.interval("r_tv_unif")


def test_a_rounded_target_is_measured_unrounded(oracle):
    rounded = filch.ModelOracle(oracle.model, SPACE, decimals=1)
    model = filch.extract(oracle, "logistic", budget=50).model
    assert filch.fidelity(rounded, model).r_tv_unif < 1e-12


def test_regressors_agree_within_a_billionth_of_the_range():
    X = SPACE.sample(50, np.random.default_rng(0))
    target = LinearRegression().fit(X, X @ [3, 4])
    oracle = filch.ModelOracle(target, SPACE, reveal="value")

    class Copy:
        space = SPACE
        n_parameters = 3
        shift = 0.0

        def predict(self, X):
            return target.predict(X) + self.shift

    copy = Copy()
    assert filch.fidelity(oracle, copy, n_uniform=100).r_unif == 0.0
    copy.shift = 1e-6
    assert filch.fidelity(oracle, copy, n_uniform=100).r_unif == 1.0


@dataclass
class Shifted:
    """A linear regression, and copies of it that are off by so much everywhere."""

    shift: float = 0.0
    scale: float = 1.0
    space = SPACE
    n_parameters = 3

    def predict(self, X):
        return self.scale * (np.asarray(X) @ [3.0, 4.0]) + self.shift

    def save(self, path):
        raise NotImplementedError


@pytest.mark.parametrize("decimals", [2, 1])
def test_rounded_regressors_agree_within_half_a_unit(decimals):
    half = 0.5 * 10.0**-decimals
    oracle = filch.ModelOracle(Shifted(), SPACE, reveal="value", decimals=decimals)
    assert filch.fidelity(oracle, Shifted(0.99 * half), SPACE.sample(50, np.random.default_rng(0))).r_test == 0.0
    assert filch.fidelity(oracle, Shifted(1.01 * half), n_uniform=100).r_unif == 1.0
    same = Evaluation.of(filch.ModelOracle(Shifted(), SPACE, reveal="value"), n_uniform=100)
    assert same.measure(Shifted(0.99 * half)).r_unif == 1.0
    assert same.behind(oracle.spec).measure(Shifted(0.99 * half)).r_unif == 0.0


def test_values_that_are_nearly_right_are_told_apart_from_wrong_ones():
    oracle = filch.ModelOracle(Shifted(), SPACE, reveal="value")
    near = filch.fidelity(oracle, Shifted(0.14), SPACE.sample(200, np.random.default_rng(0)))
    assert near.r_unif == near.r_test == 1.0 and 0.01 < near.mean_error < 0.013  # of a range of at most 14
    assert near.as_dict()["mean_error"] == near.mean_error
    assert filch.fidelity(oracle, Shifted()).mean_error == 0.0


def test_rounding_that_hides_a_value_makes_no_copy_of_a_constant():
    target = Shifted(scale=0.05)  # between −0.35 and 0.35
    oracle = filch.ModelOracle(target, SPACE, reveal="value", decimals=0)
    assert filch.fidelity(oracle, Shifted(scale=0.0)).r_unif > 0.9
    assert filch.fidelity(oracle, Shifted(0.004, 0.05)).r_unif == 0.0


def test_answers_that_are_rounded_themselves_may_be_off_by_half_a_unit_more():
    oracle = filch.ModelOracle(Shifted(), SPACE, reveal="value", decimals=1)
    evaluation, _ = Evaluation.paid(oracle, n_uniform=200)
    assert evaluation.measure(Shifted()).r_unif == evaluation.measure(Shifted(0.049)).r_unif == 0.0
    assert evaluation.measure(Shifted(0.2)).r_unif == 1.0


def test_rounding_that_an_api_does_not_declare_is_seen_in_its_answers():
    class Rounds(Shifted):
        def predict(self, X):
            return np.round(super().predict(X), 1)

    rounds = filch.ModelOracle(Rounds(), SPACE, reveal="value")
    evaluation, _ = Evaluation.paid(rounds, n_uniform=200)
    assert evaluation.rounded == 1
    assert evaluation.behind(rounds.spec).measure(Shifted(0.049)).r_unif == 0.0
    assert evaluation.measure(Shifted(0.2)).r_unif == 1.0
    plain, _ = Evaluation.paid(filch.ModelOracle(Shifted(), SPACE, reveal="value"), n_uniform=200)
    assert plain.rounded is None and plain.measure(Shifted(0.01)).r_unif == 1.0


def test_a_paid_evaluation_goes_to_its_own_account(oracle):
    evaluation, run = Evaluation.paid(oracle, SPACE.sample(30, np.random.default_rng(2)), 70)
    assert run.ledger["evaluation"].queries == 100 and run.queries == run.selection == 0
    model = filch.extract(oracle, "logistic", budget=50).model
    assert evaluation.measure(model).n_uniform == 70


def test_nothing_to_measure_on(oracle):
    with pytest.raises(UsageError, match="nothing to measure on"):
        filch.fidelity(oracle, filch.extract(oracle, "logistic", budget=50).model, n_uniform=0)


def test_parameter_error_needs_a_decision_function(oracle):
    model = filch.extract(oracle, "logistic", budget=50).model
    assert filch.parameter_error(model, oracle.model) < 1e-12
    with pytest.raises(UsageError, match="decision_function"):
        filch.parameter_error(model, object())


def test_the_curve_is_measured_on_the_way(oracle):
    run = filch.extract(oracle, "logistic", budget=50, X_test=SPACE.sample(20, np.random.default_rng(3)))
    assert run.curve[-1].queries == run.queries
    assert run.curve[-1].fidelity.r_unif == 0.0
