"""Table 6 on small trees: what the module computes; the claims over all trees are in `test_reproduce`."""

import math

import pytest

from filch.core.features import Categorical, FeatureSpace, Numeric
from filch.errors import UsageError
from filch.models.trees.tree import Node, Split, TreeModel
from filch.paper import studies, table6
from filch.paper.trees import TREES, tree_target


def test_the_lines_of_one_tree():
    table = table6.run(seeds=[0], datasets=["german-credit"])
    assert [(row.model, row.method) for row in table.rows] == [
        (setting, method)
        for setting in table6.SETTINGS
        for method in ("filch", "paper's method", "paper, printed")
        if (setting, method) != ("top-down", "paper, printed")
    ]
    for row in table.rows:
        assert row.inputs == "23/26 ids" and row.r_test.worst == 0.0 == row.r_unif.worst
        if row.method != "paper, printed":
            assert row.extra["leaves"].worst == 26 and row.n_test == 300
        if row.method == "filch":
            assert row.note == "verified" and row.extra["÷ paper's"].worst < 0.35


def test_geometric_means_are_over_trees_and_name_those_that_are_fresh():
    table = table6.run(seeds=[0], datasets=["german-credit", "german-amount"], settings=["top-down, fields"])
    shares = [row.extra["÷ paper's"].median for row in table.rows if row.method == "filch"]
    mean = math.sqrt(shares[0] * shares[1])
    assert f"top-down, fields {mean:.2f} ({shares[1]:.2f} over the 1 not looked at before)" in table.title
    assert "bottom-up" not in table.title


def test_regression_trees_are_judged_by_their_values():
    (ours, theirs, *_) = table6.run(seeds=[0], datasets=["german-amount"], settings=["top-down"]).rows
    assert ours.r_unif.worst == 0.0 and ours.queries.worst < theirs.queries.worst


def test_targets():
    target = tree_target("german-credit")
    assert target.tree.predict(target.X_test).shape == (300,)
    other = tree_target("german-credit", 1)
    assert len(other.X_test) == 300 and (other.X_test != target.X_test).any()
    assert {recipe.printed for recipe in TREES.values()} - {""} == table6._TABLE6.keys()


def test_bounds_count_bits_branches_and_the_categories_left():
    space = FeatureSpace((Numeric("x", 0, 1), Categorical("c", ("a", "b", "d", "e")), Numeric("n", 0, 8, integer=True)))
    inner = Node(0, split=Split.equals(1, 3, 4), children=[Node(0), Node(1)])
    beside = Node(0, split=Split.equals(1, 0, 4), children=[Node(1), inner])
    root = Node(0, split=Split(2, 2.5), children=[Node(0, split=Split(0, 0.5), children=[Node(0), Node(1)]), beside])
    tree = TreeModel.build(space, ("no", "yes"), root)
    assert table6.needed(tree) == 1 + 1 + 1 + 1 + 2  # two categories are left in the last leaf
    assert table6.bounds(tree) == (3 + 4 + 10 + 4 + 8, 3 + 4 + 10 + 4 + 8 + 2 + 1 + 1)


def test_misuse():
    with pytest.raises(UsageError, match="no tree 'x'"):
        table6.run(datasets=["x"])
    with pytest.raises(UsageError, match="no setting 'x'"):
        table6.run(datasets=["german-credit"], settings=["x"])
    assert studies()["table6"].datasets == table6.DATASETS


def test_least_requests_count_names_halvings_and_corners():
    space = FeatureSpace((Numeric("x", 0, 1), Categorical("c", ("a", "b", "d", "e")), Numeric("n", 0, 8, integer=True)))
    beside = Node(0, split=Split.equals(1, 0, 4), children=[Node(1), Node(0)])
    root = Node(0, split=Split(2, 2.5), children=[Node(0, split=Split(0, 0.5), children=[Node(0), Node(1)]), beside])
    tree = TreeModel.build(space, ("no", "yes"), root)
    # The empty row, both ends of n, both ends of x, ten halvings; the check.
    assert table6.least_requests(tree, "top-down, fields") == 1 + 1 + 1 + 10 + 1
    # Which of three columns, and of two.
    assert table6.least_requests(tree, "top-down") == 1 + 2 + 1 + 1 + 1 + 10 + 1
    # Two corners, which columns matter, ten halvings for x, two crossings: that of n waits for no new corner.
    assert table6.least_requests(tree, "bottom-up") == 1 + 2 + 10 + 1 + 1
    again = Node(0, split=Split(0, 0.25), children=[Node(0), Node(1)])
    above = TreeModel.build(space, ("no", "yes"), Node(0, split=Split(2, 2.5), children=[Node(0), again]))
    # n's threshold and crossing, the new corner, which columns matter there, x's threshold and crossing.
    assert table6.least_requests(above, "bottom-up") == 1 + 2 + 3 + 1 + 1 + 2 + 10 + 1 + 1
    twice = TreeModel.build(space, ("no", "yes"), Node(0, split=Split(0, 0.75), children=[again, Node(0)]))
    assert table6.least_requests(twice, "top-down, fields") == 1 + 1 + 10 + 1


def test_no_search_takes_fewer_requests_than_it_must():
    for setting in table6.SETTINGS:
        (row, *_) = table6.run(seeds=[0], datasets=["german-credit"], settings=[setting]).rows
        assert row.extra["least requests"].median <= row.extra["requests"].median


def test_leaves_that_share_an_id_are_tested_while_others_are_searched(data_folder):
    (row, *_) = table6.run(seeds=[0, 1, 2], datasets=["diabetes"], settings=["top-down, fields"]).rows
    assert row.extra["requests"].worst < 0.105 * row.queries.median  # tests after the search, and none spared: 0.16
