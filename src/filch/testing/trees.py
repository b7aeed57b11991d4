"""Random decision trees of any shape, for tests of attacks on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from filch.core.features import FeatureSpace, Rows
from filch.errors import UsageError
from filch.models.trees.build import STOP, Node, Split
from filch.models.trees.missing import error_of, wilson
from filch.models.trees.tree import TreeModel

Kind = Literal["numeric", "equals", "subset", "every"]
_TRIES = 60  # leaves and columns tried for one more split
_MARGIN = 0.1  # of a continuous box, that a threshold keeps from either end


@dataclass(eq=False)
class _Leaf:
    node: Node
    low: Rows
    high: Rows
    open: list[npt.NDArray[np.int64]]
    depth: int


def random_tree(
    space: FeatureSpace,
    leaves: int,
    rng: np.random.Generator,
    *,
    classes: int | None = 3,
    unique: bool = True,
    deep: float = 0.0,
    depth: int = 60,
    kinds: Sequence[Kind] = ("numeric", "equals", "subset", "every"),
    missing: float = 0.0,
) -> TreeModel:
    """Draw a tree without empty leaves.

    Parameters
    ----------
    space : FeatureSpace
    leaves : int
        At most so many leaves: k-ary splits, and a space that has no room left, may leave fewer.
    rng : Generator
    classes : int or None, default 3
        None for a regression tree.
    unique : bool, default True
        Whether each node has a confidence (value) of its own; else confidences are those of random counts, many alike.
    deep : float, default 0
        The share of splits that go to the deepest leaf.
    depth : int, default 60
        The greatest depth.
    kinds : sequence of str
        The splits to draw from.
    missing : float, default 0
        The share of splits that send a missing value to a child; at the others, the node answers.

    Examples
    --------
    >>> random_tree(FeatureSpace.box([0, 0], [1, 1]), 20, np.random.default_rng(0)).n_leaves
    20
    """
    if leaves < 1 or not 0 <= deep <= 1 or not 0 <= missing <= 1:
        raise UsageError("random_tree takes leaves ≥ 1, and shares from 0 to 1")
    top = [np.arange(size) for size in space.sizes]
    made = [_Leaf(Node(), space.low.copy(), space.high.copy(), top, 0)]
    root = made[0].node
    for _ in range(_TRIES * leaves):
        if len(made) >= leaves:
            break
        chosen = len(made) - 1 if rng.random() < deep else int(rng.integers(len(made)))
        if made[chosen].depth < depth:
            parts = _divide(made[chosen], space, rng, kinds, missing, leaves - len(made) + 1)
            if parts:
                made[chosen : chosen + 1] = parts
    _fill(root, rng, classes, unique)
    names = None if classes is None else tuple(f"c{k}" for k in range(classes))
    return TreeModel.build(space, names, root)


def _divide(
    leaf: _Leaf, space: FeatureSpace, rng: np.random.Generator, kinds: Sequence[Kind], missing: float, most: int
) -> list[_Leaf]:
    """Split a leaf in a random column; nothing if that column has no room left."""
    column = int(rng.integers(len(space)))
    size, below = int(space.sizes[column]), 2
    if not size:
        low, high, grid = leaf.low[column], leaf.high[column], space.grid[column]
        if "numeric" not in kinds or high - low < max(grid, 1e-2 * (space.high - space.low)[column], 1e-300):
            return []
        if grid:
            threshold = low + grid * (rng.integers(round((high - low) / grid)) + 0.5)
        else:
            threshold = low + (high - low) * rng.uniform(_MARGIN, 1 - _MARGIN)
        split = Split(column, float(threshold))
    else:
        codes = leaf.open[column]
        usable = [kind for kind in kinds if kind != "numeric"]
        if len(codes) < 2 or not usable:
            return []
        kind = usable[int(rng.integers(len(usable)))]
        if kind == "every":
            if len(codes) > most:
                return []
            places = [STOP] * size
            for place, code in enumerate(codes):
                places[code] = place
            split, below = Split(column, places=tuple(places)), len(codes)
        elif kind == "equals":
            split = Split.equals(column, int(rng.choice(codes)), size)
        else:
            chosen = rng.permutation(codes)[: rng.integers(1, len(codes))]
            split = Split(column, places=tuple(int(k in chosen) for k in range(size)))
    if rng.random() < missing:
        split = Split(column, split.threshold, split.places, split.unknown, int(rng.integers(below)))
    leaf.node.split = split
    leaf.node.children = [Node() for _ in range(below)]
    return [_part(leaf, child, place, space) for place, child in enumerate(leaf.node.children)]


def _part(leaf: _Leaf, child: Node, place: int, space: FeatureSpace) -> _Leaf:
    split = leaf.node.split
    assert split is not None
    low, high, inside, column = leaf.low.copy(), leaf.high.copy(), list(leaf.open), split.column
    if split.threshold is None:
        inside[column] = np.array([k for k in leaf.open[column] if split.places[k] == place])
    elif place == 0:
        grid = space.grid[column]
        high[column] = split.threshold - grid / 2
    else:
        low[column] = split.threshold + space.grid[column] / 2
    return _Leaf(child, low, high, inside, leaf.depth + 1)


def _fill(root: Node, rng: np.random.Generator, classes: int | None, unique: bool) -> None:
    """Draw what the leaves answer, and work out what the nodes above them do."""
    nodes = list(root.walk())
    own = rng.permutation(np.arange(1, max(100_000, 2 * len(nodes))))[: len(nodes)] / 1e5
    for node, name in zip(reversed(nodes), own, strict=True):  # children before their parents
        if classes is None:
            pairs = [pair for child in node.children for pair in child.bins]
            node.bins = pairs or [[float(np.round(rng.uniform(0, 100), 3 if unique else 0)), float(rng.integers(1, 9))]]
            node.count = sum(n for _, n in node.bins)
            node.value, node.confidence = error_of([list(pair) for pair in node.bins], node.count)
            node.value = float(node.value + name / 100) if unique else round(node.value, 0)
            node.confidence = float(np.nan_to_num(node.confidence))
            continue
        if node.children:
            weights = np.sum([child.distribution for child in node.children], axis=0)
        else:
            weights = rng.multinomial(rng.integers(1, 40), rng.dirichlet(np.full(classes, 0.3)))
        node.distribution, node.count = weights.tolist(), float(weights.sum())
        node.label = int(np.argmax(weights))
        share = node.distribution[node.label] / node.count
        node.confidence = float(name if unique else wilson(share, node.count))
