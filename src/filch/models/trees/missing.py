"""Confidences of tree nodes, and answers to incomplete rows that are weighted over the leaves below.

Both as BigML defines them; the formulas are those of its Python bindings.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from filch.core.features import Rows

if TYPE_CHECKING:
    from filch.models.trees.tree import TreeModel

Floats = npt.NDArray[np.float64]
Z = 1.96
"""Of the 95 % intervals."""
DECIMALS = 5
"""To which confidences are rounded."""
_BINS = 32  # a regression distribution of more values is merged to so many bins


def wilson(share: npt.ArrayLike, count: npt.ArrayLike) -> Floats:
    """Lower bound of Wilson's score interval of a share seen in ``count`` rows, at z = 1.96, to 5 decimals.

    Examples
    --------
    >>> wilson([35 / 35, 2 / 3], [35, 3]).tolist()
    [0.9011, 0.20765]
    """
    share, count = np.asarray(share, dtype=np.float64), np.asarray(count, dtype=np.float64)
    factor = Z * Z / count
    root = np.sqrt((share * (1 - share) + factor / 4) / count)
    bound: Floats = np.round((share + factor / 2 - Z * root) / (1 + factor), DECIMALS)
    return bound


def expected_error(variance: float, count: float) -> float:
    """A regression node's expected error, from the unbiased variance of its training rows; NaN if undefined."""
    if not count > 0:
        return math.nan
    quantile = float(chi2(count).ppf(1 - math.erf(Z / math.sqrt(2))))
    if quantile == 0 or math.isnan(quantile):
        return math.nan
    return math.sqrt(variance * (count - 1) / quantile * (math.sqrt(count) + Z) ** 2 / count)


def error_of(bins: list[list[float]], count: float) -> tuple[float, float]:
    """The mean and the expected error of a distribution, given as (value, weight) pairs."""
    weight = sum(n for _, n in bins)
    mean = sum(value * n for value, n in bins) / weight
    variance = sum((value - mean) ** 2 * n for value, n in bins) / (weight - 1) if weight > 1 else math.nan
    return mean, round(expected_error(variance, count), DECIMALS)


def spread(tree: TreeModel, rows: Rows) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The nodes that answer each row if an omitted value takes every branch: pairs (row, node), in order."""
    row, at = np.arange(len(rows)), np.zeros(len(rows), dtype=np.int64)
    done_row, done_at = [], []
    while len(row):
        there = tree.step(rows[row], at)
        stopped = there < 0
        splits = stopped & (tree.column[at] >= 0)
        splits[splits] = np.isnan(rows[row[splits], tree.column[at[splits]]])
        ended = stopped & ~splits
        done_row.append(row[ended])
        done_at.append(at[ended])
        repeats = tree.n_children[at[splits]]
        firsts = np.cumsum(repeats) - repeats
        place = np.arange(int(repeats.sum())) - np.repeat(firsts, repeats)
        below = tree.child[np.repeat(tree.child_start[at[splits]], repeats) + place]
        row = np.concatenate([row[~stopped], np.repeat(row[splits], repeats)])
        at = np.concatenate([there[~stopped], below])
    rows_, nodes = np.concatenate([*done_row, row]), np.concatenate([*done_at, at])
    order = np.lexsort((nodes, rows_))
    return rows_[order], nodes[order]


def proportional(tree: TreeModel, rows: Rows) -> tuple[npt.NDArray[np.int64], Floats, Floats, Floats]:
    """Label, value, confidence and distribution of each row, weighted over the leaves that it may reach."""
    row, node = spread(tree, rows)
    if tree.classes is not None:
        width = len(tree.classes)
        shares = np.zeros((len(rows), width))
        for k in range(width):
            shares[:, k] = np.bincount(row, tree.distribution[node, k], minlength=len(rows))
        count = np.bincount(row, tree.count[node], minlength=len(rows))
        by_name = np.array(sorted(range(width), key=lambda k: str(tree.classes[k])))  # type: ignore[index]
        label = by_name[shares[:, by_name].argmax(axis=1)]
        total = shares.sum(axis=1)
        share = np.take_along_axis(shares, label[:, None], axis=1)[:, 0] / total
        return label, np.full(len(rows), np.nan), wilson(share, count), shares
    ends = np.searchsorted(row, np.arange(len(rows) + 1))
    signature = [node[a:b].tobytes() for a, b in pairwise(ends)]
    last = tree.apply(rows)
    known: dict[tuple[bytes, int], tuple[float, float]] = {}
    value, confidence = np.empty(len(rows)), np.empty(len(rows))
    for i, key in enumerate(zip(signature, last.tolist(), strict=True)):  # each set of leaves is worked out once
        if key not in known:
            known[key] = _merged(tree, node[ends[i] : ends[i + 1]], key[1])
        value[i], confidence[i] = known[key]
    return np.full(len(rows), -1), value, confidence, np.empty((len(rows), 0))


def _merged(tree: TreeModel, leaves: npt.NDArray[np.int64], last: int) -> tuple[float, float]:
    """The value and expected error of several leaves of a regression tree; ``last`` is where their paths part."""
    weights: dict[float, float] = {}
    for leaf in leaves:
        for value, n in tree.bins[tree.bin_start[leaf] : tree.bin_start[leaf + 1]].tolist():
            weights[value] = weights.get(value, 0) + n
    if not weights or list(weights.values()) == [1]:
        return float(tree.value[last]), float(tree.confidence[last])
    bins = [[value, n] for value, n in sorted(weights.items())]
    while len(bins) > _BINS:
        gaps = [bins[i][0] - bins[i - 1][0] for i in range(1, len(bins))]
        i = int(np.argmin(gaps))
        (a, n), (b, m) = bins[i], bins[i + 1]
        bins[i : i + 2] = [[(a * n + b * m) / (n + m), n + m]]
    if len(bins) == 1:
        (value, n) = bins[0]
        parent = tree.parent[last]
        error = math.nan if parent < 0 else float(tree.confidence[parent]) / math.sqrt(max(n, 1))
        return value, round(error, DECIMALS)
    return error_of(bins, float(tree.count[leaves].sum()))
