"""Rows that decide most labels: their gradient, their bounds, and what they save behind rounding."""

import numpy as np
import pytest

import filch
from filch.attacks.linear.belief import Belief, bounds
from filch.attacks.linear.deciding import Deciding
from filch.attacks.linear.design import Design
from filch.attacks.linear.telling import Telling
from filch.attacks.logistic import Logistic
from filch.models.logistic import LogisticModel, probabilities
from tests.attacks.test_logistic import mixed_space

SEEDS = range(5)
BOX = filch.FeatureSpace.box(np.zeros(20), np.full(20, 4.0))


def heard(design, classes, seed, n):
    """A belief after n rounded answers of a random softmax over uniform rows."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(design.size, classes))
    matrix = design.matrix(design.space.sample(n, rng))
    belief = Belief(design.size, classes)
    belief.hear(matrix, *bounds(probabilities(matrix @ weights, "softmax").round(2), 0.005))
    assert belief.settle()
    return belief


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("classes", [2, 4])
def test_the_gradient_agrees_with_differences(classes, seed):
    design, rng = Design(BOX), np.random.default_rng(seed)
    deciding = Deciding(design, heard(design, classes, seed, 30), 0.005, rng)
    matrix, precision = design.matrix(BOX.sample(6, rng)), rng.uniform(1e4, 1e5, size=(6, classes))
    gradient = deciding.value(matrix, precision)[1]
    way, step = rng.normal(size=matrix.shape), 1e-6
    above, below = (deciding.value(matrix + sign * step * way, precision)[0] for sign in (1, -1))
    assert (above - below) / (2 * step) == pytest.approx((gradient * way).sum(), rel=1e-4, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_only_continuous_columns_move_and_within_their_ranges(seed):
    space = mixed_space()
    design, rng = Design(space), np.random.default_rng(seed)
    rows = space.sample(8, rng)
    deciding = Deciding(design, heard(design, 3, seed, 3 * design.size), 0.005, rng)
    moved = deciding.moved(rows)
    free = ~space.categorical & (space.grid == 0.0) & (space.high > space.low)
    assert free.any() and (moved[:, ~free] == rows[:, ~free]).all() and (moved[:, free] != rows[:, free]).any()
    assert ((moved[:, free] >= space.low[free]) & (moved[:, free] <= space.high[free])).all()
    precision = deciding._precision(design.matrix(rows))
    before, after = (deciding.value(design.matrix(part), precision)[0] for part in (rows, moved))
    assert after < before


@pytest.mark.parametrize("known", [1e-12, 1e-24])
def test_weights_known_to_very_different_digits(known):
    design, rng = Design(BOX), np.random.default_rng(0)
    belief = heard(design, 3, 0, 30)
    scale = np.where(np.arange(len(belief.covariance)) % 2, 1.0, known)
    belief.covariance = belief.covariance * np.sqrt(scale[:, None] * scale)
    moved = Deciding(design, belief, 0.005, rng).moved(BOX.sample(6, rng))
    assert ((moved >= BOX.low) & (moved <= BOX.high)).all()


def test_where_digits_do_not_reach_rows_stay_where_they_are():
    design, rng = Design(BOX), np.random.default_rng(0)
    belief = heard(design, 3, 0, 30)
    belief.covariance = np.ones_like(belief.covariance)
    rows = BOX.sample(6, rng)
    assert (Deciding(design, belief, 0.005, rng).moved(rows) == rows).all()


def test_fewer_labels_are_wrong_than_after_rows_that_cover_most_variance(monkeypatch):
    """In two of five classes nothing is decided: rows that tell of all classes alike are too good for them."""
    rng = np.random.default_rng(7)
    coef, intercept = rng.normal(size=(5, 20)), np.array([0.0, 0.0, 0.0, -8.0, -8.0])
    oracle = filch.ModelOracle(LogisticModel(BOX, tuple(range(5)), coef, intercept, "softmax"), BOX, decimals=2)

    def wrong() -> float:
        runs = [filch.extract(oracle, Logistic("softmax"), budget=113, seed=seed) for seed in SEEDS]
        return float(np.median([filch.fidelity(oracle, run.model, n_uniform=100_000).r_unif for run in runs]))

    with_, _ = wrong(), monkeypatch.setattr(Telling, "_decides", lambda self: False)
    assert with_ < 0.75 * wrong()
