"""Decision trees as nested nodes: how a tree is written down before `TreeModel` lays it out in arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from filch.core.columns import Categorical
from filch.core.features import FeatureSpace
from filch.errors import UsageError

STOP = -1
"""The place of no child: the node itself answers."""


@dataclass(frozen=True)
class Split:
    """Which child a row goes to, by its value in one column.

    Parameters
    ----------
    column : int
    threshold : float, optional
        Of a numeric column: the first child takes ``x ≤ threshold``, the second one the rest.
    places : tuple of int
        Of a categorical column: the child of each category code; `STOP` for a category that no branch names.
    unknown : int, default STOP
        The child of a value outside the vocabulary (categorical columns only).
    missing : int, default STOP
        The child of an omitted value.

    Examples
    --------
    >>> Split.equals(0, 1, 3)
    Split(column=0, threshold=None, places=(1, 0, 1), unknown=1, missing=-1)
    """

    column: int
    threshold: float | None = None
    places: tuple[int, ...] = ()
    unknown: int = STOP
    missing: int = STOP

    @classmethod
    def equals(cls, column: int, code: int, categories: int) -> Split:
        """``= v`` to the first child, ``≠ v``, unknown values included, to the second one."""
        return cls(column, places=tuple(int(k != code) for k in range(categories)), unknown=1)

    @classmethod
    def every(cls, column: int, categories: int) -> Split:
        """One child a category."""
        return cls(column, places=tuple(range(categories)))

    @property
    def route(self) -> tuple[int, ...]:
        """The child of a missing value, of an unknown one, and of each code (of ≤ and >)."""
        return self.missing, self.unknown, *(self.places if self.threshold is None else (0, 1))


@dataclass
class Node:
    """A node of a tree: what it answers, and its children if it splits.

    Parameters
    ----------
    label : int
        The class, as an index; −1 in a regression tree.
    value : float
        A regression tree's prediction.
    confidence : float
        Wilson's lower bound, or a regression tree's expected error.
    count : float
        Training rows.
    distribution : sequence of float
        The weight of each class.
    bins : sequence of (value, weight)
        The distribution of a regression tree's objective.
    id : int, optional
        Unique; by default the place in pre-order.
    split : Split, optional
        None in a leaf.
    children : list of Node
    """

    label: int = -1
    value: float = float("nan")
    confidence: float = float("nan")
    count: float = 0.0
    distribution: Sequence[float] = ()
    bins: Sequence[Sequence[float]] = ()
    id: int | None = None
    split: Split | None = None
    children: list[Node] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        """All nodes from here on, in pre-order."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))

    @property
    def leaves(self) -> list[Node]:
        """The leaves below."""
        return [node for node in self.walk() if not node.children]


def lay_out(root: Node, space: FeatureSpace) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a tree, its nodes in pre-order; see `filch.models.trees.tree.TreeModel`."""
    nodes = list(root.walk())
    number = {id(node): index for index, node in enumerate(nodes)}
    routes: list[list[int]] = []
    for node in nodes:
        _check_split(node, space)
        children = [*(number[id(child)] for child in node.children), STOP]  # place −1 is the last
        routes.append([] if node.split is None else [children[place] for place in node.split.route])
    bins = [pair for node in nodes for pair in node.bins]
    splits = [node.split for node in nodes]
    return {
        "column": np.array([-1 if s is None else s.column for s in splits], dtype=np.int64),
        "threshold": np.array([np.nan if s is None or s.threshold is None else s.threshold for s in splits]),
        "start": np.concatenate([[0], np.cumsum([len(route) for route in routes])]).astype(np.int64),
        "route": np.array([child for route in routes for child in route], dtype=np.int64),
        "ids": np.array([index if n.id is None else n.id for index, n in enumerate(nodes)], dtype=np.int64),
        "label": np.array([node.label for node in nodes], dtype=np.int64),
        "value": np.array([node.value for node in nodes], dtype=np.float64),
        "confidence": np.array([node.confidence for node in nodes], dtype=np.float64),
        "count": np.array([node.count for node in nodes], dtype=np.float64),
        "distribution": np.array([tuple(node.distribution) for node in nodes], dtype=np.float64),
        "bin_start": np.concatenate([[0], np.cumsum([len(node.bins) for node in nodes])]).astype(np.int64),
        "bins": np.array(bins, dtype=np.float64).reshape(len(bins), 2),
    }


def _check_split(node: Node, space: FeatureSpace) -> None:
    split = node.split
    if split is None:
        if node.children:
            raise UsageError("a node has children but no split that says who goes where")
        return
    if not 0 <= split.column < len(space):
        raise UsageError(f"a split names column {split.column}: there are {len(space)}")
    feature = space.features[split.column]
    wanted = len(feature.categories) if isinstance(feature, Categorical) else 0
    if (split.threshold is None) != bool(wanted) or len(split.places) != wanted:
        raise UsageError(
            f"a split of column {feature.name!r} needs {'one place a category' if wanted else 'a threshold'}"
        )
    if split.threshold is not None and np.isnan(split.threshold):
        raise UsageError(f"a split of column {feature.name!r} has NaN for a threshold")
    used = {place for place in split.route if place != STOP}
    if used != set(range(len(node.children))):
        raise UsageError(f"a split of column {feature.name!r} names children {sorted(used)} of {len(node.children)}")
