import numpy as np
import pytest

from filch.attacks.trees.counts import Counts, table
from filch.attacks.trees.memory import Memory
from filch.attacks.trees.regions import Cut, Region
from filch.attacks.trees.run import PathFinding
from filch.attacks.trees.solve import Solver
from filch.core.features import FeatureSpace
from filch.models.trees.build import Node
from filch.models.trees.missing import wilson
from filch.models.trees.oracle import TreeOracle
from filch.models.trees.tree import TreeModel
from filch.testing import random_tree

SPACE = FeatureSpace.box([0, 0], [1, 1])


def test_a_confidence_fits_few_numbers_of_rows():
    assert table()[float(wilson(1.0, 1))][0] == (1, 1)
    assert (7, 5) in table()[float(wilson(5 / 7, 7))]
    assert np.median([len(pairs) for pairs in table().values()]) <= 5


def node(label, k, n):
    shares = (k, n - k) if label == 0 else (n - k, k)
    return Node(label, confidence=float(wilson(k / n, n)), count=n, distribution=shares)


@pytest.mark.parametrize(("last", "adds"), [(3, True), (2, False)])
def test_rows_below_a_node_add_up_or_a_leaf_is_missing(last, adds):
    rows = [(0, 8, 12), (0, 4, 5), (0, 4, 7), (0, 4, 4), (1, 1, 1), (1, last, last)]
    tree = TreeModel.build(SPACE, ("a", "b"), node(*rows[0]))
    memory = Memory(TreeOracle(tree).spec)
    for place, row in enumerate(rows):
        memory.learn(TreeOracle(TreeModel.build(SPACE, ("a", "b"), node(*row))).ask([[place / 10, 0.0]]))
    root = Region.whole(SPACE, np.zeros(2, dtype=bool))
    root.node = 0
    first, second = root.give(0).divide(Cut(0, 0.4, 0.5))
    first.node, second.node = 1, 2
    a, b = first.give(1).divide(Cut(1, 0.4, 0.5))
    c, d = second.give(1).divide(Cut(1, 0.7, 0.8))
    a.node, b.node, c.node, d.node = 3, 4, 3, 5
    found = Counts(memory, 2).doubts(root)
    assert [found[id(end)] for end in (first, second, a, b)] == [0.0] * 4
    assert [found[id(end)] for end in (c, d)] == [0.0 if adds else np.inf] * 2


def test_confidences_that_come_from_no_counts_say_nothing():
    space = FeatureSpace.box(np.zeros(4), np.ones(4))
    for seed in range(5):
        oracle = TreeOracle(random_tree(space, 60, np.random.default_rng(seed)), omission=True, fields=True)
        memory = Memory(oracle.spec)
        search = PathFinding(
            oracle.spec, Solver(space, memory, np.full(4, 1e-3), partial=True), np.random.default_rng(0), 0, 0
        )
        steps = search.steps(oracle.ask(np.empty((0, 4))))
        try:
            ask = next(steps)
            while True:
                ask = steps.send(oracle.ask(ask.rows))
        except StopIteration:
            pass
        assert Counts(memory, 3).doubts(search.root) == {}
