"""The paper's gradient descent for kernel models: it learns, counts, and tells the error."""

import numpy as np
import pytest

import filch
from filch.attacks.kernel_sgd import KernelSGD
from filch.errors import CannotRun, UsageError
from filch.models import KernelModel
from filch.testing import check_attack

BOX = filch.FeatureSpace.box([-1] * 3, [1] * 3)


def target(classes=3, seed=0):
    rng = np.random.default_rng(seed)
    vectors = classes if classes > 2 else 1
    rows, weights = BOX.sample(3, rng), 3.0 * rng.normal(size=(vectors, 3))
    return KernelModel(BOX, tuple(range(classes)), rows, weights, rng.normal(size=vectors), 0.5)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("gamma", [0.5, None])
@pytest.mark.parametrize("seed", range(2))
def test_it_learns_the_function(classes, gamma, seed):
    model = target(classes, seed)
    oracle = filch.ModelOracle(model, BOX)
    run = filch.extract(oracle, attack=KernelSGD(4, gamma, queries=300), budget=400, seed=seed)
    assert (run.queries, run.selection, len(run.model.representers_)) == (300, 8, 4)
    assert filch.fidelity(oracle, run.model).r_tv_unif < 0.01
    assert run.evidence["residual"] < 0.02


def test_rounded_answers_will_do():
    oracle = filch.ModelOracle(target(), BOX, decimals=2)
    run = filch.extract(oracle, attack=KernelSGD(3, 0.5, queries=300), budget=400)
    assert filch.fidelity(oracle, run.model).r_tv_unif < 0.02


def test_the_budget_and_no_check():
    oracle = filch.ModelOracle(target(), BOX)
    few = filch.extract(oracle, attack=KernelSGD(2, queries=300), budget=50)
    assert few.ledger.paid <= 50 and few.model is not None
    assert filch.extract(oracle, attack=KernelSGD(2, queries=30, check=0), budget=50).outcome == "approximate"


def test_bad_parameters_and_oracles():
    for wrong in ({"representers": 0}, {"gamma": 0.0}, {"queries": 0}, {"check": -1}):
        with pytest.raises(UsageError, match="gamma > 0"):
            KernelSGD(**wrong)
    with pytest.raises(CannotRun, match="all class probabilities"):
        filch.extract(filch.ModelOracle(target(), BOX, reveal="top-1"), attack=KernelSGD(), budget=50)


def test_the_contract():
    check_attack(KernelSGD(2, queries=60, steps_most=50), filch.ModelOracle(target(), BOX), budget=70)
