"""Linear regressions: exact from d + 1 values, far below the rounding from rounded ones, and honest about others."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import filch
from filch.attacks.linear.design import Design
from filch.attacks.linear.values import ValueBelief, _within, chosen, on_thresholds
from filch.attacks.linear_regression import Linear
from filch.core.oracle import Reveal
from filch.errors import CannotRun, UsageError
from filch.models import LinearModel, load
from filch.testing import check_attack

SEEDS = range(5)
MIXED = filch.FeatureSpace(
    (
        filch.Numeric("age", 18, 90, integer=True),
        filch.Numeric("income", 0, 1e5),
        filch.Numeric("fixed", 3, 3),
        filch.Categorical("city", ("a", "b", "c", "d")),
        filch.Categorical("member", (False, True)),
    )
)
FLATS = pd.DataFrame({"rooms": [1, 2, 3, 4] * 6, "area": np.linspace(20.5, 140.5, 24), "town": list("abc") * 8})
RENT = 300 * FLATS["rooms"] + 9.5 * FLATS["area"] + FLATS["town"].map({"a": 0, "b": 80, "c": 210})


@dataclass
class Hand:
    """A hand-made target over coded rows."""

    model: LinearModel
    bend: float = 0.0
    noise: float = 0.0
    single: bool = False

    def predict(self, X):
        value = self.model.predict(X)
        value = value + self.bend * np.sin(3 * value / np.abs(self.model.coef_).max())
        value = value + self.noise * np.random.default_rng().normal(size=len(value)) if self.noise else value
        return value.astype(np.float32) if self.single else value


def hand(space, seed=0, scale=1_000.0, **how):
    rng = np.random.default_rng(seed)
    width = filch.OneHot(space).width
    return Hand(LinearModel(space, scale * rng.normal(size=width), float(scale * rng.normal())), **how)


def oracle_of(space, seed=0, *, decimals=None, omission=False, scale=1_000.0, **how):
    target = hand(space, seed, scale, **how)
    return filch.ModelOracle(target, space, reveal="value", decimals=decimals, omission=omission)


def worst(oracle, model, n=3_000, omission=False):
    design = Design(oracle.spec.space, omission)
    rows = design.unseen(n, np.random.default_rng(99))
    return float(np.abs(model.predict(rows) - oracle.model.predict(rows)).max())


def flats(decimals=None):
    encode = make_column_transformer((OneHotEncoder(), ["town"]), remainder="passthrough")
    target = make_pipeline(encode, LinearRegression()).fit(FLATS, RENT)
    return filch.ModelOracle(target, filch.FeatureSpace.from_frame(FLATS), reveal="value", decimals=decimals)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("space", [filch.FeatureSpace.box([-3, 0, 5], [4, 1, 1e4]), MIXED], ids=["box", "mixed"])
def test_exact_from_as_many_rows_as_unknowns(space, seed):
    oracle = oracle_of(space, seed)
    run = filch.extract(oracle, Linear(), budget=100, seed=seed)
    assert (run.outcome, run.queries, run.selection) == ("verified", Design(space).size, 8)
    assert worst(oracle, run.model) < 1e-8
    assert filch.fidelity(oracle, run.model).r_unif == 0.0


def test_raw_columns_that_the_target_encodes():
    oracle = flats()
    run = filch.extract(oracle, "linear", budget=100)
    assert (run.outcome, run.queries, run.selection) == ("verified", 5, 8)
    np.testing.assert_allclose(run.model.predict(FLATS), RENT, rtol=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_omitted_categories_have_their_own_effect(seed):
    oracle = oracle_of(MIXED, seed, omission=True)
    run = filch.extract(oracle, Linear(), budget=100, seed=seed)
    assert (run.outcome, run.queries) == ("verified", Design(MIXED, True).size)
    assert worst(oracle, run.model, omission=True) < 1e-8


@pytest.mark.parametrize("decimals", [2, 0])
@pytest.mark.parametrize("space", [filch.FeatureSpace.box([-1] * 6, [1] * 6), MIXED], ids=["box", "mixed"])
def test_rounded_values_are_told_apart_far_below_the_rounding(space, decimals):
    errors, calibration, prices = [], [], []
    for seed in SEEDS:
        oracle = oracle_of(space, seed, decimals=decimals)
        run = filch.extract(oracle, Linear(), budget=2_000, seed=seed, curve=False)
        assert run.outcome == "verified", run.reason
        errors.append(worst(oracle, run.model) / (0.5 * 10.0**-decimals))
        calibration.append(worst(oracle, run.model) / run.evidence["standard error"])
        prices.append(run.queries / Design(space).size)
    assert max(errors) < 0.2
    assert max(calibration) < 5, "the standard error that it tells is no guess"
    assert np.median(prices) < 8 and max(prices) < 10


def test_a_small_slope_beside_a_large_offset():
    space = filch.FeatureSpace.box([-1] * 3, [1] * 3)
    straight = Hand(LinearModel(space, np.array([1.0, -2.0, 0.5]), 1e6))
    oracle = filch.ModelOracle(straight, space, reveal="value")
    run = filch.extract(oracle, Linear(), budget=50)
    assert run.outcome == "verified" and worst(oracle, run.model) < 1e-8
    bent = Hand(straight.model, bend=1e-5)
    assert (
        filch.extract(filch.ModelOracle(bent, space, reveal="value"), Linear(), budget=50).outcome == "class_mismatch"
    )


@pytest.mark.parametrize("decimals", [3, 0])
def test_rounding_is_noticed_without_being_told(decimals):
    space = filch.FeatureSpace.box([-1] * 4, [1] * 4)
    target = hand(space)

    class Rounds:
        def predict(self, X):
            return np.round(target.predict(X), decimals)

    run = filch.extract(filch.ModelOracle(Rounds(), space, reveal="value"), Linear(), budget=500, curve=False)
    assert run.outcome == "verified" and run.evidence["rounding"] == 0.5 * 10.0**-decimals
    assert np.abs(run.model.predict(space.sample(1_000, np.random.default_rng(0)))).max() > 0


def test_whole_numbers_are_not_taken_for_rounded_ones():
    space = filch.FeatureSpace((filch.Numeric("n", 0, 10, integer=True), filch.Numeric("m", 0, 4, integer=True)))
    model = LinearModel(space, np.array([50.0, 6.0]), 100.0)
    run = filch.extract(filch.ModelOracle(Hand(model), space, reveal="value"), Linear(), budget=50)
    assert (run.outcome, run.queries, run.evidence["rounding"]) == ("verified", 3, None)


def test_float32_servers():
    oracle = oracle_of(MIXED, single=True)
    run = filch.extract(oracle, Linear(), budget=100)
    assert run.outcome == "verified" and run.queries == Design(MIXED).size
    assert worst(oracle, run.model) < 1e-2


@pytest.mark.parametrize("decimals", [None, 2])
def test_values_that_are_not_linear_are_told_with_the_residual(decimals):
    space = filch.FeatureSpace.box([-1] * 4, [1] * 4)
    run = filch.extract(oracle_of(space, bend=200.0, decimals=decimals), Linear(), budget=2_000, curve=False)
    assert run.outcome == "class_mismatch" and "not linear" in run.reason
    assert run.evidence["residual"] > 10 and run.model is not None
    assert run.queries + run.selection <= 3 * (5 + 8)


def test_a_forest_is_no_linear_model():
    space = filch.FeatureSpace.box([-1] * 4, [1] * 4)
    X = space.sample(200, np.random.default_rng(0))
    forest = RandomForestRegressor(10, random_state=0).fit(X, hand(space).predict(X))
    for decimals in (None, 1):
        oracle = filch.ModelOracle(forest, space, reveal="value", decimals=decimals)
        run = filch.extract(oracle, Linear(), budget=2_000, curve=False)
        assert run.outcome == "class_mismatch" and run.queries + run.selection <= 50


@pytest.mark.parametrize("decimals", [None, 2])
def test_noise_is_named(decimals):
    run = filch.extract(oracle_of(MIXED, noise=1.0, decimals=decimals), Linear(), budget=500, curve=False)
    assert run.outcome == "no_convergence" and "differently from call to call" in run.reason


def test_values_that_are_no_numbers_are_named():
    class Broken:
        def predict(self, X):
            return np.full(len(X), np.nan)

    run = filch.extract(filch.ModelOracle(Broken(), MIXED, reveal="value"), Linear(), budget=100, curve=False)
    assert run.outcome == "no_convergence" and "no finite number" in run.reason and run.model is None


def test_rounding_that_hides_nearly_all_ends_soon():
    oracle = oracle_of(filch.FeatureSpace.box([-1] * 4, [1] * 4), decimals=0, scale=0.02)
    run = filch.extract(oracle, Linear(), budget=5_000, curve=False)
    assert run.queries < 1_000 and run.outcome in ("verified", "approximate")
    assert worst(oracle, run.model) <= 0.5


def test_small_budgets():
    oracle, rounded = oracle_of(MIXED), oracle_of(MIXED, decimals=1)
    size = Design(MIXED).size
    assert filch.extract(oracle, Linear(), budget=size - 1).outcome == "budget_spent"
    assert filch.extract(oracle, Linear(), budget=size).outcome == "unverified"
    assert filch.extract(oracle, Linear(check=0), budget=100).outcome == "unverified"
    short = filch.extract(rounded, Linear(), budget=3 * size + 8, curve=False)
    assert short.outcome == "budget_spent" and "standard error" in short.reason
    assert worst(rounded, short.model) < 0.05 * 4


def test_what_is_known_is_not_asked_again():
    oracle = oracle_of(MIXED)
    known = oracle.ask(MIXED.sample(4, np.random.default_rng(0)))
    run = filch.core.drive.drive(oracle, Linear(), budget=100, known=known)
    assert run.outcome == "verified" and run.queries == Design(MIXED).size - 4


@pytest.mark.parametrize("decimals", [None, 2])
def test_it_passes_the_conformance_checks(decimals):
    check_attack(Linear(), flats(decimals), budget=120)
    check_attack(Linear(), oracle_of(MIXED, decimals=decimals, omission=True), budget=150)


def test_needs_and_parameters():
    space = filch.FeatureSpace.box([0], [1])
    classifier = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(CannotRun, match="the target is a classifier"):
        filch.extract(filch.ModelOracle(classifier, space), Linear(), budget=100)
    assert "labels" in (Linear().needs(filch.OracleSpec(space, None, Reveal("labels"))) or "")
    for wrong in ({"check": -1}, {"precision": 0.0}, {"precision": 2.0}, {"most": 0}):
        with pytest.raises(UsageError, match="Linear takes"):
            Linear(**wrong)


def test_models_are_saved_and_read(tmp_path):
    model = hand(MIXED).model
    again = load(model.save(tmp_path / "copy"))
    rows = MIXED.sample(50, np.random.default_rng(0))
    assert np.array_equal(again.predict(MIXED.decode(rows)), model.predict(rows))
    assert again.feature_names_ == filch.OneHot(MIXED).names and again.n_parameters == Design(MIXED).size
    with pytest.raises(UsageError, match="coef_ of shape"):
        LinearModel(MIXED, np.zeros(2), 0.0)


# ── parts ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_rows_on_thresholds_lie_between_two_rounded_values():
    design = Design(MIXED)
    weights = 100 * np.random.default_rng(0).normal(size=design.size)
    rows, _ = chosen(design, np.eye(design.size), 20, np.random.default_rng(1))
    moved = on_thresholds(design, weights, rows, 1.0)
    value = design.matrix(moved) @ weights
    np.testing.assert_allclose(value - np.floor(value), 0.5, atol=1e-9)
    assert (moved >= MIXED.low)[:, :2].all() and (moved <= MIXED.high)[:, :2].all()
    only = filch.FeatureSpace((filch.Categorical("c", ("u", "v")),))
    assert on_thresholds(Design(only), np.ones(2), np.zeros((1, 1)), 1.0).tolist() == [[0.0]]


@pytest.mark.parametrize("seed", SEEDS)
def test_intervals_that_contradict_each_other_are_noticed(seed):
    rng = np.random.default_rng(seed)
    matrix = np.column_stack([rng.uniform(-1, 1, (60, 5)), np.ones(60)])
    value = matrix @ (100 * rng.normal(size=6))
    assert not ValueBelief(matrix, np.round(value), 0.5).misses
    assert ValueBelief(matrix, np.round(value + 5 * rng.normal(size=60)), 0.5).misses


@pytest.mark.parametrize("seed", SEEDS)
def test_a_linear_program_decides_whether_weights_meet_all_intervals(seed):
    rng = np.random.default_rng(seed)
    matrix, off = rng.uniform(-1, 1, (40, 3)), rng.uniform(-1, 1, 40)
    met = _within(matrix, matrix @ [5.0, 1.0, -2.0] + off)
    assert met is not None and np.abs(matrix @ met - matrix @ [5.0, 1.0, -2.0] - off).max() <= 1.0 + 1e-5
    assert _within(matrix, matrix @ [5.0, 1.0, -2.0] + 4 * off) is None
