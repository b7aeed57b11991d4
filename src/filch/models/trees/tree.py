"""Decision trees over raw columns, in plain NumPy: numeric and categorical splits, incomplete rows included."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from filch.core.features import FeatureSpace, Rows
from filch.errors import UsageError
from filch.models import files
from filch.models.trees.build import STOP, Node, Split, lay_out
from filch.models.trees.export import to_arrays, to_dot, to_svg, to_text
from filch.models.trees.missing import proportional
from filch.models.trees.proof import Certificate, TreeProof, certify

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Strategy = Literal["last", "proportional"]


class TreeAnswers(NamedTuple):
    """What a tree says to n rows: node index, class index, value, confidence, class weights, columns on the path."""

    node: Ints
    label: Ints
    value: Floats
    confidence: Floats
    distribution: Floats
    fields: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TreeModel:
    """A decision tree, with scikit-learn's interface [Tramèr16, §4.2 and App. A].

    Nodes lie in pre-order, the root first; m nodes. Make one with `build`, or with a reader:
    `filch.models.trees.sklearn.from_sklearn`, `filch.models.trees.bigml.read_bigml`.

    Parameters
    ----------
    space : FeatureSpace
        The raw columns.
    classes : tuple or None
        The class names; None for a regression tree.
    column : (m,) int
        The column that a node splits; −1 in a leaf.
    threshold : (m,)
        Of numeric splits; NaN elsewhere.
    start : (m + 1,) int
        Where each node's part of ``route`` starts.
    route : (…,) int
        The node that takes a missing value, an unknown one, and each category (or ``x ≤ t`` and ``x > t``);
        −1 where the node itself answers.
    ids : (m,) int
        Node ids.
    label, value, confidence, count : (m,)
        See `filch.models.trees.build.Node`.
    distribution : (m, c)
        Weights of the classes; c = 0 where not known.
    bin_start : (m + 1,) int
    bins : (…, 2)
        Values and weights of a regression tree's nodes.
    strategy : {"last", "proportional"}, default "last"
        How incomplete rows are predicted: by the last node reached, or weighted over the leaves below it. BigML's
        missing strategies 0 and 1.

    Examples
    --------
    >>> root = Node(split=Split(0, threshold=1.5), children=[Node(label=0), Node(label=1)])
    >>> tree = TreeModel.build(FeatureSpace.box([0], [2]), ("a", "b"), root)
    >>> tree.predict([[1.5], [1.6]]).tolist(), tree.n_leaves
    (['a', 'b'], 2)
    """

    space: FeatureSpace
    classes: tuple[Any, ...] | None
    column: Ints
    threshold: Floats
    start: Ints
    route: Ints
    ids: Ints
    label: Ints
    value: Floats
    confidence: Floats
    count: Floats
    distribution: Floats
    bin_start: Ints
    bins: Floats
    strategy: Strategy = "last"
    proof: TreeProof | None = None
    """Of an extracted tree: what was tested."""

    def __post_init__(self) -> None:
        if self.strategy not in ("last", "proportional"):
            raise UsageError(f'no missing strategy {self.strategy!r}: choose "last" or "proportional"')
        m = len(self.column)
        for name in ("threshold", "ids", "label", "value", "confidence", "count", "distribution"):
            if len(getattr(self, name)) != m:
                raise UsageError(f"a tree of {m} nodes, but {len(getattr(self, name))} {name}")
        if not m or len(self.start) != m + 1 or self.start[-1] != len(self.route) or (self.route >= m).any():
            raise UsageError("the routes of a tree do not belong to its nodes")
        if len(np.unique(self.ids)) < m:
            raise UsageError("a tree's node ids must be unique")
        for name in _ARRAYS:
            getattr(self, name).flags.writeable = False

    def __getstate__(self) -> dict[str, object]:
        """Leave the cached properties out, so that use changes neither a pickle nor a model's fingerprint."""
        return {own.name: getattr(self, own.name) for own in fields(self)}

    @classmethod
    def build(
        cls, space: FeatureSpace, classes: tuple[Any, ...] | None, root: Node, strategy: Strategy = "last"
    ) -> TreeModel:
        """Lay nested nodes out in arrays.

        Raises
        ------
        UsageError
            A split that does not fit its column or its children.
        """
        arrays: dict[str, Any] = dict(lay_out(root, space))
        return cls(space, classes, **arrays, strategy=strategy)

    # ── shape ───────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def parent(self) -> Ints:
        """The parent of each node, −1 for the root."""
        parent = np.full(len(self.column), -1)
        owner = np.repeat(np.arange(len(self.column)), np.diff(self.start))
        parent[self.route[self.route >= 0]] = owner[self.route >= 0]
        return parent

    @cached_property
    def n_children(self) -> Ints:
        """The number of children of each node."""
        return np.bincount(self.parent[1:], minlength=len(self.column))

    @cached_property
    def child_start(self) -> Ints:
        """Where each node's children start in ``child``."""
        return np.cumsum(self.n_children) - self.n_children

    @cached_property
    def child(self) -> Ints:
        """The children of all nodes, one node after the other."""
        return 1 + np.argsort(self.parent[1:], kind="stable")

    @cached_property
    def depth(self) -> Ints:
        """The number of splits above each node."""
        depth = np.zeros(len(self.column), dtype=np.int64)
        for node in range(1, len(depth)):  # parents come first
            depth[node] = depth[self.parent[node]] + 1
        return depth

    @cached_property
    def on_path(self) -> npt.NDArray[np.bool_]:
        """The columns split at or above each node, of shape (m, d)."""
        seen = np.zeros((len(self.column), len(self.space)), dtype=bool)
        for node, column in enumerate(self.column):
            if node:
                seen[node] = seen[self.parent[node]]
            if column >= 0:
                seen[node, column] = True
        return seen

    @cached_property
    def leaves_(self) -> Ints:
        """The leaves, as node indices."""
        return np.flatnonzero(self.column < 0)

    @property
    def n_leaves(self) -> int:
        """The number of leaves."""
        return len(self.leaves_)

    @property
    def n_parameters(self) -> int:
        """One number a leaf, and two a split."""
        return self.n_leaves + 2 * (len(self.column) - self.n_leaves)

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The class names, of shape (c,)."""
        if self.classes is None:
            raise AttributeError("a regression tree has no classes")
        return np.asarray(self.classes)

    # ── prediction ──────────────────────────────────────────────────────────────────────────────────────

    def step(self, rows: Rows, at: Ints) -> Ints:
        """The node below ``at`` that each row goes to; −1 where it stays."""
        column = self.column[at]
        inner = np.flatnonzero(column >= 0)
        there = np.full(len(at), STOP)
        node = at[inner]
        value, threshold = rows[inner, column[inner]], self.threshold[node]
        place = np.where(np.isnan(threshold), value, value > threshold)
        place = np.where(np.isnan(value), -2, place).astype(np.int64)
        there[inner] = self.route[self.start[node] + 2 + place]
        return there

    def apply(self, X: pd.DataFrame | Rows) -> Ints:
        """The index of the node that answers each row, of shape (n,): a leaf, or where an incomplete row stops."""
        rows = self.space.rows_of(X)
        at, moving = np.zeros(len(rows), dtype=np.int64), np.arange(len(rows))
        while len(moving):
            there = self.step(rows[moving], at[moving])
            moving, there = moving[there >= 0], there[there >= 0]
            at[moving] = there
        return at

    def answer(self, X: pd.DataFrame | Rows, strategy: Strategy | None = None) -> TreeAnswers:
        """All that the tree says to rows; ``fields`` holds the columns given and those split on the path.

        The last split counts too, if the row stops at it for want of a value.
        """
        rows = self.space.rows_of(X)
        node = self.apply(rows)
        shown = self.on_path[node] | ~np.isnan(rows)
        if (strategy or self.strategy) == "last":
            parts = self.label[node], self.value[node], self.confidence[node], self.distribution[node]
        else:
            parts = proportional(self, rows)
        return TreeAnswers(node, *parts, shown)

    def predict(self, X: pd.DataFrame | Rows) -> npt.NDArray[Any]:
        """The class (as the target names it) or value of each row, of shape (n,)."""
        answers = self.answer(X)
        found: npt.NDArray[Any] = answers.value if self.classes is None else self.classes_[answers.label]
        return found

    def predict_proba(self, X: pd.DataFrame | Rows) -> Floats:
        """The share of each class, of shape (n, c); 1 for the label where distributions are not known.

        Raises
        ------
        UsageError
            A regression tree.
        """
        if self.classes is None:
            raise UsageError("a regression tree has no classes: use predict")
        told = self.answer(X)
        if not told.distribution.shape[1]:
            return np.eye(len(self.classes))[told.label]
        shares: Floats = told.distribution / told.distribution.sum(axis=1, keepdims=True)
        return shares

    # ── what is known of it, and how it is shown ────────────────────────────────────────────────────────

    def certificate(self) -> Certificate:
        """Which faces of which leaves were tested, and what is only assumed.

        Raises
        ------
        UsageError
            The tree was not extracted: nothing was tested.
        """
        if self.proof is None:
            raise UsageError("this tree was not extracted by path finding: there are no tests to certify it by")
        return certify(self, self.proof)

    def to_text(self) -> str:
        """Indented rules, a line for each branch."""
        return to_text(self)

    def to_dot(self) -> str:
        """Graphviz source."""
        return to_dot(self)

    def to_svg(self) -> str:
        """A picture."""
        return to_svg(self)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays named as those of scikit-learn's ``tree_``; see `filch.models.trees.export.to_arrays`."""
        return to_arrays(self)

    # ── files ───────────────────────────────────────────────────────────────────────────────────────────

    def save(self, path: str | Path) -> Path:
        """Write the tree as ``.npz`` with its schema as JSON inside; nothing is pickled."""
        facts = {"classes": self.classes, "strategy": self.strategy}
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        return files.write(path, "tree", facts, self.space, arrays | (self.proof.arrays() if self.proof else {}))

    @classmethod
    def stored(cls, stored: files.Stored) -> TreeModel:
        """Make the tree that a file holds."""
        classes = stored.facts["classes"]
        arrays: dict[str, Any] = {name: stored.arrays[name] for name in _ARRAYS}
        named = None if classes is None else tuple(classes)
        proof = TreeProof.of(stored.arrays)
        return cls(stored.space, named, **arrays, strategy=stored.facts["strategy"], proof=proof)


_FACTS = ("space", "classes", "strategy", "proof")
_ARRAYS = tuple(field.name for field in fields(TreeModel) if field.name not in _FACTS)

__all__ = ["Node", "Split", "Strategy", "TreeAnswers", "TreeModel"]
