"""Model inversion: gradients are right, inverted rows are the class's own, queries are those that were promised."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression

import filch
from filch.attacks.inversion import Inversion, invert
from filch.core.attack import Outcome
from filch.errors import CannotRun, UsageError
from filch.models import KernelModel, LogisticModel, PerceptronModel
from filch.testing import ATTACK_CHECKS
from filch.testing.attacks import Case, check_budget_is_kept

SHAPE, PEOPLE, EACH = (12, 10), 6, 7
SPACE = filch.FeatureSpace.box(-np.ones(120), np.ones(120))


def faces(seed: int = 0) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Made-up faces: a smooth pattern for each person, and noise on each picture; in −1 … 1."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:1:12j, 0:1:10j]
    waves = np.array([np.cos(np.pi * (i * y + j * x)) for i in range(3) for j in range(3)]).reshape(9, -1)
    person = np.repeat(np.arange(PEOPLE), EACH)
    means = rng.normal(size=(PEOPLE, 9)) @ waves
    means *= 0.7 / np.abs(means).max(axis=1, keepdims=True)
    return np.clip(means[person] + 0.1 * rng.normal(size=(len(person), 120)), -1, 1), person


X, PERSON = faces()
MEANS = np.array([X[k == PERSON].mean(axis=0) for k in range(PEOPLE)])
TARGET = LogisticRegression().fit(X, PERSON)
ORACLE = filch.ModelOracle(TARGET, SPACE)


def nearest(row: npt.NDArray[np.float64]) -> int:
    return int(((MEANS - row) ** 2).sum(axis=1).argmin())


def mixed() -> filch.FeatureSpace:
    categories = filch.Categorical("c", ("u", "v", "w"))
    return filch.FeatureSpace(
        (filch.Numeric("a", 0, 8), categories, filch.Numeric("b", -2, 1), filch.Numeric("p", 3, 3))
    )


def models() -> list[Any]:
    rng = np.random.default_rng(0)
    names = ("x", "y", "z")
    linear = [
        LogisticModel(mixed(), names[: max(2, n)], rng.normal(size=(n, 6)), rng.normal(size=n), link)  # type: ignore[arg-type]
        for link, n in (("logistic", 1), ("softmax", 3), ("ovr", 3))
    ]
    networks = [
        PerceptronModel(
            mixed(),
            names[: max(2, n)],
            (rng.normal(size=(6, 4)), rng.normal(size=(4, n))),
            (rng.normal(size=4), rng.normal(size=n)),
            activation,  # type: ignore[arg-type]
            link,  # type: ignore[arg-type]
        )
        for activation, link, n in (("tanh", "softmax", 3), ("logistic", "softmax", 3), ("relu", "logistic", 1))
    ]
    kernels = [
        KernelModel(mixed(), names[:c], rng.uniform(-1, 1, (5, 6)), rng.normal(size=(v, 5)), rng.normal(size=v), 0.2)
        for c, v in ((2, 1), (3, 3))
    ]
    return linear + networks + kernels


@pytest.mark.parametrize("number", range(8))
def test_gradients_are_those_of_the_log_probabilities(number: int) -> None:
    model = models()[number]
    rows = mixed().sample(20, np.random.default_rng(1))
    for index in range(len(model.classes_)):
        gradient = model.gradient(rows, index)
        assert not gradient[:, [1, 3]].any()  # a category, and a column that is a point
        for column in (0, 2):
            move = np.zeros(4)
            move[column] = 1e-6
            ahead, behind = (np.log(model.predict_proba(rows + sign * move)[:, index]) for sign in (1, -1))
            np.testing.assert_allclose(gradient[:, column], (ahead - behind) / 2e-6, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("number", range(8))
def test_it_climbs_on_every_sort_of_model(number: int) -> None:
    model = models()[number]
    for label in model.classes_:
        found = invert(model, label, confidence=0.999)
        start = np.array([4.0, 0.0, -0.5, 3.0])
        index = model.classes_.tolist().index(label)
        assert found.probability == pytest.approx(model.predict_proba(found.row[None])[0, index])
        assert found.probability > model.predict_proba(start[None])[0, index]
        assert ((found.row >= mixed().low) & (found.row <= mixed().high)).all()
        assert found.row[1] == 0.0  # categories stay


def test_every_person_is_recovered_from_an_extracted_copy() -> None:
    run = filch.extract(ORACLE, "logistic", budget=200)
    assert run.model is not None
    for label in range(PEOPLE):
        copy = filch.invert(run.model, label)  # type: ignore[arg-type]
        assert copy.probability >= 0.99
        assert nearest(copy.row) == label
        owner = invert(LogisticModel(SPACE, tuple(range(PEOPLE)), TARGET.coef_, TARGET.intercept_, "softmax"), label)
        np.testing.assert_allclose(copy.row, owner.row, atol=1e-6)


def test_where_it_starts_and_when_it_stops() -> None:
    model = models()[1]
    start = np.array([8.0, 2.0, 1.0, 3.0])
    none = invert(model, "x", start=start, steps=1)
    assert none.steps == 1 and none.row[1] == 2.0
    assert invert(model, "x", start=invert(model, "x", confidence=0.5).row, confidence=0.4).steps == 0
    flat = LogisticModel(mixed(), ("x", "y"), np.zeros((1, 6)), np.zeros(1))
    assert (invert(flat, "y").steps, invert(flat, "y").probability) == (0, 0.5)


def test_bad_input() -> None:
    with pytest.raises(UsageError, match=r"LogisticRegression has no gradient.*Inversion"):
        invert(TARGET, 0)
    with pytest.raises(UsageError, match="no class 'nobody': choose one of 'x', 'y'"):
        invert(models()[0], "nobody")
    with pytest.raises(UsageError, match="a confidence between 0 and 1"):
        invert(models()[0], "x", confidence=1.0)
    for wrong in ({"gradients": 0}, {"directions": 0}, {"difference": 2.0}, {"confidence": 0.0}):
        with pytest.raises(UsageError, match="Inversion takes"):
            Inversion(0, **wrong)  # type: ignore[arg-type]
    with pytest.raises(CannotRun, match="no class 99"):
        filch.extract(ORACLE, Inversion(99), budget=10)
    with pytest.raises(CannotRun, match="reveals labels"):
        filch.extract(filch.ModelOracle(TARGET, SPACE, reveal="labels"), Inversion(0), budget=10)


# ── through an oracle ───────────────────────────────────────────────────────────────────────────────────────


def test_the_black_box_takes_two_queries_a_column_for_each_face() -> None:
    for label in range(PEOPLE):
        run = filch.extract(ORACLE, Inversion(label), budget=1_000)
        assert run.queries == 1 + 2 * 120 + 16
        assert run.outcome is Outcome.APPROXIMATE and run.model is None
        row = np.array(run.evidence["row"])
        assert ORACLE.ask(row[None]).probabilities[0, label] == run.evidence["probability"] >= 0.99  # type: ignore[index]
        assert nearest(row) == label


def test_its_gradient_is_the_models() -> None:
    """One long gradient by differences and the model's own point the same way."""
    owner = LogisticModel(SPACE, tuple(range(PEOPLE)), TARGET.coef_, TARGET.intercept_, "softmax")
    row = np.array(filch.extract(ORACLE, Inversion(2, confidence=1e-9 + 0.3), budget=1_000).evidence["row"])
    slope = owner.gradient(np.zeros((1, 120)), 2)[0]
    assert row @ slope / np.linalg.norm(row) / np.linalg.norm(slope) > 0.99


@pytest.mark.parametrize("budget", [40, 100])
def test_a_small_budget_buys_random_directions(budget: int) -> None:
    run = filch.extract(ORACLE, Inversion(0), budget=budget)
    assert budget - 1 <= run.queries <= budget
    before = ORACLE.ask(np.zeros((1, 120))).probabilities[0, 0]  # type: ignore[index]
    assert run.evidence["probability"] > before


def test_more_gradients() -> None:
    run = filch.extract(ORACLE, Inversion(0, gradients=3, directions=20, confidence=0.9999999), budget=1_000)
    assert run.queries == 1 + 3 * (40 + 16)
    once = filch.extract(ORACLE, Inversion(0, gradients=1, directions=20, confidence=0.9999999), budget=1_000)
    assert run.evidence["probability"] > once.evidence["probability"]


@pytest.mark.parametrize("check", [check for check in ATTACK_CHECKS if check is not check_budget_is_kept])
def test_it_keeps_the_contract(check: Any) -> None:
    """All of it but that a model comes back: an inversion finds a row, and no copy."""
    check(Case(Inversion(1, gradients=2, directions=10), ORACLE, 80))


@pytest.mark.parametrize("budget", [1, 2, 3, 7, 30])
def test_the_budget(budget: int) -> None:
    run = filch.extract(ORACLE, Inversion(0), budget=budget)
    assert run.ledger.paid <= budget
    assert len(run.evidence["row"]) == 120
