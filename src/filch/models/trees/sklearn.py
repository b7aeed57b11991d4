"""From scikit-learn's trees, over one-hot columns, to trees over raw columns."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from filch.core.encoding import OneHot
from filch.core.features import FeatureSpace
from filch.errors import UsageError
from filch.models.trees.build import Node, Split
from filch.models.trees.missing import DECIMALS, expected_error, wilson
from filch.models.trees.tree import TreeModel


def from_sklearn(
    tree: Any,
    space: FeatureSpace,
    *,
    scaled: bool = False,
    y: npt.ArrayLike | None = None,
    X: npt.ArrayLike | None = None,
) -> TreeModel:
    """Turn a fitted scikit-learn tree into one over the raw columns.

    A split of a category's 0/1 column becomes ``= v`` / ``≠ v``. Leaves get BigML's confidence: Wilson's lower bound
    of the label's share, or in a regression tree the expected error; where a leaf's training values are all equal, its
    parent's error over the root of its rows.

    Parameters
    ----------
    tree : DecisionTreeClassifier or DecisionTreeRegressor
        Trained on the columns of `filch.core.encoding.OneHot`.
    space : FeatureSpace
        The raw columns.
    scaled : bool, default False
        Whether numeric columns were scaled to [−1, 1], as `OneHot.encode` does; else they are raw.
    X, y : array-like, optional
        The training rows (encoded) and values of a regression tree, from which its nodes' distributions are read;
        without them a node's distribution is its mean.

    Raises
    ------
    UsageError
        Another number of columns, or no single tree.

    Notes
    -----
    scikit-learn rounds rows to float32 before it compares them; this tree compares in float64.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> fitted = DecisionTreeClassifier().fit([[0.0], [1.0], [2.0]], ["a", "a", "b"])
    >>> tree = from_sklearn(fitted, FeatureSpace.box([0], [2]))
    >>> tree.threshold[0].item(), tree.confidence[tree.leaves_].tolist()
    (1.5, [0.34237, 0.20654])
    """
    if not hasattr(tree, "tree_"):
        raise UsageError(
            f"{type(tree).__name__} is no single fitted tree: pass a fitted DecisionTreeClassifier or -Regressor"
        )
    view, inner = OneHot(space), tree.tree_
    if inner.n_features != view.width:
        raise UsageError(f"the tree was trained on {inner.n_features} columns, the one-hot view has {view.width}")
    classes = tuple(np.asarray(tree.classes_).tolist()) if hasattr(tree, "classes_") else None
    owner = np.repeat(np.arange(len(space)), view.widths)
    splits = inner.children_left >= 0
    nodes = _answers(inner, classes, _members(tree, X, y))
    for index in np.flatnonzero(splits):
        column = int(owner[inner.feature[index]])
        left, right = nodes[inner.children_left[index]], nodes[inner.children_right[index]]
        if space.categorical[column]:
            code = int(inner.feature[index] - view.starts[column])
            nodes[index].split = Split.equals(column, code, int(space.sizes[column]))
            nodes[index].children = [right, left]
        else:
            threshold = float(inner.threshold[index])
            if scaled:
                threshold = float(threshold * view.scale[column] + view.centre[column])
            nodes[index].split = Split(column, threshold)
            nodes[index].children = [left, right]
    _errors_of_pure(nodes[0], classes)
    return TreeModel.build(space, classes, nodes[0])


def _answers(inner: Any, classes: tuple[Any, ...] | None, members: list[npt.NDArray[np.float64]] | None) -> list[Node]:
    """What each node says, without its split."""
    counts = inner.weighted_n_node_samples
    nodes = []
    for index, count in enumerate(counts.tolist()):
        if classes is not None:
            shares = inner.value[index, 0] / inner.value[index, 0].sum()
            weights = np.round(shares * count, 9)
            label = int(shares.argmax())
            nodes.append(Node(label, math.nan, float(wilson(shares[label], count)), count, weights.tolist()))
            continue
        value = float(inner.value[index, 0, 0])
        bins = [[value, count]]
        if members is not None:
            bins = np.column_stack(np.unique(members[index], return_counts=True)).astype(float).tolist()
        variance = float(inner.impurity[index]) * count / (count - 1) if count > 1 else math.nan
        error = round(expected_error(variance, count), DECIMALS) if variance > 0 else math.nan
        nodes.append(Node(-1, value, error, count, bins=bins))
    return nodes


def _members(tree: Any, X: npt.ArrayLike | None, y: npt.ArrayLike | None) -> list[npt.NDArray[np.float64]] | None:
    """The training values in each node."""
    if X is None or y is None:
        return None
    values = np.asarray(y, dtype=np.float64)
    inside = tree.decision_path(X).tocsc()
    return [values[inside.indices[a:b]] for a, b in pairwise(inside.indptr)]


def _errors_of_pure(root: Node, classes: tuple[Any, ...] | None) -> None:
    if classes is not None:
        return
    for node in root.walk():
        for child in node.children:
            if math.isnan(child.confidence):
                child.confidence = round(node.confidence / math.sqrt(child.count), DECIMALS)
    if math.isnan(root.confidence):
        root.confidence = 0.0
