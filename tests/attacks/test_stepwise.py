"""Equation solving over thousands of columns: the same promises as the dense way, without its matrices."""

from __future__ import annotations

import numpy as np
import pytest

import filch
from filch.attacks import logistic
from filch.attacks.linear.design import Design
from filch.attacks.linear.stepwise import Stepwise
from filch.attacks.logistic import Logistic
from filch.core.attack import MOST_BYTES
from filch.core.seeds import stream
from filch.models.logistic import LogisticModel
from filch.testing import check_attack
from filch.testing.wrappers import Refusing

SEEDS = range(3)


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every model count as one of thousands of columns."""
    monkeypatch.setattr(logistic, "_WIDE", 0)


def mixed() -> filch.FeatureSpace:
    return filch.FeatureSpace(
        (
            filch.Numeric("age", 18, 90, integer=True),
            filch.Numeric("income", 0, 1e5),
            filch.Numeric("fixed", 3, 3),
            filch.Categorical("city", ("a", "b", "c", "d")),
            filch.Categorical("member", (False, True)),
            filch.Numeric("level", -2, 2, step=0.5),
        )
    )


def model_of(space: filch.FeatureSpace, classes: int, seed: int, scale: float = 1.0, link: str = "") -> LogisticModel:
    rng = np.random.default_rng(seed)
    vectors = 1 if classes == 2 else classes
    shape = (vectors, filch.OneHot(space).width)
    names = tuple(f"class {k}" for k in range(classes))
    kind = link or ("logistic" if classes == 2 else "softmax")
    return LogisticModel(space, names, rng.normal(size=shape) * scale, rng.normal(size=vectors) / 3, kind)  # type: ignore[arg-type]


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("omission", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_d_plus_one_queries(classes: int, omission: bool, seed: int) -> None:
    target = model_of(mixed(), classes, seed)
    oracle = filch.ModelOracle(target, mixed(), omission=omission)
    run = filch.extract(oracle, Logistic(), budget=100, seed=seed)
    assert run.outcome == "verified", run.reason
    assert (run.queries, run.selection) == (Design(mixed(), omission).size, 8)
    rows = mixed().sample(500, np.random.default_rng(seed))
    if omission:
        rows[::3, 3] = np.nan
    assert isinstance(run.model, LogisticModel)
    np.testing.assert_allclose(run.model.predict_proba(rows), target.predict_proba(rows), rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("classes", [2, 3])
def test_it_keeps_the_contract(classes: int) -> None:
    check_attack(Logistic(), filch.ModelOracle(model_of(mixed(), classes, 0), mixed()), budget=60)


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("seed", SEEDS)
def test_a_saturated_base_row_and_saturated_moves(seed: int) -> None:
    space = filch.FeatureSpace.box(np.zeros(6), np.full(6, 10.0))
    target = model_of(space, 2, seed, scale=150.0)
    target = LogisticModel(space, target.classes, target.coef_, target.intercept_ + 100.0)
    run = filch.extract(filch.ModelOracle(target, space), Logistic(), budget=500, seed=seed)
    assert run.outcome == "verified", run.reason
    assert run.queries > 7
    assert filch.fidelity(filch.ModelOracle(target, space), run.model, n_uniform=2_000).r_unif == 0.0


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("seed", SEEDS)
def test_probabilities_that_are_1_less_the_other(seed: int) -> None:
    """Near 1e-13 these have three digits left; a base row is found where they have all of them."""
    space = filch.FeatureSpace.box(np.zeros(6), np.full(6, 10.0))
    model = model_of(space, 2, seed, scale=20.0)
    model = LogisticModel(space, model.classes, -np.abs(model.coef_), 30.0 - np.abs(model.coef_).sum(axis=1))

    class Subtracts:
        classes_ = model.classes_

        def predict_proba(self, X: object) -> np.ndarray:
            first = model.predict_proba(X)[:, 1]  # type: ignore[arg-type]
            return np.column_stack([1.0 - first, first])

        def predict(self, X: object) -> np.ndarray:
            return model.predict(X)  # type: ignore[arg-type]

    oracle = filch.ModelOracle(Subtracts(), space)
    assert oracle.ask(np.zeros((1, 6))).probabilities.min() < 1e-9  # type: ignore[union-attr]
    run = filch.extract(oracle, Logistic(), budget=1_000, seed=seed)
    assert run.outcome == "verified", run.reason


@pytest.mark.usefixtures("wide")
def test_a_base_row_of_other_categories() -> None:
    """Where the first categories answer 0 or 1, another base row is found, and its codes are the ones moved from."""
    space = filch.FeatureSpace((filch.Categorical("a", tuple("uvwx")), filch.Categorical("b", tuple("yz"))))
    coef = np.array([[900.0, 0.5, -1.0, 2.0, 800.0, 0.25]])
    target = LogisticModel(space, ("no", "yes"), coef, np.array([0.0]))
    run = filch.extract(filch.ModelOracle(target, space), Logistic(), budget=200)
    assert run.outcome == "no_convergence"  # where a = u or b = y, no answer tells by how much
    assert "2 of 5 unknowns stay open" in run.reason
    rows = np.array([[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]])
    assert isinstance(run.model, LogisticModel)
    np.testing.assert_allclose(run.model.predict_proba(rows), target.predict_proba(rows), rtol=1e-9)


@pytest.mark.usefixtures("wide")
def test_what_is_no_softmax_is_noticed() -> None:
    target = model_of(mixed(), 3, 0, link="ovr")
    run = filch.extract(filch.ModelOracle(target, mixed()), Logistic(), budget=200)
    assert run.outcome == "class_mismatch"
    assert 'link="ovr"' in run.reason
    asked = filch.extract(filch.ModelOracle(target, mixed()), Logistic(link="ovr"), budget=200)
    assert asked.outcome == "verified"


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("told", [True, False])
def test_rounded_answers_are_noticed(told: bool) -> None:
    target = model_of(mixed(), 3, 0, scale=0.1)

    class Rounds:
        classes_ = target.classes_

        def predict_proba(self, X: object) -> np.ndarray:
            return np.round(target.predict_proba(X), 3)  # type: ignore[arg-type]

        def predict(self, X: object) -> np.ndarray:
            return target.predict(X)  # type: ignore[arg-type]

    oracle = filch.ModelOracle(target, mixed(), decimals=3) if told else filch.ModelOracle(Rounds(), mixed())
    run = filch.extract(oracle, Logistic(), budget=200)
    assert (run.outcome, run.model is not None) == ("no_convergence", True)
    assert "rounded to within 5e-04" in run.reason


@pytest.mark.usefixtures("wide")
def test_refused_rows_are_asked_anew_by_smaller_steps() -> None:
    space = filch.FeatureSpace.box(-np.ones(40), np.ones(40))
    oracle = Refusing(filch.ModelOracle(model_of(space, 3, 0), space), 0.2)
    run = filch.extract(oracle, Logistic(), budget=400)
    assert run.outcome == "verified", run.reason


@pytest.mark.usefixtures("wide")
def test_the_budget() -> None:
    oracle = filch.ModelOracle(model_of(mixed(), 3, 0), mixed())
    size = Design(mixed()).size
    assert filch.extract(oracle, Logistic(), budget=size).outcome == "unverified"
    assert filch.extract(oracle, Logistic(check=0), budget=100).outcome == "unverified"
    short = filch.extract(oracle, Logistic(), budget=size - 2)
    assert (short.outcome, short.model is not None) == ("budget_spent", True)


def test_four_thousand_columns_in_asks_of_at_most_64_mb() -> None:
    d = 4_200
    space = filch.FeatureSpace.box(-np.ones(d), np.ones(d))
    target = model_of(space, 3, 0, scale=0.03)
    oracle = filch.ModelOracle(target, space)
    run = filch.extract(oracle, Logistic(), budget=6_000, curve=False)
    assert (run.outcome, run.queries) == ("verified", d + 1), run.reason
    assert filch.fidelity(oracle, run.model, n_uniform=200).r_tv_unif < 1e-9  # type: ignore[operator]
    steps = Stepwise(oracle.spec, Design(space), stream(0, "attack"), 8).steps()
    ask, most = next(steps), 0
    for _ in range(3):
        most = max(most, ask.rows.nbytes)
        ask = steps.send(oracle.ask(ask.rows))
    assert 0.9 * MOST_BYTES < most <= MOST_BYTES
