import numpy as np
import pytest

from filch.attacks.trees.counts import Counts, table
from filch.attacks.trees.memory import Memory
from filch.attacks.trees.regions import Cut, Region
from filch.core.features import FeatureSpace
from filch.models.trees.build import Node
from filch.models.trees.missing import wilson
from filch.models.trees.oracle import TreeOracle
from filch.models.trees.tree import TreeModel

SPACE = FeatureSpace.box([0, 0], [1, 1])


def test_a_confidence_fits_few_numbers_of_rows():
    assert table()[float(wilson(1.0, 1))][0] == 1
    assert 7 in table()[float(wilson(5 / 7, 7))]
    assert np.median([len(counts) for counts in table().values()]) <= 5


def leaf(k, n):
    return Node(0, confidence=float(wilson(k / n, n)), count=n, distribution=(k, n - k))


@pytest.mark.parametrize(("rows", "adds"), [((2, 1), True), ((2, 5), False)])
def test_rows_below_a_node_add_up_or_a_leaf_is_missing(rows, adds):
    parent = leaf(2, 3)
    memory = Memory(TreeOracle(TreeModel.build(SPACE, ("a", "b"), parent)).spec)
    for node in (parent, *(leaf(n, n) for n in rows)):
        tree = TreeModel.build(SPACE, ("a", "b"), node)
        memory.learn(TreeOracle(tree).ask([[memory.ids / 10, 0.0]]))
    root = Region.whole(SPACE, np.zeros(2, dtype=bool))
    root.node = 0
    first, second = root.give(0).divide(Cut(0, 0.4, 0.5))
    first.node, second.node = 1, 2
    assert Counts(memory).short(root) == (set() if adds else {id(first), id(second)})
