"""Which faces of which leaves the answers tested: the proof that an extracted tree carries."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from filch.attacks.trees.memory import Ints, Memory
from filch.core.features import Rows
from filch.models.trees.proof import TreeProof
from filch.models.trees.tree import TreeModel


def certified(tree: TreeModel, brackets: list[tuple[float, float]], memory: Memory) -> TreeModel:
    """The tree with the tests behind it.

    Parameters
    ----------
    tree : TreeModel
    brackets : list of (low, high)
        Of each node's numeric split; NaN elsewhere.
    memory : Memory
    """
    names = list(memory.known)
    rows = np.array([np.frombuffer(name) for name in names]).reshape(len(names), len(tree.space))
    ids = np.array([memory.known[name] for name in names], dtype=np.int64)
    at = tree.apply(rows)
    low, high = np.array(brackets, dtype=np.float64).reshape(len(tree.column), 2).T.copy()
    order = np.argsort(at, kind="stable")
    ends = np.searchsorted(at[order], np.arange(len(tree.column) + 1))
    faces = []
    for leaf in tree.leaves_.tolist():
        mine = order[ends[leaf] : ends[leaf + 1]]
        for column, inner, outer in _faces(tree, leaf, low, high):
            beside, across = _crossed(rows[mine], ids[mine], column, inner, outer, memory)
            faces.append((leaf, column, beside, across))
    told = [(int(tree.label[leaf]), float(tree.value[leaf]), float(tree.confidence[leaf])) for leaf in tree.leaves_]
    count = Counter(map(repr, told))
    shared = np.zeros(len(tree.column), dtype=bool)
    shared[tree.leaves_] = [count[repr(answer)] > 1 for answer in told]
    proof = TreeProof(low, high, np.diff(ends), shared, np.array(faces, dtype=np.int64).reshape(len(faces), 4))
    return replace(tree, proof=proof)


def _faces(tree: TreeModel, leaf: int, low: Rows, high: Rows) -> list[tuple[int, list[float], list[float]]]:
    """The sides of a leaf's box: the column, the values just inside and those just across.

    Of several splits on the same side of a numeric column, the lowest one bounds the box.
    """
    numeric: dict[tuple[int, bool], tuple[float, float]] = {}
    inside: dict[int, set[int]] = {}
    node = leaf
    while node:
        parent = int(tree.parent[node])
        column = int(tree.column[parent])
        routes = tree.route[tree.start[parent] + 2 : tree.start[parent + 1]]
        if np.isnan(tree.threshold[parent]):
            codes = set(np.flatnonzero(routes == node).tolist())
            inside[column] = inside.get(column, codes) & codes
        else:
            below = bool(routes[0] == node)
            bracket = (low[parent], high[parent]) if below else (high[parent], low[parent])
            known = numeric.get((column, below), bracket)
            numeric[column, below] = min(known, bracket) if below else max(known, bracket)
        node = parent
    found = [(column, [inner], [outer]) for (column, _), (inner, outer) in numeric.items()]
    for column, codes in inside.items():
        others = [float(code) for code in range(int(tree.space.sizes[column])) if code not in codes]
        found.append((column, [float(code) for code in codes], others))
    return found


def _crossed(
    rows: Rows, ids: Ints, column: int, inner: list[float], outer: list[float], memory: Memory
) -> tuple[int, int]:
    """How many rows lie close beside a face, and how many of them were answered otherwise just across."""
    beside = np.flatnonzero(np.isin(rows[:, column], inner))
    across = 0
    for place in beside.tolist():
        other = rows[place].copy()
        for value in outer:
            other[column] = value
            told = memory.known.get(other.tobytes())
            if told is not None and told != ids[place]:
                across += 1
                break
    return len(beside), across
