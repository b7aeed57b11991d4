"""`extract`: names and instances, guards, journals, curves."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import filch
from filch.attacks.logistic import Logistic
from filch.errors import RunChanged, UsageError
from filch.guards import LabelsOnly, Rounding, TopK


@pytest.fixture(scope="module")
def oracle():
    X, y = load_iris(return_X_y=True)
    return filch.ModelOracle(LogisticRegression(max_iter=1_000).fit(X, y), filch.FeatureSpace.box(X.min(0), X.max(0)))


def test_a_name_is_short_for_an_instance(oracle):
    by_name = filch.extract(oracle, "logistic", budget=50)
    assert (by_name.model.coef_ == filch.extract(oracle, Logistic(), budget=50).model.coef_).all()


def test_reveal_and_decimals_are_short_for_guards(oracle):
    short = filch.ModelOracle(oracle.model, oracle.spec.space, decimals=2)
    one, other = (
        filch.extract(short, "logistic", budget=200),
        filch.extract(oracle, "logistic", budget=200, guard=Rounding(2)),
    )
    assert (one.model.coef_ == other.model.coef_).all() and one.queries == other.queries
    with pytest.raises(UsageError, match="reveals labels"):
        filch.extract(oracle, "logistic", budget=200, guard=[Rounding(2), LabelsOnly()])


def test_a_guard_may_be_a_text(oracle):
    one, other = (filch.extract(oracle, "retraining", budget=50, guard=guard) for guard in ("labels", LabelsOnly()))
    assert one.settings == other.settings and one.ledger == other.ledger
    two, both = (
        filch.extract(oracle, "retraining", budget=50, guard=guards)
        for guards in (["rounding:2", TopK(1)], [Rounding(2), TopK(1)])
    )
    assert two.settings == both.settings != one.settings


def test_decimals_round_whatever_reveal_was_given(oracle):
    shown = filch.ModelOracle(oracle.model, oracle.spec.space, reveal=filch.Reveal("probabilities"), decimals=1)
    answers = shown.ask(oracle.spec.space.sample(20, np.random.default_rng(0)))
    assert np.array_equal(answers.probabilities, answers.probabilities.round(1))


@pytest.mark.parametrize(
    ("arguments", "mend"),
    [
        ({"budget": "10"}, "whole number"),
        ({"budget": 20.5}, "whole number"),
        ({"attack": Logistic, "budget": 10}, "not a class"),
        ({"guard": "wall", "budget": 10}, "no guard 'wall'"),
    ],
)
def test_arguments_of_the_wrong_kind(oracle, arguments, mend):
    with pytest.raises(UsageError, match=mend):
        filch.extract(oracle, **arguments)


def test_a_journal_is_replayed_and_another_run_is_noticed(oracle, tmp_path):
    path = tmp_path / "run.db"
    first = filch.extract(oracle, "logistic", budget=50, journal=path)
    again = filch.extract(oracle, "logistic", budget=50, journal=path)
    assert (first.model.coef_ == again.model.coef_).all()
    assert first.ledger.as_dict() == again.ledger.as_dict()
    for changed in ({"seed": 1}, {"budget": 51}, {"attack": Logistic(check=9)}, {"guard": Rounding(3)}):
        with pytest.raises(RunChanged):
            filch.extract(oracle, **{"attack": "logistic", "budget": 50, "journal": path, **changed})


def test_the_curve_grows_to_the_end(oracle):
    run = filch.extract(oracle, "logistic", budget=200, guard=Rounding(2), X_test=load_iris(return_X_y=True)[0])
    queries = [point.queries for point in run.curve]
    assert queries == sorted(set(queries)) and queries[-1] == run.queries
    assert run.curve[-1].fidelity.r_test <= run.curve[0].fidelity.r_test
    assert filch.extract(oracle, "logistic", budget=50, curve=False).curve == ()


@pytest.mark.parametrize("seed", [0, 1])
def test_a_seed_is_a_run(oracle, seed):
    runs = [filch.extract(oracle, "logistic", budget=50, seed=seed) for _ in range(2)]
    assert (runs[0].model.coef_ == runs[1].model.coef_).all()
