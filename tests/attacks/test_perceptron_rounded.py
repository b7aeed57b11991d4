"""Networks behind rounded probabilities: as close as the rounding allows, and honest where they are not."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

import filch
from filch.attacks.perceptron_rounded import PerceptronRounded
from filch.attacks.perceptron_sgd import PerceptronSGD
from filch.errors import CannotRun, UsageError
from filch.testing import check_attack
from tests.attacks.test_perceptron_sgd import Target, target_of


@pytest.mark.parametrize("decimals", [2, 3, 4])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_copy_is_as_close_as_the_rounding_allows(classes, decimals):
    target, space = target_of(classes)
    oracle = filch.ModelOracle(target, space, decimals=decimals)
    run = filch.extract(oracle, PerceptronRounded(hidden=4, alpha=10), budget=1_000, curve=False)
    assert (run.queries, run.selection) == (10 * (4 * 3 + classes * 5), 8)
    assert run.outcome == "verified", run.reason
    assert run.evidence["misfit in roundings"] < 1.1
    assert filch.fidelity(filch.ModelOracle(target, space), run.model).r_tv_unif < 10.0**-decimals


def test_it_makes_a_fifth_of_the_errors_of_gradient_descent():
    target, space = target_of(3, hidden=5)
    oracle, whole = filch.ModelOracle(target, space, decimals=3), filch.ModelOracle(target, space)
    attacks = PerceptronRounded(hidden=5, alpha=4), PerceptronSGD(hidden=5, alpha=4, epochs=500)
    runs = (
        [filch.extract(oracle, attack, budget=500, seed=seed, curve=False) for seed in range(5)] for attack in attacks
    )
    ours, descent = (np.median([filch.fidelity(whole, run.model).r_tv_unif for run in group]) for group in runs)
    assert ours < 0.2 * descent


class Rounds(Target):
    """A network whose service rounds and does not say so."""

    def predict_proba(self, X):
        return super().predict_proba(X).round(2)


def test_rounding_is_read_off_where_the_oracle_does_not_tell_it():
    target, space = target_of(3)
    run = filch.extract(
        filch.ModelOracle(Rounds(target.model), space), PerceptronRounded(hidden=4), budget=500, curve=False
    )
    assert run.outcome == "verified", run.reason
    assert run.evidence["misfit in roundings"] == pytest.approx(1.0, abs=0.1)


def test_unrounded_answers_are_fitted_too():
    target, space = target_of(3)
    run = filch.extract(filch.ModelOracle(target, space), PerceptronRounded(hidden=3), budget=500, curve=False)
    assert filch.fidelity(filch.ModelOracle(target, space), run.model).r_tv_unif < 1e-3


def test_another_class_of_model_is_an_approximation():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(300, 2))
    forest = RandomForestClassifier(20, random_state=0).fit(X, (X[:, 0] * X[:, 1] > 0).astype(int))
    oracle = filch.ModelOracle(forest, filch.FeatureSpace.box([-1, -1], [1, 1]), decimals=2)
    run = filch.extract(oracle, PerceptronRounded(hidden=4, starts=2), budget=200, curve=False)
    assert run.outcome == "approximate"


def test_the_contract_is_kept():
    target, space = target_of(3)
    check_attack(PerceptronRounded(hidden=2, starts=2), filch.ModelOracle(target, space, decimals=2), budget=40)


def test_it_needs_probabilities():
    target, space = target_of(3)
    for reveal in ("labels", "top-1"):
        with pytest.raises(CannotRun, match="probabilities"):
            filch.extract(filch.ModelOracle(target, space, reveal=reveal), PerceptronRounded(), budget=10)


@pytest.mark.parametrize("wrong", [{"hidden": 0}, {"alpha": 0}, {"starts": 0}, {"check": -1}])
def test_parameters_out_of_range(wrong):
    with pytest.raises(UsageError, match="PerceptronRounded takes"):
        PerceptronRounded(**wrong)
