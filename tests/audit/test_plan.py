"""The plan: which attack against which reveal, what that costs at worst, and nothing is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from filch.audit.plan import describe_reveal, make_plan
from filch.core.answers import Reveal
from filch.core.features import FeatureSpace
from filch.core.oracle import ModelOracle
from filch.errors import UsageError
from filch.report.format import Economics

Far = Callable[..., Any]


def names(oracle: Any, **options: Any) -> list[str]:
    return [level.name for level in make_plan(oracle, **options).levels]


def test_default_reveals_are_those_that_can_be_told_apart(flower: ModelOracle) -> None:
    model, space = flower.model, flower.spec.space
    assert names(flower) == ["probabilities", "4 decimals", "3 decimals", "2 decimals", "labels"]
    assert names(ModelOracle(model, space, decimals=3)) == ["probabilities, 3 decimals", "2 decimals", "labels"]
    assert names(ModelOracle(model, space, decimals=1)) == ["probabilities, 1 decimal", "labels"]
    assert names(ModelOracle(model, space, reveal="labels")) == ["labels"]
    assert names(ModelOracle(model, space, reveal="top-2"))[0] == "top-2"


def test_regressor_has_no_labels() -> None:
    model = LinearRegression().fit(np.eye(3), [1.0, 2.0, 3.0])
    oracle = ModelOracle(model, FeatureSpace.box([0] * 3, [1] * 3), reveal="value")
    assert names(oracle) == ["value", "2 decimals", "1 decimal", "0 decimals"]


def test_reveals_can_be_chosen(flower: ModelOracle) -> None:
    assert names(flower, reveals=["labels", "5", "top-1"]) == ["probabilities", "labels", "5 decimals", "top-1"]
    assert names(flower, reveals=["probabilities", "served", "2 decimals", "2"]) == ["probabilities", "2 decimals"]
    assert names(flower, reveals=[]) == ["probabilities"]


@pytest.mark.parametrize("reveal", ["everything", "top-0", "-1", "99", "top-", ""])
def test_reveal_that_does_not_exist(flower: ModelOracle, reveal: str) -> None:
    with pytest.raises(UsageError):
        make_plan(flower, reveals=[reveal])


def test_finer_reveal_than_the_served_one_is_an_error(flower: ModelOracle) -> None:
    oracle = ModelOracle(flower.model, flower.spec.space, reveal="labels")
    with pytest.raises(UsageError, match="the target serves labels"):
        make_plan(oracle, reveals=["3"])


@pytest.mark.parametrize("options", [{"max_queries": 0}, {"seeds": ()}])
def test_empty_plans_are_errors(flower: ModelOracle, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        make_plan(flower, **options)


def test_worst_case_adds_up_and_sends_nothing(far: Far) -> None:
    target = far()
    economics = Economics(price=2.0, latency=0.5, concurrency=4, rate=1.0)
    plan = make_plan(target, max_queries=100, seeds=(0, 1), n_test=30, n_uniform=70, economics=economics)
    parts, total = plan.estimates(), plan.total()
    assert target.rows == 0
    assert parts[0].name == "evaluation" and (parts[0].queries, parts[0].requests) == (100, 7)
    assert [part.name for part in parts[1:]] == [cell.name for cell in plan.cells]
    assert len({cell.name for cell in plan.cells}) == len(plan.cells)
    assert total.queries == 100 + 100 * len(plan.cells) == sum(part.queries for part in parts)
    assert total.dollars == pytest.approx(total.queries * 2.0 / 1000)
    assert total.seconds == pytest.approx(total.requests / 1.0), "the rate is slower than four at a time"


def test_local_evaluation_is_free(flower: ModelOracle) -> None:
    plan = make_plan(flower, n_test=1_000, n_uniform=1_000)
    assert "evaluation" not in [part.name for part in plan.estimates()]


def test_every_reveal_of_a_classifier_has_an_attack(flower: ModelOracle) -> None:
    plan = make_plan(flower, reveals=["4", "top-1", "labels"])
    assert {cell.level.name for cell in plan.cells} == {level.name for level in plan.levels}


def test_labels_are_for_the_linear_attack_and_for_extract_and_test(flower: ModelOracle) -> None:
    plan = make_plan(flower, reveals=["labels"])
    assert [cell.label for cell in plan.cells if cell.level.name == "labels"] == ["softmax-labels", "auto"]


def test_reveals_are_named_for_people() -> None:
    assert describe_reveal(Reveal("top-3", 2)) == "top-3, 2 decimals"
