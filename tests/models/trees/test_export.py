import xml.etree.ElementTree as ET

import numpy as np
import pytest

import filch
from filch.attacks.tree_bottom_up import TreeBottomUp
from filch.attacks.tree_top_down import TreeTopDown
from filch.core.encoding import OneHot
from filch.core.features import Categorical, FeatureSpace, Numeric
from filch.errors import UsageError
from filch.models import load
from filch.models.trees.build import Node, Split
from filch.models.trees.oracle import TreeOracle
from filch.models.trees.tree import TreeModel
from filch.testing import random_tree

SPACE = FeatureSpace(
    (Numeric("age", 18, 80, integer=True), Categorical("job", ("a", "b", "c<", "d")), Numeric("x", 0, 1))
)


def small():
    inner = Node(1, split=Split.equals(1, 1, 4), children=[Node(0, confidence=0.25), Node(1, confidence=0.5)])
    root = Node(0, split=Split(0, 30.5, missing=1), children=[Node(0, confidence=0.75), inner])
    return TreeModel.build(SPACE, ("no", 'y"es'), root)


def test_text_and_graphviz():
    assert small().to_text() == (
        "|-- age ≤ 30.5: no (0.75)\n"
        "|-- age > 30.5 or missing\n"
        "|   |-- job = b: no (0.25)\n"
        '|   |-- job in {a, c<, d} or unknown: y"es (0.5)\n'
    )
    dot = small().to_dot()
    assert dot.startswith("digraph tree {") and '2 -> 4 [label="job in {a, c<, d} or unknown"];' in dot
    assert '4 [label="y\\"es (0.5)", style=rounded];' in dot
    assert TreeModel.build(SPACE, ("no",), Node(0)).to_text() == "no\n"


def test_the_picture_is_well_formed():
    tree = random_tree(SPACE, 30, np.random.default_rng(0))
    root = ET.fromstring(tree.to_svg())
    assert len(root.findall(".//{*}rect")) == len(tree.column)
    ET.fromstring(small().to_svg())
    ET.fromstring(TreeModel.build(SPACE, None, Node(value=1.5)).to_svg())


@pytest.mark.parametrize("seed", range(4))
def test_arrays_lead_where_the_tree_does(seed):
    rng = np.random.default_rng(seed)
    tree = random_tree(SPACE, 30, rng)
    arrays, view = tree.to_arrays(), OneHot(SPACE)
    rows = SPACE.sample(300, rng)
    encoded = view.encode(rows)
    encoded[:, view.starts[~SPACE.categorical]] = rows[:, ~SPACE.categorical]
    at = np.zeros(len(rows), dtype=int)
    for _ in range(200):
        inner = arrays["children_left"][at] >= 0
        left = encoded[np.arange(len(rows)), np.maximum(arrays["feature"][at], 0)] <= arrays["threshold"][at]
        at = np.where(inner, np.where(left, arrays["children_left"][at], arrays["children_right"][at]), at)
    assert np.array_equal(arrays["node"][at], tree.apply(rows))
    assert arrays["feature_names"].tolist() == list(view.names)


@pytest.mark.parametrize(
    ("attack", "shown"), [(TreeBottomUp(), {}), (TreeTopDown(), {"omission": True, "fields": True})]
)
def test_the_certificate_counts_tests_that_were_made(tmp_path, attack, shown):
    tree = random_tree(SPACE, 25, np.random.default_rng(1), kinds=("numeric", "equals"))
    run = filch.extract(TreeOracle(tree, **shown), attack=attack, budget=5_000, curve=False)
    told = run.model.certificate()
    assert told.leaves == run.model.n_leaves and told.unvisited == 0 and told.widest <= 1.0
    assert 0.3 * told.faces < told.tested <= told.faces and "faces crossed" in str(told)
    again = load(run.model.save(tmp_path / "tree")).certificate()
    assert again.as_dict() == told.as_dict()
    proof = run.model.proof
    numeric = run.model.column >= 0
    numeric[numeric] = ~SPACE.categorical[run.model.column[numeric]]
    inside = (proof.low <= run.model.threshold) & (run.model.threshold < proof.high)
    assert inside[numeric].all() and np.isnan(proof.low[~numeric]).all()


def test_no_tests_no_certificate():
    with pytest.raises(UsageError, match="not extracted"):
        small().certificate()
