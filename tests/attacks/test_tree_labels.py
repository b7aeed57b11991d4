import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

import filch
from filch.attacks.retraining import Retraining
from filch.attacks.surrogates.axis import AxisSearch
from filch.attacks.surrogates.boundary import Segments
from filch.attacks.surrogates.scatter import scatter
from filch.attacks.tree_labels import TreeLabels
from filch.core.answers import Answers
from filch.core.drive import drive
from filch.core.features import Categorical, FeatureSpace, Numeric
from filch.core.oracle import ModelOracle
from filch.errors import CannotRun, UsageError
from filch.testing import check_attack, random_tree

X, Y = load_breast_cancer(return_X_y=True)
BOX = FeatureSpace.box(X.min(axis=0), X.max(axis=0))
TREE = ModelOracle(DecisionTreeClassifier(max_leaf_nodes=8, random_state=0).fit(X, Y), BOX, reveal="labels")
SPACE = FeatureSpace((Numeric("n", 0, 20, integer=True), Categorical("c", ("x", "y", "z")), Numeric("r", -1, 1)))


def mixed():
    rows = SPACE.sample(400, np.random.default_rng(0))
    frame = SPACE.decode(rows)
    y = np.where((rows[:, 0] > 7) & (rows[:, 1] != 2), "p", np.where(rows[:, 2] > 0.3, "q", "o"))
    encode = make_column_transformer((OneHotEncoder(), ["c"]), remainder="passthrough")
    return ModelOracle(make_pipeline(encode, DecisionTreeClassifier()).fit(frame, y), SPACE, reveal="labels")


def searched(oracle, rows, n, halvings):
    """Search by hand; the searches and the number of rows asked."""
    asked = []

    def ask(rows, phase):
        asked.append(len(rows))
        return oracle.ask(rows)
        yield

    segments = Segments.draw(oracle.spec.space, rows, oracle.ask(rows).labels, n, np.random.default_rng(1))
    search = AxisSearch.between(segments)
    assert list(search.run(ask, halvings, np.random.default_rng(2))) == []
    return search, sum(asked)


def test_a_search_ends_on_both_sides_of_a_threshold_of_the_target():
    search, asked = searched(TREE, BOX.sample(300, np.random.default_rng(0)), 40, 12)
    tree = TREE.model.tree_
    assert (TREE.ask(search.x).labels != TREE.ask(search.y).labels).all()
    assert (search.column >= 0).all() and ((search.x != search.y).sum(axis=1) == 1).all()
    for x, y, j in zip(search.x, search.y, search.column, strict=True):
        low, high = sorted((x[j], y[j]))
        assert high - low <= (BOX.high - BOX.low)[j] / 2**12 * 1.001
        assert ((tree.threshold >= low) & (tree.threshold <= high) & (tree.feature == j)).any()
    assert asked <= 40 * (np.ceil(np.log2(len(BOX))) + 12)


def test_a_search_stops_at_the_steps_of_a_grid_and_at_categories():
    oracle = mixed()
    search, _ = searched(oracle, SPACE.sample(200, np.random.default_rng(0)), 30, 20)
    np.testing.assert_array_equal(search.x, SPACE.snap(search.x.copy()))
    assert (oracle.ask(search.x).labels != oracle.ask(search.y).labels).all()
    steps = np.abs(search.x - search.y)[search.column == 0][:, 0]
    assert len(steps) and (steps == 1).all()


def test_searches_end_where_rows_are_refused():
    rows = BOX.sample(60, np.random.default_rng(0))
    segments = Segments.draw(BOX, rows, TREE.ask(rows).labels, 5, np.random.default_rng(1))
    search = AxisSearch.between(segments)

    def refuse(rows, phase):
        return Answers(rows, labels=np.zeros(len(rows), dtype=np.int64), refused=np.ones(len(rows), dtype=bool))
        yield

    assert list(search.run(refuse, 8, np.random.default_rng(2))) == []
    assert (search.column == -1).all()


def test_scattered_rows_meet_a_class_that_uniform_ones_do_not():
    """A class at the low end of ten columns at once, as in tables of counts that are mostly 0."""
    space = FeatureSpace.box(np.zeros(10), np.ones(10))
    rng = np.random.default_rng(0)
    shares = [(rows < 0.05).all(axis=1).mean() for rows in (scatter(space, 2_000, rng), space.sample(2_000, rng))]
    assert shares[0] > 0.003 and shares[1] == 0.0
    mixed_rows = scatter(SPACE, 100, rng)
    np.testing.assert_array_equal(mixed_rows, SPACE.snap(mixed_rows.copy()))


def test_it_beats_uniform_rows_with_the_same_surrogate():
    """On trees of 25 leaves over eight columns: by the median and at the worst of six trees."""
    space = FeatureSpace.box(np.zeros(8), np.ones(8))
    errors = {"uniform": [], "searches": []}
    for seed in range(6):
        target = random_tree(space, 25, np.random.default_rng(seed), classes=2)
        oracle = ModelOracle(target, space, reveal="labels")
        for name, attack in (
            ("uniform", Retraining("uniform", surrogate="tree")),
            ("searches", TreeLabels(surrogate="tree")),
        ):
            run = filch.extract(oracle, attack, budget=800, seed=seed, curve=False)
            errors[name].append(filch.fidelity(oracle, run.model).r_unif)
    assert np.median(errors["searches"]) < 0.8 * np.median(errors["uniform"])
    assert max(errors["searches"]) < max(errors["uniform"])


@pytest.mark.parametrize("surrogate", ["tree", "forest", "boosting", ("tree", DecisionTreeClassifier(max_depth=4))])
def test_surrogates(surrogate):
    run = drive(TREE, TreeLabels(surrogate=surrogate, rounds=2), budget=240, keep_answers=True)
    assert (run.outcome, run.queries) == ("approximate", 240)
    assert len(np.unique(run.answers.rows, axis=0)) == 240
    assert run.evidence["searches"] > 0 and sum(run.evidence["columns"].values()) <= run.evidence["searches"]
    assert filch.fidelity(TREE, run.model).r_unif < 0.15


def test_categories_steps_and_three_classes():
    oracle = mixed()
    run = filch.extract(oracle, TreeLabels(surrogate="tree"), budget=300, curve=False)
    assert filch.fidelity(oracle, run.model).r_unif < 0.05
    assert isinstance(run.model.predict(SPACE.decode(SPACE.sample(5, np.random.default_rng(0)))), np.ndarray)


def test_one_class_only():
    target = DecisionTreeClassifier().fit([[0.0], [1.0]], ["a", "b"])
    run = filch.extract(ModelOracle(target, FeatureSpace.box([5], [9]), reveal="labels"), TreeLabels(), budget=60)
    assert set(run.model.predict([[5.0], [9.0]])) == {"b"} and run.evidence["searches"] == 0


def test_a_space_of_few_rows_leaves_budget_unspent():
    space = FeatureSpace((Categorical("c", ("x", "y")), Categorical("e", ("u", "v"))))
    frame = pd.DataFrame({"c": ["x", "y"] * 2, "e": ["u", "u", "v", "v"]})
    target = make_pipeline(OneHotEncoder(), DecisionTreeClassifier()).fit(frame, [0, 1, 1, 0])
    oracle = ModelOracle(target, space, reveal="labels")
    run = filch.extract(oracle, TreeLabels(surrogate="tree"), budget=100, curve=False)
    assert run.queries == 4 and filch.fidelity(oracle, run.model).r_unif == 0.0


def test_a_value_is_refused():
    oracle = ModelOracle(LinearRegression().fit([[0.0], [1.0]], [0, 1]), FeatureSpace.box([0], [1]), reveal="value")
    with pytest.raises(CannotRun, match="retraining"):
        filch.extract(oracle, attack=TreeLabels(), budget=10)


@pytest.mark.parametrize(
    "given", [{"rounds": 0}, {"searches": 1.0}, {"halvings": 0}, {"surrogate": None}, {"surrogate": "oak"}]
)
def test_parameters_that_cannot_be_right_are_refused(given):
    with pytest.raises(UsageError):
        TreeLabels(**given)


def test_probabilities_serve_too():
    oracle = ModelOracle(RandomForestClassifier(20, random_state=0).fit(X, Y), BOX)
    run = filch.extract(oracle, TreeLabels(surrogate="forest", rounds=2), budget=200, curve=False)
    assert filch.fidelity(oracle, run.model).r_unif < 0.15


@pytest.mark.parametrize("oracle", [TREE, mixed()])
def test_it_keeps_the_contract(oracle):
    check_attack(TreeLabels(surrogate="tree", rounds=2), oracle, budget=90)
