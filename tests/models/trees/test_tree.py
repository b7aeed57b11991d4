import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import filch
from filch.core.encoding import OneHot
from filch.core.features import Categorical, FeatureSpace, Numeric
from filch.errors import NotRevealed, UsageError
from filch.models import TreeModel, load
from filch.models.trees.build import Node, Split
from filch.models.trees.missing import expected_error, wilson
from filch.models.trees.oracle import TreeOracle
from filch.models.trees.sklearn import from_sklearn
from filch.testing import check_oracle, random_tree

SPACE = FeatureSpace(
    (
        Numeric("age", 18, 80, integer=True),
        Categorical("job", ("a", "b", "c", "d")),
        Numeric("x", -1.5, 2.5),
        Categorical("sex", ("f", "m")),
        Numeric("rate", 0, 2, step=0.25),
    )
)


def walk(node, row):
    """The node that answers, by one row and one split at a time."""
    while node.split is not None:
        value, split = row[node.split.column], node.split
        if np.isnan(value):
            place = split.missing
        elif split.threshold is not None:
            place = int(value > split.threshold)
        else:
            place = split.unknown if value == -1 else split.places[int(value)]
        if place == -1:
            break
        node = node.children[place]
    return node


def gaps(rows, rng, share=0.3):
    rows = rows.copy()
    rows[rng.random(rows.shape) < share] = np.nan
    return rows


def small():
    inner = Node(1, confidence=0.4, count=10, distribution=(4, 6), split=Split.every(1, 4))
    inner.children = [Node(k % 2, confidence=k / 10, count=k + 1, distribution=(k, 1)) for k in range(4)]
    leaf = Node(0, confidence=0.9, count=5, distribution=(5, 0))
    root = Node(1, confidence=0.3, count=15, distribution=(9, 6), split=Split(2, 0.5, missing=1))
    root.children = [leaf, inner]
    return root


def test_prediction_follows_the_splits_one_by_one():
    root, rng = small(), np.random.default_rng(0)
    tree = TreeModel.build(SPACE, ("no", "yes"), root)
    nodes = list(root.walk())
    rows = gaps(SPACE.sample(500, rng), rng)
    rows[::7, 1] = -1
    assert tree.apply(rows).tolist() == [nodes.index(walk(root, row)) for row in rows]
    assert tree.n_leaves == 5 and tree.depth.max() == 2 and tree.parent.tolist() == [-1, 0, 0, 2, 2, 2, 2]


def test_fields_are_those_given_and_those_on_the_path():
    tree = TreeModel.build(SPACE, ("no", "yes"), small())
    none = np.full((1, 5), np.nan)
    assert tree.answer(none).fields.tolist() == [[False, True, True, False, False]]  # x is missing: to the job split
    given = none.copy()
    given[0, [2, 4]] = 0.0, 1.0
    assert tree.answer(given).fields.tolist() == [[False, False, True, False, True]]


def test_proportional_answers_weigh_the_leaves_below():
    tree = TreeModel.build(SPACE, ("no", "yes"), small(), "proportional")
    told = tree.answer(np.array([[30, np.nan, 1.0, 0, 0], [30, 3.0, 1.0, 0, 0]]))
    assert told.distribution.tolist() == [[6, 4], [3, 1]] and told.label.tolist() == [0, 0]
    assert told.confidence.tolist() == wilson([0.6, 0.75], [10, 4]).tolist()


def test_confidences_of_bigml():
    assert wilson([42 / 120, 37 / 38, 3 / 5], [120, 38, 5]).tolist() == [0.27052, 0.86505, 0.23072]
    values = np.repeat([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [5, 29, 7, 7, 1, 1])
    assert round(expected_error(values.var(ddof=1), 50), 5) == 0.1598  # as BigML says in its iris regression model


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("regression", [False, True])
def test_random_trees_have_no_empty_leaf_and_survive_a_file(tmp_path, seed, regression):
    rng = np.random.default_rng(seed)
    tree = random_tree(SPACE, 40, rng, classes=None if regression else 3, deep=0.5 * (seed % 2), missing=0.3)
    rows = SPACE.sample(40_000, rng)
    reached = np.unique(tree.apply(rows))
    assert tree.n_leaves > 20 and len(reached) > 0.6 * tree.n_leaves
    again = load(tree.save(tmp_path / "tree"))
    assert np.array_equal(again.predict(rows), tree.predict(rows))
    assert np.array_equal(again.apply(gaps(rows, rng)[:0]), [])
    if regression:
        assert np.isfinite(TreeModel.answer(tree, gaps(rows[:200], rng), "proportional").value).all()


def test_deep_and_large_trees():
    space = FeatureSpace.box(np.zeros(50), np.ones(50))
    rng = np.random.default_rng(1)
    assert random_tree(space, 5_000, rng).n_leaves == 5_000
    assert 50 <= random_tree(space, 300, rng, deep=0.95).depth.max() <= 60


@pytest.mark.parametrize("scaled", [False, True])
def test_scikit_learn_trees_over_one_hot_columns(scaled):
    rng = np.random.default_rng(0)
    rows = SPACE.sample(600, rng)
    y = np.where((rows[:, 1] == 2) ^ (rows[:, 2] > 0.3), "p", np.where(rows[:, 0] > 40, "q", "r"))
    view = OneHot(SPACE)
    encoded = view.encode(rows)
    if not scaled:
        encoded[:, view.starts[~SPACE.categorical]] = rows[:, ~SPACE.categorical]
    fitted = DecisionTreeClassifier(min_samples_leaf=3, random_state=0).fit(encoded, y)
    tree = from_sklearn(fitted, SPACE, scaled=scaled)
    assert tree.predict(rows).tolist() == fitted.predict(encoded).tolist()
    np.testing.assert_allclose(tree.predict_proba(rows), fitted.predict_proba(encoded), atol=1e-8)
    assert tree.n_leaves == fitted.get_n_leaves() and tree.count[0] == 600
    unseen = rows.copy()
    unseen[:, 1] = -1  # all zeros in the one-hot view
    coded = encoded.copy()
    coded[:, view.starts[1] : view.starts[1] + 4] = 0
    assert tree.predict(unseen).tolist() == fitted.predict(coded).tolist()


def test_scikit_learn_regression_trees():
    rng = np.random.default_rng(0)
    rows = SPACE.sample(300, rng)
    view = OneHot(SPACE)
    y = np.round(rows[:, 2] * 3) + (rows[:, 1] == 1)
    encoded = view.encode(rows)
    fitted = DecisionTreeRegressor(max_leaf_nodes=20, random_state=0).fit(encoded, y)
    tree = from_sklearn(fitted, SPACE, scaled=True, X=encoded, y=y)
    np.testing.assert_allclose(tree.predict(rows), fitted.predict(encoded))
    assert tree.classes is None and np.isfinite(tree.confidence).all()
    whole = np.full((1, 5), np.nan)
    assert tree.answer(whole, "proportional").value[0] == pytest.approx(y.mean(), abs=1e-3)
    with pytest.raises(UsageError, match="one-hot view"):
        from_sklearn(fitted, FeatureSpace.box([0], [1]))
    with pytest.raises(UsageError, match="no single fitted tree"):
        from_sklearn(object(), SPACE)


def test_oracles_over_trees():
    rng = np.random.default_rng(3)
    tree = random_tree(SPACE, 12, rng)
    regression = random_tree(SPACE, 12, rng, classes=None)
    for reveal in ("confidence", "node", "labels", "probabilities", "top-1"):
        check_oracle(TreeOracle(tree, reveal=reveal))
        check_oracle(TreeOracle(tree, reveal=reveal, omission=True, fields=True, decimals=2))
    for reveal in ("confidence", "node", "value"):
        check_oracle(TreeOracle(regression, reveal=reveal))
    with pytest.raises(NotRevealed):
        TreeOracle(tree, reveal="value")
    with pytest.raises(NotRevealed):
        TreeOracle(regression, reveal="labels")
    frame = SPACE.decode(SPACE.sample(50, rng))
    assert isinstance(frame, pd.DataFrame)
    assert filch.fidelity(TreeOracle(tree), tree, frame, n_uniform=100).r_unif == 0.0


def test_ids_name_leaves_only_where_they_are_shown():
    tree = random_tree(SPACE, 12, np.random.default_rng(3))
    rows = SPACE.sample(30, np.random.default_rng(0))
    shown = TreeOracle(tree, reveal="node").ask(rows)
    assert shown.node is not None and shown.confidence is None
    assert np.array_equal(shown.node, tree.apply(rows))
    assert TreeOracle(tree).ask(rows).node is None and TreeOracle(tree).ask(rows).fields is None


@pytest.mark.parametrize(
    ("split", "children"),
    [
        (Split(0, 1.0), 1),
        (Split(0), 2),
        (Split(1, places=(0, 1)), 2),
        (Split(1, places=(0, 1, 2, 1)), 2),
        (Split(9, 1.0), 2),
        (Split(0, float("nan")), 2),
        (None, 2),
    ],
)
def test_splits_that_cannot_be(split, children):
    root = Node(split=split, children=[Node(0) for _ in range(children)])
    with pytest.raises(UsageError):
        TreeModel.build(SPACE, ("a",), root)


def test_a_single_leaf():
    tree = TreeModel.build(SPACE, ("a", "b"), Node(1, confidence=0.5, distribution=(1, 2)))
    assert tree.predict(SPACE.sample(3, np.random.default_rng(0))).tolist() == ["b"] * 3
    assert tree.n_leaves == 1 and tree.answer(np.full((1, 5), np.nan)).fields.sum() == 0


def test_using_a_tree_does_not_change_its_pickle():
    tree = random_tree(SPACE, 12, np.random.default_rng(0))
    rows = SPACE.sample(20, np.random.default_rng(1))
    fresh = pickle.dumps(tree)
    told = tree.apply(rows)
    assert tree.on_path.any() and tree.depth.any() and tree.n_children.any()
    assert pickle.dumps(tree) == fresh
    assert (pickle.loads(fresh).apply(rows) == told).all()
