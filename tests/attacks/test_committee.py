import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import filch
from filch.attacks.committee import Committee
from filch.attacks.committees.spread import indicators, spread
from filch.core.drive import drive
from filch.core.features import Categorical, FeatureSpace, Numeric
from filch.core.oracle import ModelOracle
from filch.errors import CannotRun, UsageError
from filch.models import load
from filch.testing import check_attack

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
BOX = FeatureSpace.box(X.min(axis=0), X.max(axis=0))


def network(y=NAMES, activation="tanh", rows=X):
    net = MLPClassifier((8,), activation=activation, max_iter=2_000, learning_rate_init=0.01, random_state=0)
    return net.fit(rows, y)


ORACLE = ModelOracle(network(), BOX, reveal="labels")


@pytest.mark.parametrize("attack", [Committee(hidden=4, members=2), Committee(surrogate=DecisionTreeClassifier())])
def test_it_keeps_the_contract_of_attacks(attack):
    check_attack(attack, ORACLE, budget=60)


def test_chosen_rows_tell_more_than_uniform_ones():
    errors = {}
    for strategy in ("uniform", "adaptive"):
        runs = [
            filch.extract(ORACLE, Committee(strategy, members=2), budget=600, seed=seed, curve=False)
            for seed in range(3)
        ]
        errors[strategy] = np.median([filch.fidelity(ORACLE, run.model).r_unif for run in runs])
    assert errors["adaptive"] < 0.8 * errors["uniform"]


@pytest.mark.parametrize("activation", ["tanh", "logistic", "relu"])
def test_networks_of_each_activation(activation):
    oracle = ModelOracle(network(activation=activation), BOX, reveal="labels")
    attack = Committee(activation=activation, hidden=8)
    assert filch.fidelity(oracle, filch.extract(oracle, attack, budget=800, curve=False).model).r_unif < 0.02


def test_width_and_activation_are_chosen_on_answers_held_back():
    """What is chosen errs less often in the end than the default that it replaces; five seeds."""
    rng = np.random.default_rng(0)
    space = FeatureSpace.box([-1] * 3, [1] * 3)
    target = MLPClassifier((8,), activation="relu", random_state=0)
    target.partial_fit(space.sample(9, rng), [0, 1, 2] * 3, classes=[0, 1, 2])
    target.coefs_ = [4 * rng.normal(size=w.shape) for w in target.coefs_]
    oracle = ModelOracle(target, space, reveal="labels")
    attacks = Committee(members=1), Committee(members=1, hidden=20, activation="tanh")
    chosen, fixed = (
        [filch.extract(oracle, attack, budget=2_400, seed=seed, curve=False) for seed in range(5)] for attack in attacks
    )
    assert len(chosen[0].evidence["tried"]) == 8 and "tried" not in fixed[0].evidence
    assert sum("relu" in run.evidence["surrogate"] for run in chosen) >= 3
    errors = [[filch.fidelity(oracle, run.model).r_unif for run in runs] for runs in (chosen, fixed)]
    assert np.median(errors[0]) < np.median(errors[1])


@pytest.mark.parametrize("surrogate", [SVC(C=100), DecisionTreeClassifier(), LogisticRegression(C=100)])
def test_any_scikit_learn_classifier_may_sit_in_the_committee(surrogate):
    run = filch.extract(ORACLE, Committee(surrogate=surrogate), budget=400)
    assert filch.fidelity(ORACLE, run.model).r_unif < 0.2
    assert run.evidence["surrogate"] == f"3 of {type(surrogate).__name__}"


@pytest.mark.parametrize("y", [Y, Y > 0, NAMES, Y.astype(float)], ids=["int", "bool", "str", "float"])
def test_labels_of_any_kind(y, tmp_path):
    target = network(y)
    oracle = ModelOracle(target, BOX, reveal="labels")
    run = filch.extract(oracle, Committee(), budget=300, curve=False)
    assert run.model.classes_.tolist() == target.classes_.tolist()
    assert (run.model.predict(X) != target.predict(X)).mean() < 0.1
    again = load(run.model.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.predict_proba(X), run.model.predict_proba(X))


def test_one_class_only():
    target = LogisticRegression().fit([[0.0], [1.0]], ["a", "b"])
    run = filch.extract(ModelOracle(target, FeatureSpace.box([5], [9]), reveal="labels"), Committee(), budget=50)
    assert set(run.model.predict([[5.0], [9.0]])) == {"b"}
    assert (run.outcome, run.queries) == ("approximate", 50)


def test_constant_and_duplicated_features():
    twice = np.column_stack([X, X[:, 0], np.ones(len(X))])
    target = LogisticRegression(max_iter=1_000).fit(twice, NAMES)
    oracle = ModelOracle(target, FeatureSpace.box(twice.min(axis=0), twice.max(axis=0)), reveal="labels")
    run = filch.extract(oracle, Committee(hidden=4), budget=400, curve=False)
    assert filch.fidelity(oracle, run.model).r_unif < 0.03


def test_raw_columns_with_categories_and_integers():
    space = FeatureSpace((Numeric("n", 0, 10, integer=True), Categorical("c", ("x", "y", "z")), Numeric("r", -1, 1)))
    rows = space.sample(300, np.random.default_rng(0))
    frame, y = space.decode(rows), np.where(rows[:, 0] + 3 * rows[:, 1] + rows[:, 2] > 7, "p", "q")
    encode = make_column_transformer((OneHotEncoder(), ["c"]), remainder=StandardScaler())
    oracle = ModelOracle(make_pipeline(encode, LogisticRegression(C=100)).fit(frame, y), space, reveal="labels")
    run = drive(oracle, Committee(hidden=4), budget=300, keep_answers=True)
    np.testing.assert_array_equal(run.answers.rows, space.snap(run.answers.rows))
    assert filch.fidelity(oracle, run.model).r_unif < 0.03
    assert isinstance(run.model.predict(pd.DataFrame(frame)), np.ndarray)


def test_the_held_back_error_is_told_with_a_bound():
    run = filch.extract(ORACLE, Committee(), budget=500, curve=False)
    assert run.evidence["held-back error"] <= run.evidence["at most"] <= 1
    assert run.evidence["on rows"] > 5
    found = filch.fidelity(ORACLE, run.model).r_unif
    assert found <= run.evidence["at most"]
    assert "held-back error" not in filch.extract(ORACLE, Committee(), budget=5).evidence


def test_the_curve_has_a_point_at_each_stop():
    seen = []
    attack = Committee(hidden=4, members=1, stops=(77, 131))
    run = drive(ORACLE, attack, budget=150, watch=lambda model: seen.append(model), density=1.0)
    assert {77, 131} <= {point.queries for point in run.curve}
    assert len(seen) == len(run.curve)


def test_known_answers_are_learned_and_free():
    known = ORACLE.ask(BOX.sample(400, np.random.default_rng(7)))
    run = filch.extract(ORACLE, Committee(), budget=10, known=known, curve=False)
    assert (run.queries, run.evidence["answers"]) == (10, 410)


def test_few_possible_rows():
    space = FeatureSpace((Categorical("a", ("x", "y")), Categorical("b", ("x", "y", "z"))))
    rows = space.sample(50, np.random.default_rng(0))
    target = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(space.decode(rows), rows.sum(axis=1) > 1)
    oracle = ModelOracle(target, space, reveal="labels")
    assert filch.fidelity(oracle, filch.extract(oracle, Committee(hidden=2), budget=60).model).r_unif == 0


def test_spread_rows_keep_to_the_space_and_lean_to_its_edges():
    space = FeatureSpace((*FeatureSpace.box([0] * 40, [1] * 40).features, Categorical("c", ("x", "y"))))
    rows = spread(space, 2_000, np.random.default_rng(0))
    np.testing.assert_array_equal(rows, space.snap(rows))
    assert (
        rows[:, :40].mean(axis=1).std() > 3 * space.sample(2_000, np.random.default_rng(0))[:, :40].mean(axis=1).std()
    )
    assert set(rows[:, 40]) == {0.0, 1.0}


def test_columns_named_as_indicators_are_one_attribute():
    names = ["age", "sex=f", "sex=m", "town_a", "town_b", "town_c", "vip=yes", "x1"]
    space = FeatureSpace.box([18, 0, 0, 0, 0, 0, 0, 0], [90, 1, 1, 1, 1, 1, 1, 1], names)
    assert [block.tolist() for block in indicators(space)] == [[1, 2], [3, 4, 5]]
    rows = spread(space, 1_600, np.random.default_rng(0))
    assert set(rows[:, 1:6].ravel()) == {0.0, 1.0}
    assert ((rows[:, 1:3].sum(axis=1) == 1) & (rows[:, 3:6].sum(axis=1) == 1)).all()
    assert 0.1 < (rows[:, 0] == 18).mean() < 0.9 and len(np.unique(rows[:, 0])) > 100
    assert not indicators(BOX)


def test_records_of_named_indicators_are_told_too():
    """Uniform rows hardly ever hold one category of each attribute; five seeds."""
    names = [f"{attribute}={category}" for attribute in "abcd" for category in range(8)]
    space, rng = FeatureSpace.box([0] * 32, [1] * 32, names), np.random.default_rng(0)
    records = np.hstack([np.eye(8)[rng.integers(8, size=2_000)] for _ in range(4)])
    target = network((records @ rng.normal(size=32) + 3 * records[:, 0] * records[:, 9] > 0).astype(int), rows=records)
    oracle = ModelOracle(target, space, reveal="labels")
    errors = {
        strategy: [
            filch.fidelity(oracle, filch.extract(oracle, attack, budget=1_200, seed=seed, curve=False).model, records)
            for seed in range(5)
        ]
        for strategy in ("uniform", "adaptive")
        for attack in [Committee(strategy, members=2, hidden=8, activation="tanh")]
    }
    wrong = {strategy: np.median([found.r_test for found in runs]) for strategy, runs in errors.items()}
    assert wrong["adaptive"] < 0.4 * wrong["uniform"] and wrong["adaptive"] < 0.03


def test_a_target_without_classes_is_refused():
    oracle = ModelOracle(LinearRegression().fit([[0.0], [1.0]], [0, 1]), FeatureSpace.box([0], [1]), reveal="value")
    with pytest.raises(CannotRun, match="retraining"):
        filch.extract(oracle, Committee(), budget=10)


@pytest.mark.parametrize(
    "parameters",
    [
        {"strategy": "greedy"},
        {"members": 0},
        {"hidden": 0},
        {"stops": (0,)},
        {"activation": "sine"},
        {"surrogate": StandardScaler()},
        {"surrogate": LinearRegression()},
    ],
)
def test_parameters_that_cannot_be_right_are_refused(parameters):
    with pytest.raises(UsageError):
        Committee(**parameters)
