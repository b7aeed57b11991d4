import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import filch
from filch.attacks.knockoff import Knockoff
from filch.attacks.retraining import Retraining
from filch.core.drive import drive
from filch.core.features import Categorical, FeatureSpace, Numeric
from filch.core.oracle import ModelOracle
from filch.errors import CannotRun, UsageError
from filch.testing import check_attack

X, Y = load_breast_cancer(return_X_y=True)
BOX = FeatureSpace.box(X.min(axis=0), X.max(axis=0))
FOREST = ModelOracle(RandomForestClassifier(30, random_state=0).fit(X[:200], Y[:200]), BOX, reveal="labels")
POOL, TEST = X[200:400], X[400:]
SPACE = FeatureSpace((Numeric("n", 0, 10), Categorical("c", ("x", "y", "z"))))


def mixed(n=120):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"n": rng.uniform(0, 10, n), "c": rng.choice(["x", "y", "z"], n)})
    y = np.where(frame["n"] + 3 * (frame["c"] == "x") > 6, "p", "q")
    encode = make_column_transformer((OneHotEncoder(), ["c"]), remainder="passthrough")
    return ModelOracle(make_pipeline(encode, DecisionTreeClassifier()).fit(frame, y), SPACE, reveal="labels"), frame


def test_rows_like_the_targets_own_tell_more_than_uniform_ones():
    errors = {}
    for name, attack in (
        ("uniform", Retraining("uniform", surrogate="forest")),
        ("pool", Knockoff(POOL, surrogate="forest")),
    ):
        runs = [filch.extract(FOREST, attack, budget=80, seed=seed, curve=False) for seed in range(3)]
        errors[name] = np.mean([filch.fidelity(FOREST, run.model, X_test=TEST, n_uniform=100).r_test for run in runs])
    assert errors["pool"] < errors["uniform"] / 2


def test_only_rows_of_the_pool_are_asked_while_there_are_any():
    run = drive(FOREST, Knockoff(POOL), budget=150, keep_answers=True)
    pool = {row.tobytes() for row in POOL}
    assert all(row.tobytes() in pool for row in run.answers.rows)
    assert len(np.unique(run.answers.rows, axis=0)) == 150 and run.evidence["pool"] == 200


def test_the_least_certain_rows_come_first():
    """Of a pool with a few rows near the boundary, the adaptive strategy takes most of these, the random one few."""
    rng = np.random.default_rng(0)
    box = FeatureSpace.box([-1.0, -1.0], [1.0, 1.0])
    target = SVC(kernel="linear", C=100).fit([[-0.1, 0], [0.1, 0]], [0, 1])
    pool = box.sample(2_000, rng)
    near = np.abs(pool[:, 0]) < 0.05
    oracle, shares = ModelOracle(target, box, reveal="labels"), {}
    for strategy in ("adaptive", "random"):
        run = drive(oracle, Knockoff(pool, strategy, surrogate="linear-svm"), budget=80, keep_answers=True)
        asked = {row.tobytes() for row in run.answers.rows}
        shares[strategy] = np.mean([row.tobytes() in asked for row in pool[near]])
    assert shares["adaptive"] > 3 * shares["random"]


def test_a_small_pool_is_asked_in_full_and_then_rows_between_its_rows():
    run = drive(FOREST, Knockoff(POOL[:40], surrogate="forest"), budget=120, keep_answers=True)
    asked = {row.tobytes() for row in run.answers.rows}
    assert run.queries == 120 and all(row.tobytes() in asked for row in POOL[:40])
    assert filch.fidelity(FOREST, run.model, X_test=TEST, n_uniform=100).r_test < 0.15


@pytest.mark.parametrize("strategy", ["adaptive", "random"])
@pytest.mark.parametrize("reveal", ["labels", "top-1", "probabilities"])
def test_any_reveal_with_or_without_a_pool(strategy, reveal):
    oracle = ModelOracle(FOREST.model, BOX, reveal=reveal)
    for pool in (POOL, None):
        run = filch.extract(oracle, Knockoff(pool, strategy, rounds=3), budget=90, curve=False)
        assert (run.outcome, run.queries) == ("approximate", 90) and run.evidence["surrogate"]


def test_a_value():
    data, y = load_diabetes(return_X_y=True)
    oracle = ModelOracle(
        RandomForestRegressor(20, random_state=0).fit(data, y),
        FeatureSpace.box(data.min(axis=0), data.max(axis=0)),
        reveal="value",
    )
    run = filch.extract(oracle, Knockoff(data[::2], rounds=3), budget=150, curve=False)
    truth = oracle.ask(data[1::2]).value
    assert np.abs(run.model.predict(data[1::2]) - truth).mean() < 0.7 * np.abs(truth - truth.mean()).mean()
    with pytest.raises(CannotRun, match="give a regressor"):
        filch.extract(oracle, Knockoff(data, surrogate="logistic"), budget=10)


def test_a_table_of_raw_columns_and_a_file(tmp_path):
    oracle, frame = mixed()
    frame.assign(note="ours").to_csv(tmp_path / "rows.csv", index=False)
    runs = [
        filch.extract(oracle, Knockoff(pool, surrogate="tree"), budget=100, curve=False)
        for pool in (frame, tmp_path / "rows.csv", str(tmp_path / "rows.csv"), SPACE.encode(frame))
    ]
    assert len({filch.fidelity(oracle, run.model).r_unif for run in runs}) == 1
    assert filch.fidelity(oracle, runs[0].model).r_unif < 0.05


def test_the_run_is_named_by_what_the_pool_holds(tmp_path):
    oracle, frame = mixed()
    settings = []
    for rows in (frame, frame[:50]):
        rows.to_csv(tmp_path / "rows.csv", index=False)
        attack = Knockoff(tmp_path / "rows.csv", surrogate="tree")
        settings.append(filch.extract(oracle, attack, budget=20, curve=False).settings["attack"])
    assert settings[0] != settings[1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.rename(columns={"c": "colour"}), "no column 'c' and has 'colour', which the target does not take"),
        (lambda f: f.assign(n=f["n"] + 5), r"of 120 rows cannot be asked, row \d+ for one: n: .* is outside 0 … 10"),
        (lambda f: f.assign(c="w"), "120 of 120 rows .* no such category.*leaves none"),
        (lambda f: f.assign(n="many"), "takes numbers"),
        (lambda f: f.assign(n=np.nan), "no value"),
        (lambda f: np.zeros((3, 5)), "n × 2"),
        (lambda f: np.full((3, 2), np.inf), "infinity"),
        (lambda f: np.full((3, 2), 0.5), "no category code"),
    ],
)
def test_pools_that_do_not_fit_the_target(change, says):
    oracle, frame = mixed()
    with pytest.raises(CannotRun, match=f"the pool does not fit the target: .*{says}"):
        filch.extract(oracle, Knockoff(change(frame)), budget=10)


def test_rows_that_cannot_be_asked_may_be_dropped():
    oracle, frame = mixed()
    frame.loc[3, "c"], frame.loc[7, "n"], frame.loc[9, "n"] = "w", 11.0, np.nan
    run = filch.extract(oracle, Knockoff(frame, surrogate="tree", unusable="drop"), budget=60, curve=False)
    assert run.evidence["pool"] == 117


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"pool": "absent.csv"}, "no file absent.csv"),
        ({"pool": pd.DataFrame({"n": [], "c": []})}, "no rows"),
        ({"pool": np.empty((0, 2))}, "no rows"),
        ({"pool": [1.0, 2.0]}, "n × d"),
        ({"pool": [["a", "b"]]}, "coded rows"),
        ({"strategy": "greedy"}, "strategy"),
        ({"rounds": 0}, "round"),
        ({"unusable": "keep"}, "unusable"),
        ({"surrogate": "svm"}, "no surrogate"),
    ],
)
def test_parameters_that_cannot_be_right_are_refused(given, says):
    with pytest.raises(UsageError, match=says):
        Knockoff(**given)


@pytest.mark.parametrize(
    "attack", [Knockoff(POOL, surrogate="logistic", rounds=3), Knockoff(surrogate="tree", rounds=3)]
)
def test_it_keeps_the_contract(attack):
    check_attack(attack, FOREST, budget=60)
