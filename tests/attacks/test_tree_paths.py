import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

import filch
from filch.attacks.tree_bottom_up import TreeBottomUp
from filch.attacks.tree_top_down import TreeTopDown
from filch.attacks.trees import lines
from filch.attacks.trees.memory import Precision
from filch.core.features import Categorical, FeatureSpace, Numeric
from filch.core.oracle import ModelOracle
from filch.errors import CannotRun, UsageError
from filch.models.trees.bigml import read_bigml
from filch.models.trees.build import Node, Split
from filch.models.trees.oracle import TreeOracle
from filch.models.trees.tree import TreeModel
from filch.testing import check_attack, random_tree

SPACE = FeatureSpace(
    (
        Numeric("age", 18, 80, integer=True),
        Categorical("job", ("a", "b", "c", "d", "e")),
        Numeric("x", -1.5, 2.5),
        Categorical("sex", ("f", "m")),
        Numeric("rate", 0, 2, step=0.25),
        Numeric("y", 0, 40),
    )
)
EPSILON = 1e-3


def far(tree, rows, epsilon=EPSILON):
    """Rows farther than ε from every threshold of a continuous feature."""
    ok = np.ones(len(rows), dtype=bool)
    for column in np.flatnonzero(~SPACE.categorical & (SPACE.grid == 0)):
        at = tree.threshold[tree.column == column]
        ok &= (np.abs(rows[:, [column]] - at) > epsilon).all(axis=1)
    return ok


def attacks():
    return [
        pytest.param(TreeBottomUp(), {}, id="bottom-up"),
        pytest.param(TreeTopDown(), {"omission": True}, id="top-down"),
        pytest.param(TreeTopDown(), {"omission": True, "fields": True}, id="top-down with fields"),
    ]


@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize(("attack", "shown"), attacks())
def test_unique_ids_give_the_whole_tree(attack, shown, regression):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        tree = random_tree(SPACE, 45, rng, classes=None if regression else 3, deep=0.2 * seed)
        run = filch.extract(TreeOracle(tree, **shown), attack=attack, budget=20_000, seed=seed, curve=False)
        assert run.outcome.value == "verified", run.reason
        rows = SPACE.sample(20_000, rng)
        rows = rows[far(tree, rows)]
        assert np.array_equal(run.model.predict(rows), tree.predict(rows))
        assert run.model.n_leaves >= tree.n_leaves


@pytest.mark.parametrize("shown", [{"omission": True}, {"omission": True, "fields": True}])
def test_incomplete_rows_are_predicted_as_by_the_target(shown):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        tree = random_tree(SPACE, 30, rng)
        run = filch.extract(TreeOracle(tree, **shown), attack=TreeTopDown(), budget=20_000, seed=seed, curve=False)
        rows = SPACE.sample(5_000, rng)
        rows = rows[far(tree, rows)]
        rows[rng.random(rows.shape) < 0.3] = np.nan
        # Splits close above each other may be found in another order, which incomplete rows show.
        assert (run.model.predict(rows) == tree.predict(rows)).mean() > 0.97
        assert (run.model.predict(rows[:0]) == []).all()


def test_a_numeric_split_costs_about_its_bits_and_four():
    for seed in range(5):
        space = FeatureSpace.box(np.zeros(6), np.full(6, 8.0))
        tree = random_tree(space, 60, np.random.default_rng(seed))
        oracle = TreeOracle(tree, omission=True, fields=True)
        run = filch.extract(oracle, attack=TreeTopDown(check=0, probes=0), budget=10_000, seed=seed, curve=False)
        splits = tree.n_leaves - 1
        assert run.queries <= 1.05 * splits * (np.ceil(np.log2(8 / EPSILON)) + 4 + 2)
        assert run.requests < run.queries / 4


def test_complete_rows_search_all_sides_of_a_leaf_at_once():
    for seed in range(5):
        space = FeatureSpace.box(np.zeros(8), np.ones(8))
        tree = random_tree(space, 60, np.random.default_rng(seed))
        run = filch.extract(TreeOracle(tree), attack=TreeBottomUp(hurry=0), budget=10_000, seed=seed, curve=False)
        assert run.model.n_leaves == tree.n_leaves
        assert run.requests < run.queries / 5 and run.queries < 16 * tree.n_leaves  # climbing alone: / 4, and 17


@pytest.mark.parametrize(("attack", "shown"), attacks())
def test_a_few_queries_more_spare_requests(attack, shown):
    queries, requests = [], []
    for hurry in (0, 0.05, 0.5):
        queries.append(0)
        requests.append(0)
        for seed in range(5):
            tree = random_tree(SPACE, 40, np.random.default_rng(seed), deep=0.8)
            one = dataclasses.replace(attack, hurry=hurry)
            run = filch.extract(TreeOracle(tree, **shown), attack=one, budget=10_000, seed=seed, curve=False)
            assert run.model.n_leaves >= tree.n_leaves
            queries[-1] += run.queries
            requests[-1] += run.requests
    assert requests[2] < 0.9 * requests[0] and requests[2] < requests[1] < requests[0]
    assert queries[0] <= queries[1] <= 1.05 * queries[0] and queries[2] <= 1.5 * queries[0]


@pytest.mark.parametrize("kind", [TreeBottomUp, TreeTopDown])
def test_parameters_are_checked(kind):
    for wrong in ({"hurry": -0.1}, {"probes": -1}, {"check": -1}, {"variant": "theirs"}):
        with pytest.raises(UsageError, match="hurry ≥ 0"):
            kind(**wrong)


@pytest.mark.parametrize(("attack", "shown"), attacks())
def test_the_contract(attack, shown):
    tree = random_tree(SPACE, 8, np.random.default_rng(2))
    check_attack(attack, TreeOracle(tree, **shown), budget=400)


@pytest.mark.parametrize(("attack", "shown"), attacks())
def test_ids_that_many_leaves_share(attack, shown):
    wrong = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        tree = random_tree(SPACE, 40, rng, classes=2, unique=False)
        run = filch.extract(TreeOracle(tree, **shown), attack=attack, budget=50_000, seed=seed, curve=False)
        rows = SPACE.sample(10_000, rng)
        rows = rows[far(tree, rows)]
        wrong.append((run.model.predict(rows) != tree.predict(rows)).mean())
        assert run.evidence["boxes that share an id"] > 0
    assert np.median(wrong) < 0.01 and max(wrong) < 0.1


def test_labels_alone_are_enough_for_small_trees():
    wrong = []
    for seed in range(5):
        tree = random_tree(SPACE, 10, np.random.default_rng(seed), classes=4)
        oracle = TreeOracle(tree, reveal="labels")
        run = filch.extract(oracle, attack=TreeBottomUp(probes=16), budget=20_000, seed=seed, curve=False)
        assert run.outcome.value == "approximate" and "labels alone prove no leaf" in run.reason
        rows = SPACE.sample(10_000, np.random.default_rng(9))
        rows = rows[far(tree, rows)]
        wrong.append((run.model.predict(rows) != tree.predict(rows)).mean())
    assert np.median(wrong) == 0.0 and max(wrong) < 0.01


@pytest.mark.parametrize(("attack", "shown"), attacks())
def test_a_single_leaf(attack, shown):
    tree = TreeModel.build(SPACE, ("a", "b"), Node(1, confidence=0.5, distribution=(1, 2)))
    run = filch.extract(TreeOracle(tree, **shown), attack=attack, budget=100)
    assert run.outcome.value == "verified" and run.model.n_leaves == 1
    assert run.model.predict(SPACE.sample(3, np.random.default_rng(0))).tolist() == ["b"] * 3


@pytest.mark.parametrize(("attack", "shown"), attacks())
def test_a_feature_with_one_value(attack, shown):
    space = FeatureSpace((Numeric("a", 3, 3), Categorical("b", ("x",)), Numeric("c", 0, 1)))
    root = Node(0, confidence=0.5, split=Split(2, 0.3), children=[Node(0, confidence=0.6), Node(1, confidence=0.7)])
    tree = TreeModel.build(space, ("a", "b"), root)
    run = filch.extract(TreeOracle(tree, **shown), attack=attack, budget=100)
    assert run.outcome.value == "verified" and run.model.threshold[0] == pytest.approx(0.3, abs=EPSILON)


def test_thresholds_nearer_than_the_precision_are_reported():
    leaves = [Node(k % 2, confidence=0.1 + k / 10) for k in range(3)]
    inner = Node(0, confidence=0.5, split=Split(0, 0.3004), children=leaves[1:])
    root = Node(0, confidence=0.9, split=Split(0, 0.3001), children=[leaves[0], inner])
    tree = TreeModel.build(FeatureSpace.box([0, 0], [1, 1]), ("a", "b"), root)
    run = filch.extract(TreeOracle(tree), attack=TreeBottomUp(epsilon=0.01), budget=200)
    assert run.model.n_leaves == 2 and run.outcome.value == "verified"
    fine = filch.extract(TreeOracle(tree), attack=TreeBottomUp(epsilon=1e-5), budget=200)
    assert fine.model.n_leaves == 3


@pytest.mark.parametrize("unique", [True, False])
@pytest.mark.parametrize("fields", [True, False])
def test_a_missing_value_may_take_a_branch(fields, unique):
    wrong = []
    for seed in range(5):
        for share in (0.3, 1.0):
            tree = random_tree(SPACE, 30, np.random.default_rng(seed), missing=share, unique=unique)
            oracle = TreeOracle(tree, omission=True, fields=fields)
            run = filch.extract(oracle, attack=TreeTopDown(), budget=20_000, seed=seed, curve=False)
            rows = SPACE.sample(4_000, np.random.default_rng(9))
            rows = rows[far(tree, rows)]
            assert np.array_equal(run.model.predict(rows), tree.predict(rows))
            assert run.evidence["incomplete rows checked"] == 8
            rng = np.random.default_rng(3)
            rows[rng.random(rows.shape) < rng.random((len(rows), 1))] = np.nan
            wrong.append((run.model.predict(rows) != tree.predict(rows)).mean())
    # Splits found in another order than the tree has them are told of by incomplete rows only.
    assert np.median(wrong) == 0.0 and max(wrong) < 0.1


def test_answers_that_vary_are_noticed():
    class Fickle(TreeOracle):
        turn = 0

        def ask(self, rows):
            Fickle.turn += 1
            tree = (self.tree, other)[Fickle.turn % 2]
            return TreeOracle(tree).ask(rows)

    tree, other = (random_tree(SPACE, 20, np.random.default_rng(seed)) for seed in range(2))
    run = filch.extract(Fickle(tree), attack=TreeBottomUp(), budget=5_000)
    assert run.outcome.value != "verified" and run.queries <= 5_000


def test_trees_of_scikit_learn_by_their_probabilities():
    from sklearn.datasets import load_iris
    from sklearn.tree import DecisionTreeClassifier

    X, y = load_iris(return_X_y=True)
    target = DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, y)
    space = FeatureSpace.box(X.min(axis=0), X.max(axis=0))
    oracle = ModelOracle(target, space)
    run = filch.extract(oracle, attack="tree-bottom-up", budget=2_000)
    assert filch.fidelity(oracle, run.model, X).r_unif < 0.002
    assert filch.fidelity(oracle, run.model, X).r_tv_test < 0.002
    nodes = filch.extract(ModelOracle(target, space, reveal="node"), attack="tree-bottom-up", budget=2_000)
    assert nodes.model.n_leaves == target.get_n_leaves()


def test_precision():
    space = FeatureSpace((Numeric("a", 0, 10), Numeric("b", 0, 9, integer=True), Numeric("c", 0, 4)))
    assert Precision(0.1, True, {"c": 0.5}).of(space).tolist() == [1.0, 1.0, 0.5]
    assert Precision(0.1).of(space, steps=False).tolist() == [0.1, 0.1, 0.1]
    with pytest.raises(UsageError, match="no feature"):
        Precision(0.1, False, {"d": 1}).of(space)


def test_misuse():
    tree = random_tree(SPACE, 5, np.random.default_rng(0))
    for wrong in ({"epsilon": 0}, {"variant": "other"}, {"probes": -1}, {"check": -1}, {"per_feature": {"age": -1}}):
        with pytest.raises(UsageError):
            TreeBottomUp(**wrong)
        with pytest.raises(UsageError):
            TreeTopDown(**wrong)
    with pytest.raises(CannotRun, match="incomplete"):
        filch.extract(TreeOracle(tree), attack=TreeTopDown(), budget=10)
    with pytest.raises(CannotRun, match="labels"):
        filch.extract(TreeOracle(tree, reveal="labels", omission=True), attack=TreeTopDown(), budget=10)


@pytest.mark.parametrize(("attack", "shown"), attacks())
def test_the_papers_algorithm_finds_the_tree_with_more_queries(attack, shown):
    ratios = []
    for seed in range(5):
        tree = random_tree(SPACE, 20, np.random.default_rng(seed), kinds=("numeric", "equals"))
        oracle = TreeOracle(tree, **shown)
        paper = type(attack)(variant="paper")
        theirs = filch.extract(oracle, attack=paper, budget=50_000, seed=seed, curve=False)
        ours = filch.extract(oracle, attack=attack, budget=50_000, seed=seed, curve=False)
        ratios.append(ours.queries / theirs.queries)
        rows = SPACE.sample(5_000, np.random.default_rng(9))
        rows = rows[far(tree, rows)]
        assert (theirs.model.predict(rows) != tree.predict(rows)).mean() < 0.02
        assert theirs.model.n_leaves >= tree.n_leaves
    assert np.median(ratios) < 0.6


@pytest.mark.parametrize(("attack", "shown"), attacks())
def test_the_papers_algorithm_keeps_the_contract(attack, shown):
    tree = random_tree(SPACE, 5, np.random.default_rng(2))
    check_attack(type(attack)(variant="paper"), TreeOracle(tree, **shown), budget=600)


@pytest.mark.parametrize(("attack", "shown"), attacks())
def test_deep_trees(attack, shown):
    space = FeatureSpace.box(np.zeros(12), np.ones(12))
    tree = random_tree(space, 110, np.random.default_rng(0), deep=0.97)
    assert tree.depth.max() >= 50
    fine = type(attack)(epsilon=1e-7)
    run = filch.extract(TreeOracle(tree, **shown), attack=fine, budget=30_000, curve=False)
    rows = np.clip(space.sample(20_000, np.random.default_rng(1)) * np.random.default_rng(2).random(12) * 2, 0, 1)
    assert run.model.n_leaves >= 110 and (run.model.predict(rows) != tree.predict(rows)).mean() < 1e-3


REAL = sorted(Path(os.environ.get("FILCH_DATA", "/nowhere")).glob("bigml_models/*.json"))


@pytest.mark.skipif(not REAL, reason="needs bigml_models in FILCH_DATA")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
@pytest.mark.parametrize(("attack", "shown"), attacks())
def test_real_models_of_bigml(path, attack, shown):
    tree = read_bigml(path).tree
    oracle = TreeOracle(tree, **shown)
    run = filch.extract(oracle, attack=attack, budget=2_000, curve=False)
    assert run.outcome.value == "verified" and run.model.n_leaves >= tree.n_leaves
    assert filch.fidelity(oracle, run.model).r_unif <= 1e-3


@pytest.mark.parametrize("fields", [False, True])
def test_rows_of_a_line_search_serve_the_leaves_beside_it(monkeypatch, fields):
    trees = [random_tree(SPACE, 45, np.random.default_rng(seed)) for seed in range(5)]
    oracles = [TreeOracle(tree, omission=True, fields=fields) for tree in trees]
    fewer = sum(filch.extract(oracle, attack=TreeTopDown(), budget=20_000).queries for oracle in oracles)
    monkeypatch.setattr(lines, "_LEAST", np.inf)  # each line by its own rows
    assert fewer < sum(filch.extract(oracle, attack=TreeTopDown(), budget=20_000).queries for oracle in oracles)


def test_a_line_is_searched_by_its_own_rows_where_others_mislead():
    space = FeatureSpace((Categorical("c", ("a", "b", "d", "e")), Numeric("y", 0, 1), Numeric("x", 0, 1)))

    def pair(threshold):  # both have the same id, and their leaves have
        return Node(value=7, split=Split(2, threshold), children=[Node(value=1), Node(value=2)])

    hidden = Node(value=5, split=Split.equals(0, 1, 4), children=[pair(0.9), pair(0.3)])
    below = Node(value=8, split=Split(1, 0.5), children=[hidden, Node(value=3)])
    root = Node(value=4, split=Split.equals(0, 3, 4), children=[Node(value=9), below])
    tree = TreeModel.build(space, None, root)
    rows = space.sample(20_000, np.random.default_rng(0))
    rows = rows[(np.abs(rows[:, [2]] - [0.3, 0.9]) > EPSILON).all(axis=1) & (np.abs(rows[:, 1] - 0.5) > EPSILON)]
    for seed in range(5):
        run = filch.extract(TreeOracle(tree, omission=True, fields=True), attack=TreeTopDown(), budget=2_000, seed=seed)
        assert run.outcome.value == "verified"
        assert np.array_equal(run.model.predict(rows), tree.predict(rows))
